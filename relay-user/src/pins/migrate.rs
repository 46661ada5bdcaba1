//! From maps of another layout or capacity to new ones while media runs: copy, put the new program into every link in one
//! step each, then add what the old program counted last.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_common::leg::LegKey;
use relay_common::limits::BUCKETS_PER_RECORD;

use super::header::{Header, Phase};
use crate::fan_out::FanOutError;
use crate::kernel::{Capacity, RawArray, bpf, wait_for_programs};

/// Maps whose records are copied field by field, and the name of their records.
const RECORDS: [(&str, &str); 16] = [
    ("LEG_HINTS", "LegHint"),
    ("LEGS", "Leg"),
    ("ADMISSIONS", "Admission"),
    ("ADDRESSES6", "Addresses6"),
    ("RETAGS", "Retag"),
    ("POLICE", "Police"),
    ("LEG_DROPS", "LegDrops"),
    ("USER_TRAFFIC", "UserTraffic"),
    ("LEDGER", "Ledger"),
    ("NEXT_HOPS", "NextHop"),
    ("NEIGHBOURS", "NeighbourRecord"),
    ("GROUPS", "Group"),
    ("BLOCKS", "Block"),
    ("RECEIVERS", "Receiver"),
    ("RECEIVER_LOSSES", "Losses"),
    ("FAN_DEVICES", "FanDevice"),
];

/// Maps that count by leg and CPU.
const BY_CPU: [&str; 2] = ["TRAFFIC", "RECEIVER_TRAFFIC"];

/// Maps in which every writer adds, and their records.
const ADDED: [(&str, &str); 3] =
    [("LEG_DROPS", "LegDrops"), ("RECEIVER_LOSSES", "Losses"), ("GROUPS", "Group")];

/// Words that a program sets once, by exchanging them for what was there: the map, and where in its record the word is, by
/// fields of records within each other.
const LEARNED: [(&str, &[(&str, &str)]); 3] = [
    ("LEGS", &[("Leg", "source")]),
    ("RETAGS", &[("Retag", "offsets")]),
    ("RECEIVERS", &[("Receiver", "retag"), ("Retag", "offsets")]),
];

/// Where the fields of a record are, by name: offset and bytes.
type Fields = HashMap<String, (usize, usize)>;

/// The records of a layout, by name.
pub(super) type Layout = HashMap<String, Fields>;

/// Reads the description in a header.
pub(super) fn parse(text: &str) -> Layout {
    let mut layout = Layout::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(name) = words.next() else { continue };
        let rest: Vec<&str> = words.skip(1).collect();
        let field = |field: &[&str]| {
            let [name, offset, size] = field else { return None };
            Some(((*name).to_owned(), (offset.parse().ok()?, size.parse().ok()?)))
        };
        layout.insert(name.to_owned(), rest.chunks(3).filter_map(field).collect());
    }
    layout
}

/// One side of a migration.
struct Side {
    arrays: HashMap<&'static str, RawArray>,
    layout: Layout,
    capacity: Capacity,
}

impl Side {
    fn open(folder: &Path, header: &Header) -> io::Result<Self> {
        let names = RECORDS.iter().map(|(name, _)| *name).chain(BY_CPU);
        let names = names.chain(["QUALITY", "LEG_BUCKETS", "PAYLOAD_MAPS"]);
        let mut arrays = HashMap::new();
        for name in names {
            match RawArray::open(&folder.join("maps").join(name)) {
                Ok(array) => {
                    arrays.insert(name, array);
                }
                // An older version had no such map.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { arrays, layout: parse(&header.text()), capacity: header.capacity() })
    }

    fn field(&self, record: &str, field: &str) -> Option<(usize, usize)> {
        self.layout.get(record)?.get(field).copied()
    }

    /// Offset and bytes of a field within a field.
    fn inner(&self, fields: &[(&str, &str)]) -> Option<(usize, usize)> {
        fields.iter().try_fold((0, 0), |(start, _), (record, field)| {
            let (offset, size) = self.field(record, field)?;
            Some((start + offset, size))
        })
    }
}

/// Both sides, and what the new one held when the program changed.
pub(super) struct Migration<'a> {
    old: Side,
    new: Side,
    old_folder: &'a Path,
    new_folder: &'a Path,
    /// What had been counted when it was copied, in the order of [`Migration::added`].
    copied: Vec<u64>,
}

impl<'a> Migration<'a> {
    pub(super) fn open(old: (&'a Path, &Header), new: (&'a Path, &Header)) -> io::Result<Self> {
        let (from, to) = (Side::open(old.0, old.1)?, Side::open(new.0, new.1)?);
        Ok(Self { old: from, new: to, old_folder: old.0, new_folder: new.0, copied: Vec::new() })
    }

