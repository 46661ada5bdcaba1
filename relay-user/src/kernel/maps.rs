//! The maps that outlive the process, as a table: what each looks like, and how it is found again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use aya::maps::MapData;
use relay_common::fan_out::{self, Block, Bulk, FanDevice, Group, Losses, Queue, Receiver, Turn};
use relay_common::ledger::{Ledger, NeighbourRecord};
use relay_common::leg::{Addresses6, Admission, HINTS, Leg, LegDrops, LegHint, Traffic};
use relay_common::limits::{self, BUCKETS_PER_RECORD, leg_buckets};
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::PASSES;

use super::bpf::{self, MapShape};
use super::{BucketRecord, LoadError};

/// How many records the maps have that grow with the number of legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Slots for legs, with the first, which is never used.
    pub(crate) slots: u32,
    /// Processors that the kernel may use.
    pub(crate) cpus: u32,
}

impl Capacity {
    /// Room for so many legs.
    pub(crate) fn new(legs: u32, cpus: u32) -> Self {
        Self { slots: legs.saturating_add(1), cpus }
    }

    /// Legs that fit.
    pub(crate) fn legs(self) -> u32 {
        self.slots.saturating_sub(1)
    }

    /// Buckets of the leg table.
    pub(crate) fn buckets(self) -> u32 {
        leg_buckets(self.legs())
    }

    /// Records of a map that counts by leg and CPU: a stretch for each CPU, and one that only the user half writes.
    pub(crate) fn by_cpu(self) -> u32 {
        self.slots.saturating_mul(self.cpus.saturating_add(1))
    }
}

/// How many records a map has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Always so many.
    Fixed(u32),
    /// One for each processor.
    Cpus,
    /// Enough for all buckets of the leg table.
    Buckets,
    /// One for each slot.
    Slots,
    /// One for each slot, in a stretch for each CPU and one more: see [`Capacity::by_cpu`].
    SlotsByCpu,
}

/// Who knows a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The program, so that the map is part of its object.
    Program,
    /// Only the user half.
    User,
}

/// One map that outlives the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) name: &'static str,
    pub(crate) owner: Owner,
    pub(crate) length: Length,
    kind: u32,
    key: u32,
    value: usize,
}

/// An array that both halves have in their memory.
const fn array<T>(name: &'static str, length: Length) -> Kept {
    Kept { name, owner: Owner::Program, length, kind: bpf::ARRAY, key: 4, value: size_of::<T>() }
}

/// An array that the program does not know.
const fn of_user<T>(name: &'static str, length: Length) -> Kept {
    Kept { owner: Owner::User, ..array::<T>(name, length) }
}

/// Any other map.
const fn other(name: &'static str, kind: u32, key: u32, value: usize, entries: u32) -> Kept {
    Kept { name, owner: Owner::Program, length: Length::Fixed(entries), kind, key, value }
}

/// Reasons for which packets pass: a handful.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const REASONS: u32 = PASSES as u32;

