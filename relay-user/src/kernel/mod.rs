//! The kernel half, loaded: its program and its maps, each in the form in which the rest of this crate uses it.

mod object;
mod shared_array;

use std::io;

use aya::maps::{DevMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use relay_common::leg::{Leg, LegCounters};
use relay_common::limits::LEG_BUCKETS;
use relay_common::next_hop::NextHop;

pub(crate) use shared_array::SharedArray;

/// Why the kernel half could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process lacks the privilege.
    #[error(
        "the kernel refused the XDP program for lack of privilege: it takes root, or the capabilities CAP_BPF and \
         CAP_NET_ADMIN (and kernel.unprivileged_bpf_disabled does not help)"
    )]
    Privilege(#[source] Box<dyn std::error::Error + Send + Sync>),
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
}

/// The loaded program; with it, its links are dropped.
pub(crate) struct Program(Ebpf);

impl Program {
    /// The XDP program.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        program(&mut self.0)
    }
}

/// The loaded program and its maps.
pub(crate) struct Kernel {
    pub(crate) program: Program,
    pub(crate) buckets: SharedArray<u32>,
    pub(crate) legs: SharedArray<Leg>,
    pub(crate) next_hops: SharedArray<NextHop>,
    pub(crate) counters: PerCpuArray<MapData, LegCounters>,
    pub(crate) passed: PerCpuArray<MapData, u64>,
    pub(crate) devices: DevMap<MapData>,
    pub(crate) events: RingBuf<MapData>,
}

impl Kernel {
    /// Loads the program with room for `legs` legs, and attaches it nowhere.
    pub(crate) fn load(legs: u32) -> Result<Self, LoadError> {
        // Index 0 means "none".
        let records = legs.saturating_add(1);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("LEGS", records)
            .map_max_entries("LEG_COUNTERS", records)
            .load(object::bytes())
            .map_err(refused)?;
        let program: &mut Xdp = program(&mut ebpf)?;
        program.load().map_err(refused_program)?;
        let buckets = SharedArray::map(&data(&mut ebpf, "LEG_BUCKETS")?).map_err(mismatch("LEG_BUCKETS"))?;
        if buckets.length() != LEG_BUCKETS {
            return Err(LoadError::Mismatch { kind: "map", name: "LEG_BUCKETS", source: None });
        }
        Ok(Self {
            buckets,
            legs: SharedArray::map(&data(&mut ebpf, "LEGS")?).map_err(mismatch("LEGS"))?,
            next_hops: SharedArray::map(&data(&mut ebpf, "NEXT_HOPS")?).map_err(mismatch("NEXT_HOPS"))?,
            counters: map(&mut ebpf, "LEG_COUNTERS")?,
            passed: map(&mut ebpf, "PASSED")?,
            devices: map(&mut ebpf, "DEVICES")?,
            events: map(&mut ebpf, "EVENTS")?,
            program: Program(ebpf),
        })
    }
}

/// The one program of the object.
fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    const NAME: &str = "relay";
    let missing = || LoadError::Mismatch { kind: "program", name: NAME, source: None };
    let program = ebpf.program_mut(NAME).ok_or_else(missing)?;
    program.try_into().map_err(|_: ProgramError| missing())
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

/// Takes an array map out of the object as bare data.
fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, LoadError> {
    match ebpf.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(LoadError::Mismatch { kind: "map", name, source: None }),
    }
}

fn mismatch(name: &'static str) -> impl FnOnce(io::Error) -> LoadError {
    move |error| LoadError::Mismatch { kind: "map", name, source: Some(error.into()) }
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
