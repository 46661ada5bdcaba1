//! The record that says what a folder of pins holds: which layout, how many legs, how far its making has come. Every
//! version of Culvert reads it, so its own fields never move.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use aya::Pod;
use aya::maps::MapData;
use relay_common::layout::{HASH, LAYOUT, RECORDS};

use super::StateError;
use crate::kernel::bpf::{self, MapShape};
use crate::kernel::{Capacity, SharedArray};

/// The pin of the header.
const NAME: &str = "HEADER";

/// `culvert` and a zero.
const MAGIC: u64 = u64::from_le_bytes(*b"culvert\0");

/// Bytes for the description of the records.
const TEXT: usize = 16 * 1024 - 48;

/// How far the making of a folder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No program uses the maps yet, or no leg is in them.
    Building,
    /// The maps hold what those of their predecessor held; the programs are being replaced, or have been, and what
    /// the old ones counted last is still to be added.
    Switching,
    /// Everything is in place.
    Complete,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Building, Self::Switching, Self::Complete];
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Record {
    magic: u64,
    phase: u32,
    layout: u32,
    hash: u64,
    slots: u32,
    cpus: u32,
    network: u64,
    text_length: u32,
    reserved: u32,
    text: [u8; TEXT],
}

// SAFETY: integers without padding; every bit pattern is a value.
unsafe impl Pod for Record {}

/// The header of one folder.
pub(crate) struct Header(SharedArray<Record>);

impl Header {
    /// Makes the header of a new folder, for this version's layout, and pins it there.
    pub(super) fn create(folder: &Path, capacity: Capacity, network: u64) -> Result<Self, StateError> {
        let text = describe();
        let path = folder.join(NAME);
        let refused = |source| StateError::Refused { path: path.clone(), source };
        let value = u32::try_from(size_of::<Record>()).unwrap_or(u32::MAX);
        let shape = MapShape { kind: bpf::ARRAY, key: 4, value, entries: 1, flags: bpf::MMAPABLE };
        let map = bpf::create_map(NAME, shape).map_err(refused)?;
        bpf::pin(map.as_fd(), &path).map_err(refused)?;
        let map = MapData::from_fd(map).map_err(|error| refused(std::io::Error::other(error)))?;
        let array = SharedArray::<Record>::map(&map).map_err(refused)?;
        let mut record = Record {
            magic: MAGIC,
            phase: Phase::Building as u32,
            layout: LAYOUT,
            hash: HASH,
            slots: capacity.slots,
            cpus: capacity.cpus,
            network,
            text_length: u32::try_from(text.len()).unwrap_or(u32::MAX),
            reserved: 0,
            text: [0; TEXT],
        };
        for (to, from) in record.text.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        array.write(0, record);
        Ok(Self(array))
    }

    /// The header of a folder; `None` if it has none, or none that was written whole.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        let map = MapData::from_fd(bpf::open(&folder.join(NAME)).ok()?).ok()?;
        let array = SharedArray::<Record>::map(&map).ok()?;
        (array.length() == 1 && array.read(0).magic == MAGIC).then_some(Self(array))
    }

    /// Whether the records are exactly this version's.
    pub(super) fn is_ours(&self) -> bool {
        let record = self.0.read(0);
        (record.layout, record.hash) == (LAYOUT, HASH)
    }

    /// How many legs the maps have room for.
    pub(super) fn capacity(&self) -> Capacity {
        let record = self.0.read(0);
        Capacity { slots: record.slots, cpus: record.cpus }
    }

    /// The network namespace that the interfaces are in.
    pub(super) fn network(&self) -> u64 {
        self.0.read(0).network
    }

    /// The number of the layout.
    pub(super) fn layout(&self) -> u32 {
        self.0.read(0).layout
    }

    /// The description of the records.
    pub(super) fn text(&self) -> String {
        let record = self.0.read(0);
        let text = record.text.get(..record.text_length as usize).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    pub(super) fn phase(&self) -> Phase {
        let phase = self.0.word32(0, offset_of!(Record, phase)).load(Ordering::Acquire);
        Phase::ALL.into_iter().find(|known| *known as u32 == phase).unwrap_or(Phase::Building)
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.0.word32(0, offset_of!(Record, phase)).store(phase as u32, Ordering::Release);
    }
}

/// The records of this version, one line each: name, bytes, then name, offset and bytes of each field. An array whose
/// elements have names is listed element by element, so that each is found again when others come or go.
pub(super) fn describe() -> String {
    let mut text = String::new();
    for record in RECORDS {
        // Writing to a string cannot fail.
        let _ = write!(text, "{} {}", record.name, record.size);
        for field in record.fields {
            if field.elements.is_empty() {
                let _ = write!(text, " {} {} {}", field.name, field.offset, field.size);
            }
            let size = field.size / field.elements.len().max(1);
            for (at, element) in field.elements.iter().enumerate() {
                let _ = write!(text, " {}.{element} {} {size}", field.name, field.offset + at * size);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_fits_and_names_every_field() {
        let text = describe();
        assert!(text.len() <= TEXT, "{}", text.len());
        let traffic = text.lines().find(|line| line.starts_with("Traffic ")).unwrap();
        assert_eq!(traffic, "Traffic 16 packets 0 8 bytes 8 8");
        assert!(text.contains(" packets.source_mismatch "), "{text}");
    }

    #[test]
    fn the_header_does_not_move() {
        assert_eq!(size_of::<Record>(), 16 * 1024);
        assert_eq!(
            (offset_of!(Record, hash), offset_of!(Record, slots), offset_of!(Record, text)),
            (16, 24, 48)
        );
    }
}