/// Every map that is pinned. What is not here (taps, sockets, our addresses and ports) belongs to one process, which
/// fills it before its program runs.
pub(crate) const KEPT: &[Kept] = &[
    array::<BucketRecord>("LEG_BUCKETS", Length::Buckets),
    array::<LegHint>("LEG_HINTS", Length::Fixed(HINTS)),
    array::<Leg>("LEGS", Length::Slots),
    array::<Admission>("ADMISSIONS", Length::Slots),
    array::<Addresses6>("ADDRESSES6", Length::Slots),
    array::<Retag>("RETAGS", Length::Slots),
    array::<Police>("POLICE", Length::Slots),
    array::<LegDrops>("LEG_DROPS", Length::Slots),
    array::<UserTraffic>("USER_TRAFFIC", Length::Slots),
    array::<Traffic>("TRAFFIC", Length::SlotsByCpu),
    array::<Quality>("QUALITY", Length::SlotsByCpu),
    array::<PayloadMap>("PAYLOAD_MAPS", Length::Fixed(limits::PAYLOAD_MAPS)),
    array::<NextHop>("NEXT_HOPS", Length::Fixed(limits::NEXT_HOPS)),
    array::<Group>("GROUPS", Length::Slots),
    array::<Block>("BLOCKS", Length::Fixed(fan_out::BLOCKS)),
    array::<Receiver>("RECEIVERS", Length::Slots),
    array::<Losses>("RECEIVER_LOSSES", Length::Slots),
    array::<Traffic>("RECEIVER_TRAFFIC", Length::SlotsByCpu),
    array::<FanDevice>("FAN_DEVICES", Length::Fixed(limits::DEVICES)),
    Kept { length: Length::Cpus, ..other("FAN_CPUS", bpf::CPU_MAP, 4, 8, 0) },
    array::<Queue>("FAN_QUEUES", Length::Cpus),
    other("FAN_PROGRAMS", bpf::PROGRAM_ARRAY, 4, 4, fan_out::PROGRAMS),
    other("BROADCASTS", bpf::PER_CPU_ARRAY, 4, 8, 1),
    other("TURNS", bpf::PER_CPU_ARRAY, 4, size_of::<Turn>(), limits::DEVICES),
    other("BULKS", bpf::PER_CPU_ARRAY, 4, size_of::<Bulk>(), 1),
    other("DEVICES", bpf::DEVMAP, 4, 8, limits::DEVICES),
    other("DEVICE_SLOTS", bpf::HASH, 4, 4, limits::DEVICES),
    other("PASSED", bpf::PER_CPU_ARRAY, 4, 8, REASONS),
    other("EVENTS", bpf::RING, 0, 0, limits::EVENT_RING_BYTES),
    other("REFUSED", bpf::HASH, 16, 8, limits::DEVICES),
    other("UNSENT", bpf::HASH, 8, 8, limits::DEVICES),
    of_user::<Ledger>("LEDGER", Length::Slots),
    of_user::<NeighbourRecord>("NEIGHBOURS", Length::Fixed(limits::NEXT_HOPS)),
];

impl Kept {
    /// Records at this capacity.
    pub(crate) fn entries(&self, capacity: Capacity) -> u32 {
        match self.length {
            Length::Fixed(entries) => entries,
            Length::Cpus => capacity.cpus,
            Length::Buckets => capacity.buckets() / BUCKETS_PER_RECORD,
            Length::Slots => capacity.slots,
            Length::SlotsByCpu => capacity.by_cpu(),
        }
    }

    /// What the map must look like at this capacity.
    fn shape(&self, capacity: Capacity) -> MapShape {
        let flags = match self.kind {
            bpf::ARRAY => bpf::MMAPABLE,
            bpf::DEVMAP => bpf::READ_ONLY_FOR_PROGRAMS,
            _ => 0,
        };
        // Records are small.
        let value = u32::try_from(self.value).unwrap_or(u32::MAX);
        MapShape { kind: self.kind, key: self.key, value, entries: self.entries(capacity), flags }
    }

    /// Opens the map if it is pinned in `folder`.
    ///
    /// # Errors
    /// It is not what it should be.
    pub(crate) fn open(&self, folder: &Path, capacity: Capacity) -> Result<Option<OwnedFd>, LoadError> {
        let path = folder.join(self.name);
        let found = match bpf::open(&path) {
            Ok(map) => map,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Pin { path, source }),
        };
        let shape =
            bpf::map_shape(found.as_fd()).map_err(|source| LoadError::Pin { path: path.clone(), source })?;
        let expected = self.shape(capacity);
        if shape == expected {
            Ok(Some(found))
        } else {
            Err(LoadError::Shape { path, found: shape.into(), expected: expected.into() })
        }
    }

    /// A map of the user half alone: the one that is pinned in `folder`, or a new one, which is pinned there.
    pub(crate) fn of_user(&self, folder: Option<&Path>, capacity: Capacity) -> Result<MapData, LoadError> {
        let refused = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => LoadError::Privilege(error.into()),
            _ => LoadError::Refused(error.into()),
        };
        let pinned = folder.map(|folder| self.open(folder, capacity)).transpose()?.flatten();
        let map = match pinned {
            Some(map) => map,
            None => {
                let map = bpf::create_map(self.name, self.shape(capacity)).map_err(refused)?;
                if let Some(folder) = folder {
                    let path = folder.join(self.name);
                    bpf::pin(map.as_fd(), &path).map_err(|source| LoadError::Pin { path, source })?;
                }
                map
            }
        };
        MapData::from_fd(map).map_err(|error| LoadError::Refused(error.into()))
    }
}

impl From<MapShape> for String {
    fn from(shape: MapShape) -> Self {
        let MapShape { kind, key, value, entries, flags } = shape;
        format!("type {kind}, key {key} bytes, value {value} bytes, {entries} entries, flags {flags:#x}")
    }
}
