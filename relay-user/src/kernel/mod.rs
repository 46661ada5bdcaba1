//! The kernel half, loaded: its program and its maps, each in the form in which the rest of this crate uses it.

pub(crate) mod bpf;
mod btf;
mod fan_out;
mod maps;
mod object;
mod raw_array;
mod shared_array;
mod steering;
mod trial;

use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{DevMap, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, XskMap};
use aya::programs::sk_lookup::SkLookupLink;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use relay_common::address::Ipv6;
use relay_common::device::DeviceOffsets;
use relay_common::ledger::{Ledger, NeighbourRecord};
use relay_common::leg::{Addresses6, Admission, Leg, LegDrops, LegHint, Traffic};
use relay_common::limits::BUCKETS_PER_RECORD;
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::tap::Tapped;
use relay_common::user_traffic::UserTraffic;

use crate::device_counters::{self, DeviceDrops};
use crate::plane::Records;

pub(crate) use btf::Btf;
pub(crate) use fan_out::{FanOutKernel, FanOutPrograms};
pub(crate) use maps::{Capacity, KEPT, Owner};
pub(crate) use raw_array::RawArray;
pub(crate) use shared_array::SharedArray;
pub(crate) use steering::{SteeredSockets, SteeringError};
pub(crate) use trial::TrialKernel;

/// Why the kernel half could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process lacks the privilege.
    #[error(
        "the kernel refused the XDP program for lack of privilege: it takes root, or the capabilities CAP_BPF and \
         CAP_NET_ADMIN (and kernel.unprivileged_bpf_disabled does not help)"
    )]
    Privilege(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Sockets forward: there is no program that a frame could be handed to.
    #[error("there is no XDP program: sockets forward here")]
    NoProgram,
    /// The kernel refused the object, a map or the program.
    #[error("the kernel refused the XDP program or one of its maps")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The object and this library do not fit each other: a build that mixed two versions.
    #[error(
        "the built-in XDP object has no usable {kind} `{name}`: rebuild both halves with `cargo xtask build`"
    )]
    Mismatch {
        /// `map` or `program`.
        kind: &'static str,
        /// Its name.
        name: &'static str,
        /// What was found.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A pinned map cannot be opened, or a map cannot be pinned.
    #[error("{}: the pinned map cannot be opened, or made: {source}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pinned map is not what this version made.
    #[error(
        "{}: found {found}; expected {expected}: something else was put there; end the media that it belongs to by \
         removing the folder, `rm -r {}`",
        path.display(),
        path.parent().unwrap_or(path).display()
    )]
    Shape {
        /// The pin.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

/// The loaded program; with it, its links are dropped.
pub(crate) struct Program(Ebpf);

impl Program {
    /// The XDP program.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        program(&mut self.0, RELAY)
    }

    /// Steers what the network stack of the calling thread's namespace receives for a leg, for as long as the link
    /// lives.
    pub(crate) fn steer(&mut self) -> Result<SkLookupLink, SteeringError> {
        steering::attach(&mut self.0)
    }
}

/// One record of the bucket map.
pub(crate) type BucketRecord = [u32; BUCKETS_PER_RECORD as usize];

/// The loaded program and its maps.
pub(crate) struct Kernel {
    pub(crate) program: Program,
    pub(crate) buckets: SharedArray<BucketRecord>,
    pub(crate) hints: SharedArray<LegHint>,
    pub(crate) legs: SharedArray<Leg>,
    pub(crate) admissions: SharedArray<Admission>,
    pub(crate) addresses6: SharedArray<Addresses6>,
    pub(crate) retags: SharedArray<Retag>,
    pub(crate) payload_maps: SharedArray<PayloadMap>,
    pub(crate) police: SharedArray<Police>,
    pub(crate) quality: SharedArray<Quality>,
    pub(crate) traffic: SharedArray<Traffic>,
    pub(crate) user_traffic: SharedArray<UserTraffic>,
    pub(crate) drops: SharedArray<LegDrops>,
    pub(crate) next_hops: SharedArray<NextHop>,
    pub(crate) passed: PerCpuArray<MapData, u64>,
    pub(crate) devices: DevMap<MapData>,
    pub(crate) device_slots: HashMap<MapData, u32, u32>,
    pub(crate) punts: XskMap<MapData>,
    pub(crate) device_drops: DeviceDrops,
    pub(crate) events: RingBuf<MapData>,
    pub(crate) taps: RingBuf<MapData>,
    pub(crate) tapped: HashMap<MapData, u32, Tapped>,
    pub(crate) port_ranges: SharedArray<u64>,
    pub(crate) local_addresses: HashMap<MapData, Ipv6, u32>,
    /// Sockets for the kernel path, or why it cannot be.
    pub(crate) steered: Result<SteeredSockets, SteeringError>,
    pub(crate) ledger: SharedArray<Ledger>,
    pub(crate) neighbours: SharedArray<NeighbourRecord>,
    pub(crate) fan_out: FanOutKernel,
}