    /// Fills the new maps, which no program uses yet.
    pub(super) fn copy(&mut self) -> io::Result<()> {
        for (map, record) in RECORDS {
            self.copy_records(map, record);
        }
        if let (Some(old), Some(new)) =
            (self.old.arrays.get("PAYLOAD_MAPS"), self.new.arrays.get("PAYLOAD_MAPS"))
        {
            for index in 0..old.length.min(new.length) {
                old.copy(index, 0, old.value.min(new.value), new, (index, 0));
            }
        }
        self.copy_clocks();
        self.copy_buckets();
        self.copy_devices()?;
        // The copies, because the old words may have counted since.
        self.copied = self.added().into_iter().map(|(_, new)| new.load(Ordering::Relaxed)).collect();
        Ok(())
    }

    /// The slots of interfaces.
    fn devices(&self) -> io::Result<HashMap<u32, u32>> {
        let map = bpf::open(&self.new_folder.join("maps").join("DEVICES"))?;
        let mut devices = HashMap::new();
        for slot in 0..relay_common::limits::DEVICES {
            if let Some([interface, _]) = bpf::look_up::<[u32; 2]>(map.as_fd(), &slot)? {
                devices.insert(interface, slot);
            }
        }
        Ok(devices)
    }

    /// Puts the new program into every link, and pins the links on the new side.
    pub(super) fn switch(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        for entry in std::fs::read_dir(self.old_folder.join("links"))? {
            let entry = entry?;
            let link = bpf::open(&entry.path())?;
            match bpf::update_link(link.as_fd(), program) {
                Ok(()) => {}
                // Its interface is gone.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => continue,
                Err(error) => return Err(error),
            }
            match bpf::pin(link.as_fd(), &self.new_folder.join("links").join(entry.file_name())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds what the old program counted and learned after the copy. It must have ended everywhere.
    pub(super) fn settle(&self) {
        for (map, fields) in LEARNED {
            self.settle_learned(map, fields);
        }
        for ((old, new), copied) in self.added().into_iter().zip(&self.copied) {
            new.fetch_add(old.load(Ordering::Relaxed).saturating_sub(*copied), Ordering::Relaxed);
        }
        for map in BY_CPU {
            self.settle_traffic(map);
        }
    }

    /// Slots that both sides have.
    fn slots(&self) -> u32 {
        self.old.capacity.slots.min(self.new.capacity.slots)
    }

    fn copy_records(&self, map: &str, record: &str) {
        let (Some(old), Some(new)) = (self.old.arrays.get(map), self.new.arrays.get(map)) else { return };
        let Some(fields) = self.new.layout.get(record) else { return };
        let plan: Vec<(usize, usize, usize)> = fields
            .iter()
            .filter_map(|(name, (to, size))| {
                let (from, found) = self.old.field(record, name)?;
                (found == *size).then_some((from, *to, *size))
            })
            .collect();
        for index in 0..old.length.min(new.length) {
            for (from, to, size) in &plan {
                old.copy(index, *from, *size, new, (index, *to));
            }
        }
    }

    /// Quality is measured anew: what is lost, and what came twice, cannot be told across two programs that both see
    /// packets. Only the clock of each leg is kept.
    fn copy_clocks(&self) {
        let (Some(old), Some(new)) = (self.old.arrays.get("QUALITY"), self.new.arrays.get("QUALITY")) else {
            return;
        };
        let (Some((from, 4)), Some((to, 4))) =
            (self.old.field("Quality", "tick"), self.new.field("Quality", "tick"))
        else {
            return;
        };
        for slot in 0..self.slots() {
            for cpu in 0..self.new.capacity.cpus {
                old.copy(slot, from, 4, new, (cpu * self.new.capacity.slots + slot, to));
            }
        }
    }

    /// Chains anew: their number depends on the capacity.
    fn copy_buckets(&self) {
        let (Some(old), Some(new)) = (self.old.arrays.get("LEG_BUCKETS"), self.new.arrays.get("LEG_BUCKETS"))
        else {
            return;
        };
        let (Some(old_rest), Some(rest)) =
            (self.old.arrays.get("ADMISSIONS"), self.new.arrays.get("ADMISSIONS"))
        else {
            return;
        };
        let Some(legs) = self.new.arrays.get("LEGS") else { return };
        let fields = (
            self.old.field("Admission", "next"),
            self.new.field("Admission", "next"),
            self.new.field("Leg", "key"),
        );
        let (Some((old_next, 4)), Some((next, 4)), Some((key, 8))) = fields else { return };
        let mask = self.new.capacity.buckets() - 1;
        for head in (0..old.length).flat_map(|record| [(record, 0), (record, 4)]) {
            let mut slot = old.word32(head.0, head.1).map_or(0, |word| word.load(Ordering::Acquire));
            // No chain is longer than there are slots.
            for _ in 0..self.slots() {
                if slot == 0 || slot >= self.slots() {
                    break;
                }
                if let (Some(key), Some(link)) = (legs.word64(slot, key), rest.word32(slot, next)) {
                    let bucket = LegKey::from_word(key.load(Ordering::Relaxed)).bucket(mask);
                    let lane = (bucket % BUCKETS_PER_RECORD) as usize * size_of::<u32>();
                    if let Some(head) = new.word32(bucket / BUCKETS_PER_RECORD, lane) {
                        link.store(head.swap(slot, Ordering::Relaxed), Ordering::Relaxed);
                    }
                }
                slot = old_rest.word32(slot, old_next).map_or(0, |word| word.load(Ordering::Acquire));
            }
        }
    }

    /// Next hops name devices by slot.
    fn copy_devices(&self) -> io::Result<()> {
        let open = |folder: &Path, map| bpf::open(&folder.join("maps").join(map));
        let (old, new) = (open(self.old_folder, "DEVICES")?, open(self.new_folder, "DEVICES")?);
        let slots = open(self.new_folder, "DEVICE_SLOTS")?;
        for slot in 0..relay_common::limits::DEVICES {
            if let Some([interface, _]) = bpf::look_up::<[u32; 2]>(old.as_fd(), &slot)? {
                bpf::enter(new.as_fd(), &slot, &[interface, 0])?;
                bpf::enter(slots.as_fd(), &interface, &slot)?;
            }
        }
        Ok(())
    }

    /// What was learned since it was copied.
    fn settle_learned(&self, map: &str, fields: &[(&str, &str)]) {
        let (Some(old), Some(new)) = (self.old.arrays.get(map), self.new.arrays.get(map)) else { return };
        let (Some((from, 8)), Some((to, 8))) = (self.old.inner(fields), self.new.inner(fields)) else {
            return;
        };
        for slot in 1..self.slots() {
            let (Some(old), Some(new)) = (old.word64(slot, from), new.word64(slot, to)) else { continue };
            let learned = old.load(Ordering::Acquire);
            if learned != 0 && new.load(Ordering::Acquire) == 0 {
                if map == "LEGS" {
                    self.copy_source_address(slot);
                }
                // The new program may just have learned by itself.
                let _ = new.compare_exchange(0, learned, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    fn copy_source_address(&self, slot: u32) {
        let arrays = (self.old.arrays.get("ADDRESSES6"), self.new.arrays.get("ADDRESSES6"));
        let fields = (self.old.field("Addresses6", "source"), self.new.field("Addresses6", "source"));
        if let ((Some(old), Some(new)), (Some((from, size)), Some((to, same)))) = (arrays, fields)
            && size == same
        {
            old.copy(slot, from, size, new, (slot, to));
        }
    }

    /// All that the old side sent on goes into the stretch that only the user half writes.
    fn settle_traffic(&self, map: &str) {
        let (Some(old), Some(new)) = (self.old.arrays.get(map), self.new.arrays.get(map)) else { return };
        for field in ["packets", "bytes"] {
            let (Some((from, 8)), Some((to, 8))) =
                (self.old.field("Traffic", field), self.new.field("Traffic", field))
            else {
                continue;
            };
            // As many as there are, whatever the header says.
            let stretches = old.length.checked_div(self.old.capacity.slots).unwrap_or(0);
            for slot in 0..self.slots() {
                let count = |cpu| {
                    old.word64(cpu * self.old.capacity.slots + slot, from)
                        .map_or(0, |word| word.load(Ordering::Relaxed))
                };
                let sum = (0..stretches).map(count).fold(0, u64::saturating_add);
                if let Some(carried) = new.word64(self.new.capacity.cpus * self.new.capacity.slots + slot, to)
                {
                    carried.store(sum, Ordering::Relaxed);
                }
            }
        }
    }

    /// The counters on both sides, that both have and every writer adds to.
    fn added(&self) -> Vec<(&AtomicU64, &AtomicU64)> {
        ADDED.iter().flat_map(|(map, record)| self.added_in(map, record)).collect()
    }

    fn added_in(&self, map: &str, record: &str) -> Vec<(&AtomicU64, &AtomicU64)> {
        let mut words = Vec::new();
        let (Some(old), Some(new)) = (self.old.arrays.get(map), self.new.arrays.get(map)) else {
            return words;
        };
        let counts =
            |name: &str| matches!(name, "bytes" | "entered" | "stale") || name.starts_with("packets.");
        let fields = self.new.layout.get(record).into_iter().flatten();
        let mut fields: Vec<(&String, usize)> = fields
            .filter(|(name, (_, size))| counts(name) && *size == 8)
            .map(|(name, (to, _))| (name, *to))
            .collect();
        fields.sort_unstable();
        for (name, to) in fields {
            let Some((from, 8)) = self.old.field(record, name) else { continue };
            for slot in 0..self.slots() {
                words.extend(old.word64(slot, from).zip(new.word64(slot, to)));
            }
        }
        words
    }
}

/// Does everything: afterwards the new folder is all that is needed.
pub(super) fn run(
    old: (&Path, &Header),
    new: (&Path, &Header),
    program: BorrowedFd<'_>,
    put_in_place: impl FnOnce(&HashMap<u32, u32>) -> Result<(), FanOutError>,
) -> io::Result<()> {
    let mut migration = Migration::open(old, new)?;
    // A predecessor that was killed in between had copied everything; what it knew of drops is lost with it.
    if new.1.phase() == Phase::Building {
        migration.copy()?;
        new.1.set_phase(Phase::Switching);
    }
    put_in_place(&migration.devices()?).map_err(io::Error::other)?;
    migration.switch(program)?;
    wait_for_programs();
    migration.settle();
    new.1.set_phase(Phase::Complete);
    Ok(())
}
