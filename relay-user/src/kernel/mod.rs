//! The kernel half, loaded: its program and its maps, each in the form in which the rest of this crate uses it.

mod btf;
mod object;
mod shared_array;

use std::io;

use aya::maps::{DevMap, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, XskMap};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use relay_common::address::Ipv6;
use relay_common::device::DeviceOffsets;
use relay_common::leg::{Addresses6, Admission, Leg, LegDrops, Traffic};
use relay_common::limits::{BUCKETS_PER_RECORD, leg_buckets};
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::tap::Tapped;
use relay_common::user_traffic::UserTraffic;

use crate::device_counters::{self, DeviceDrops};

pub(crate) use btf::Btf;
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

/// One record of the bucket map.
pub(crate) type BucketRecord = [u32; BUCKETS_PER_RECORD as usize];

/// The loaded program and its maps.
pub(crate) struct Kernel {
    pub(crate) program: Program,
    pub(crate) buckets: SharedArray<BucketRecord>,
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
}

impl Kernel {
    /// Loads the program with room for `legs` legs on each of `cpus` CPUs, and attaches it nowhere.
    pub(crate) fn load(legs: u32, cpus: u32) -> Result<Self, LoadError> {
        // Index 0 means "none".
        let slots = legs.saturating_add(1);
        let offsets = device_counters::offsets();
        let buckets = leg_buckets(legs);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("LEGS", slots)
            .map_max_entries("ADMISSIONS", slots)
            .map_max_entries("TRAFFIC", slots.saturating_mul(cpus))
            .map_max_entries("LEG_DROPS", slots)
            .map_max_entries("USER_TRAFFIC", slots)
            .map_max_entries("ADDRESSES6", slots)
            .map_max_entries("RETAGS", slots)
            .map_max_entries("POLICE", slots)
            .map_max_entries("QUALITY", slots.saturating_mul(cpus))
            .map_max_entries("LEG_BUCKETS", buckets / BUCKETS_PER_RECORD)
            .override_global("LEG_SLOTS", &slots, true)
            .override_global("BUCKET_MASK", &(buckets - 1), true)
            .override_global("DEVICE_OFFSETS", offsets.as_ref().unwrap_or(&DeviceOffsets::default()), true)
            .load(object::bytes())
            .map_err(refused)?;
        let program: &mut Xdp = program(&mut ebpf)?;
        program.load().map_err(refused_program)?;
        if let Err(error) = offsets.and_then(|_| device_counters::attach(&mut ebpf)) {
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

/// Takes an array map out of the object and shares its memory.
fn shared<T: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<SharedArray<T>, LoadError> {
    let mismatch = |source| LoadError::Mismatch { kind: "map", name, source };
    match ebpf.take_map(name) {
        Some(Map::Array(data)) => SharedArray::map(&data).map_err(|error| mismatch(Some(error.into()))),
        _ => Err(mismatch(None)),
    }
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