impl Kernel {
    /// What workers of this process decide by.
    pub(crate) fn records(&self) -> Records {
        Records {
            buckets: self.buckets.clone(),
            legs: self.legs.clone(),
            admissions: self.admissions.clone(),
            addresses6: self.addresses6.clone(),
            next_hops: self.next_hops.clone(),
            police: self.police.clone(),
            quality: self.quality.clone(),
            retags: self.retags.clone(),
            payload_maps: self.payload_maps.clone(),
            drops: self.drops.clone(),
            user_traffic: self.user_traffic.clone(),
        }
    }

    /// Loads the program with room for so many legs, and attaches it nowhere. With a folder, its maps are those that
    /// are pinned there; those that are not yet, are made and pinned.
    pub(crate) fn load(capacity: Capacity, folder: Option<&Path>) -> Result<Self, LoadError> {
        let offsets = device_counters::offsets();
        let buckets = capacity.buckets();
        let mut loader = EbpfLoader::new();
        for map in KEPT.iter().filter(|map| map.owner == Owner::Program) {
            loader.map_max_entries(map.name, map.entries(capacity));
            if let Some(folder) = folder {
                // aya takes a pinned map as it is: look at it first.
                map.open(folder, capacity)?;
                loader.map_pin_path(map.name, folder.join(map.name));
            }
        }
        let of_user = |name| -> Result<MapData, LoadError> {
            let mismatch = || LoadError::Mismatch { kind: "map", name, source: None };
            KEPT.iter().find(|map| map.name == name).ok_or_else(mismatch)?.of_user(folder, capacity)
        };
        let (ledger, neighbours) = (of_user("LEDGER")?, of_user("NEIGHBOURS")?);
        let mut ebpf = loader
            .override_global("LEG_SLOTS", &capacity.slots, true)
            .override_global("BUCKET_MASK", &(buckets - 1), true)
            .override_global("DEVICE_OFFSETS", offsets.as_ref().unwrap_or(&DeviceOffsets::default()), true)
            .load(object::bytes())
            .map_err(refused)?;
        let program: &mut Xdp = program(&mut ebpf, RELAY)?;
        program.load().map_err(refused_program)?;
        // Before the maps are taken out of the object.
        let fan_out = fan_out::load(&mut ebpf);
        let steered = steering::load(&mut ebpf);
        let tracepoints = folder.map(|maps| maps.with_file_name("tracepoints"));
        if let Err(error) = offsets.and_then(|_| device_counters::attach(&mut ebpf, tracepoints.as_deref())) {
            tracing::warn!(%error, "frames that a device's ring refuses are not counted");
        }
        let device_drops = DeviceDrops::take(&mut ebpf).map_err(|error| LoadError::Mismatch {
            kind: "map",
            name: "REFUSED",
            source: Some(error.into()),
        })?;
        let bucket_records = shared::<BucketRecord>(&mut ebpf, "LEG_BUCKETS")?;
        if bucket_records.length() != buckets / BUCKETS_PER_RECORD {
            return Err(LoadError::Mismatch { kind: "map", name: "LEG_BUCKETS", source: None });
        }
        Ok(Self {
            buckets: bucket_records,
            hints: shared(&mut ebpf, "LEG_HINTS")?,
            legs: shared(&mut ebpf, "LEGS")?,
            next_hops: shared(&mut ebpf, "NEXT_HOPS")?,
            admissions: shared(&mut ebpf, "ADMISSIONS")?,
            addresses6: shared(&mut ebpf, "ADDRESSES6")?,
            retags: shared(&mut ebpf, "RETAGS")?,
            payload_maps: shared(&mut ebpf, "PAYLOAD_MAPS")?,
            police: shared(&mut ebpf, "POLICE")?,
            quality: shared(&mut ebpf, "QUALITY")?,
            traffic: shared(&mut ebpf, "TRAFFIC")?,
            user_traffic: shared(&mut ebpf, "USER_TRAFFIC")?,
            drops: shared(&mut ebpf, "LEG_DROPS")?,
            passed: map(&mut ebpf, "PASSED")?,
            devices: map(&mut ebpf, "DEVICES")?,
            device_slots: map(&mut ebpf, "DEVICE_SLOTS")?,
            punts: map(&mut ebpf, "PUNTS")?,
            device_drops,
            events: map(&mut ebpf, "EVENTS")?,
            taps: map(&mut ebpf, "TAPS")?,
            tapped: map(&mut ebpf, "TAPPED")?,
            port_ranges: shared(&mut ebpf, "PORT_RANGES")?,
            local_addresses: map(&mut ebpf, "LOCAL_ADDRESSES")?,
            steered,
            ledger: shared_memory("LEDGER", &ledger)?,
            neighbours: shared_memory("NEIGHBOURS", &neighbours)?,
            fan_out: fan_out::take(&mut ebpf, fan_out)?,
            program: Program(ebpf),
        })
    }
}

