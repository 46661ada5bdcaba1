//! The maps and programs of fan-out, as the loaded object has them.

use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::Xdp;
use relay_common::fan_out::{Block, FanDevice, Group, Losses, Receiver};
use relay_common::leg::Traffic;

use super::{LoadError, SharedArray, program, refused_program, shared};

/// What fan-out has in the kernel.
pub(crate) struct FanOutKernel {
    pub(crate) groups: SharedArray<Group>,
    pub(crate) blocks: SharedArray<Block>,
    pub(crate) receivers: SharedArray<Receiver>,
    pub(crate) losses: SharedArray<Losses>,
    pub(crate) traffic: SharedArray<Traffic>,
    pub(crate) devices: SharedArray<FanDevice>,
    /// The map of device maps.
    pub(crate) fans: OwnedFd,
    /// The queues before the broadcast, by CPU.
    pub(crate) queues: OwnedFd,
    /// What the queues hand packets to.
    pub(crate) program_slots: OwnedFd,
    /// The programs, or why the kernel takes none.
    pub(crate) programs: Result<FanOutPrograms, LoadError>,
}

/// The programs beside the one that runs where packets arrive.
pub(crate) struct FanOutPrograms {
    /// Behind the queue of a CPU; hands over to the next.
    pub(crate) queue: OwnedFd,
    /// For each packet that comes out of a queue.
    pub(crate) broadcast: OwnedFd,
    /// For each copy.
    pub(crate) deliver: OwnedFd,
    /// On the way to the next block.
    pub(crate) further: OwnedFd,
}

/// Takes the maps out of the object, when all programs are loaded.
pub(super) fn take(
    ebpf: &mut Ebpf,
    programs: Result<FanOutPrograms, LoadError>,
) -> Result<FanOutKernel, LoadError> {
    Ok(FanOutKernel {
        groups: shared(ebpf, "GROUPS")?,
        blocks: shared(ebpf, "BLOCKS")?,
        receivers: shared(ebpf, "RECEIVERS")?,
        losses: shared(ebpf, "RECEIVER_LOSSES")?,
        traffic: shared(ebpf, "RECEIVER_TRAFFIC")?,
        devices: shared(ebpf, "FAN_DEVICES")?,
        fans: descriptor(ebpf, "FANS")?,
        queues: descriptor(ebpf, "FAN_CPUS")?,
        program_slots: descriptor(ebpf, "FAN_PROGRAMS")?,
        programs,
    })
}

/// Loads the programs while the object has its maps; everything else works without them.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<FanOutPrograms, LoadError> {
    Ok(FanOutPrograms {
        queue: load_one(ebpf, "fan_out_queue")?,
        broadcast: load_one(ebpf, "fan_out_broadcast")?,
        deliver: load_one(ebpf, "fan_out_deliver")?,
        further: load_one(ebpf, "fan_out_further")?,
    })
}

pub(super) fn load_one(ebpf: &mut Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let program: &mut Xdp = program(ebpf, name)?;
    program.load().map_err(refused_program)?;
    let copy = program.fd().map_err(|error| LoadError::Refused(error.into()))?.as_fd().try_clone_to_owned();
    copy.map_err(|error| LoadError::Refused(error.into()))
}

/// The descriptor of a map that this library uses by system calls of its own.
fn descriptor(ebpf: &mut Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let mismatch = || LoadError::Mismatch { kind: "map", name, source: None };
    let map: MapData = match ebpf.take_map(name).ok_or_else(mismatch)? {
        Map::ArrayOfMaps(data) | Map::CpuMap(data) | Map::ProgramArray(data) => data,
        _ => return Err(mismatch()),
    };
    map.fd().as_fd().try_clone_to_owned().map_err(|error| LoadError::Refused(error.into()))
}