/// Waits until every packet that a program had begun to look at is through: it left, or is in a queue.
pub(crate) fn wait_for_programs() {
    const GLOBAL: libc::c_long = 1;
    // SAFETY: the call takes numbers only. It returns after a grace period of the kernel's, in which every run of a
    // program that began before it ends.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) } == 0;
    if !waited {
        // Kernels with tickless processors refuse: programs run for microseconds.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Name of the XDP program.
const RELAY: &str = "relay";

/// A program of the object, as the type that it must have.
fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let missing = || LoadError::Mismatch { kind: "program", name, source: None };
    ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(|_: ProgramError| missing())
}

/// Takes a map out of the object, as the type that it must have.
fn map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let missing = || LoadError::Mismatch { kind: "map", name, source: None };
    ebpf.take_map(name).ok_or_else(missing)?.try_into().map_err(|error: MapError| LoadError::Mismatch {
        kind: "map",
        name,
        source: Some(error.into()),
    })
}

/// Takes an array map out of the object and shares its memory.
fn shared<T: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<SharedArray<T>, LoadError> {
    match ebpf.take_map(name) {
        Some(Map::Array(data)) => shared_memory(name, &data),
        _ => Err(LoadError::Mismatch { kind: "map", name, source: None }),
    }
}

/// Shares the memory of an array map.
fn shared_memory<T: Pod>(name: &'static str, map: &MapData) -> Result<SharedArray<T>, LoadError> {
    let mismatch = |error: io::Error| LoadError::Mismatch { kind: "map", name, source: Some(error.into()) };
    SharedArray::map(map).map_err(mismatch)
}

fn refused(error: EbpfError) -> LoadError {
    let privilege = matches!(&error, EbpfError::MapError(MapError::CreateError { io_error, .. })
        if io_error.kind() == io::ErrorKind::PermissionDenied);
    if privilege { LoadError::Privilege(error.into()) } else { LoadError::Refused(error.into()) }
}

fn refused_program(error: ProgramError) -> LoadError {
    let privilege = matches!(&error, ProgramError::LoadError { io_error, .. }
        if io_error.kind() == io::ErrorKind::PermissionDenied && io_error.raw_os_error() == Some(libc::EPERM));
    if privilege { LoadError::Privilege(error.into()) } else { LoadError::Refused(error.into()) }
}
