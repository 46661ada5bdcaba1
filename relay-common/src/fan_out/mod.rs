//! Fan-out: one packet in, a copy for each receiver of a group. The records that both halves share; `docs/fan-out.md` has
//! the technique.
//!
//! A group is a chain of blocks. A block has at most [`SEATS`] receivers, all behind one device, and is served by one
//! broadcast: the kernel makes a copy for each entry of a device map, and the copies come to the egress program in the order
//! of their seats.

mod metadata;
mod queue;

use crate::address::Ipv6;
use crate::byte_order::Be32;
use crate::leg::{Destination, Route};
use crate::limits::DEVICES;
use crate::retag::Retag;
use crate::verdict::LOSSES;

pub use metadata::Metadata;
pub use queue::{FULL, QUEUE, Queue, STILL};

/// Receivers of one block. The queue before the broadcast is read eight packets at a time (CPUMAP_BATCH of the kernel), so
/// eight times as many copies come to a device at once. The ring of a veth has 256 places, which must do for two such batches:
/// its reader may be interrupted after the first (`docs/fan-out.md`), and gives places back 16 at a time.
pub const SEATS: usize = 15;

/// Blocks of all groups together; index 0 means "none".
pub const BLOCKS: u32 = 1 << 14;

/// Frames that the kernel hands to a device at a time (DEV_MAP_BULK_SIZE of the kernel).
pub const BULK: usize = 16;

/// Device maps for each device: for each number of copies, with and without the way to the next block.
#[expect(clippy::cast_possible_truncation, reason = "a few dozen")]
const MAPS_PER_DEVICE: u32 = 2 * (SEATS as u32 + 1);

/// Programs of the `FAN_PROGRAMS` map.
pub const PROGRAMS: u32 = 1;

/// Where the `FAN_PROGRAMS` map has the program that copies what comes out of the queues.
pub const BROADCAST: u32 = 0;

/// Elements of the `FANS` map.
pub const FANS: u32 = DEVICES * MAPS_PER_DEVICE;

/// Where the `FANS` map has the device map that makes `copies` copies for the device in this slot, and one more for the next
/// block if there is one.
#[inline(always)]
pub const fn fan_index(device: u32, copies: u32, has_next: bool) -> u32 {
    device * MAPS_PER_DEVICE + 2 * copies + has_next as u32
}

/// The receivers of what arrives on a leg. A record of the `GROUPS` map, by the index of the leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Group {
    /// The first block, 0 for none.
    pub head: u32,
    /// Counts the lives of this record: packets that waited too long are not sent to the receivers of another group.
    pub generation: u32,
    /// The CPU that makes the copies.
    pub cpu: u32,
    /// Fills the record up to a multiple of its alignment: 0.
    pub reserved: u32,
    /// Packets that came out of the queue.
    pub entered: u64,
    /// Packets that came out of the queue, or to a further block, when there was no such group or block any more.
    pub stale: u64,
}

/// One block of a group. A record of the `BLOCKS` map. Seats are single words: whoever joins or leaves changes one, and
/// nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Block {
    /// Seats in use, holes between them included: that many copies are made.
    pub seats: u32,
    /// The next block, 0 for none.
    pub next: u32,
    /// Slot of the device that its receivers are behind.
    pub device: u32,
    /// Counts the lives of this record, like [`Group::generation`].
    pub generation: u32,
    /// The CPU that makes the copies.
    pub cpu: u32,
    /// Index of the leg whose packets these are, for what is counted at the group.
    pub source: u32,
    /// Index of the leg in each seat; 0 for a hole.
    pub receivers: [u32; SEATS],
    /// Fills the record up to a multiple of eight bytes: 0.
    pub reserved: u32,
}

/// Where the packets of a receiver go. A record of the `RECEIVERS` map, by the index of its leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Receiver {
    /// Its address and the ports.
    pub destination: Destination,
    /// Our address that packets leave from.
    pub origin: Be32,
    /// The next hop, and whether packets are retagged and leave over IPv6: the constants of [`crate::leg::route`].
    pub route: Route,
    /// How packets of `source` are retagged.
    pub retag: Retag,
    /// How packets of any other leg are: those of the source before, which still wait while the source is switched.
    pub retag_before: Retag,
    /// Index of the leg whose packets it receives.
    pub source: u32,
    /// Fills the record up to a multiple of its alignment: 0.
    pub reserved: u32,
    /// Its IPv6 address.
    pub destination6: Ipv6,
    /// Our IPv6 address that packets leave from.
    pub origin6: Ipv6,
}

/// Copies that were not sent to a receiver. A record of the `RECEIVER_LOSSES` map, by the index of its leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Losses {
    /// By [`crate::verdict::Loss`].
    pub packets: [u64; LOSSES],
}

/// What a device takes. A record of the `FAN_DEVICES` map, by the slot of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FanDevice {
    /// Bytes of the largest frame, from its Ethernet header on; 0 while the device is down. The kernel leaves out copies
    /// that are larger without a word.
    pub largest: u32,
    /// Fills the record: 0.
    pub reserved: u32,
}

/// Whose turn it is at a device. One record for each CPU and device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Turn {
    /// Number of the packet whose copies are coming.
    pub number: u64,
    /// Its block.
    pub block: u32,
    /// The seat of the next copy.
    pub seat: u32,
    /// Copies that were asked for.
    pub seats: u32,
    /// Fills the record: 0.
    pub reserved: u32,
}

/// Receivers of the copies that are handed to a device together. One record for each CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bulk {
    /// How many.
    pub frames: u32,
    /// Indexes of their legs.
    pub receivers: [u32; BULK],
    /// Fills the record: 0.
    pub reserved: u32,
}

/// A copy that came out of a device while the kernel is tried, as the program `fan_out_witness` tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Witnessed {
    /// Number of the broadcast on its CPU.
    pub number: u64,
    /// The block that was served.
    pub block: u32,
    /// Its ports, as the first word of the UDP header.
    pub ports: Be32,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            seats: 0,
            next: 0,
            device: 0,
            generation: 0,
            cpu: 0,
            source: 0,
            receivers: [0; SEATS],
            reserved: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_and_number_of_copies_has_a_map_of_its_own() {
        let seats = u32::try_from(SEATS).unwrap();
        let mut indexes: Vec<u32> = (0..DEVICES)
            .flat_map(|device| {
                (0..=seats).flat_map(move |copies| [false, true].map(|next| fan_index(device, copies, next)))
            })
            .collect();
        indexes.sort_unstable();
        assert!(indexes.into_iter().eq(0..FANS));
    }

    #[test]
    fn records_are_spaced_as_the_kernel_spaces_them() {
        assert_eq!((size_of::<Group>(), size_of::<Receiver>()), (32, 120));
        assert!(
            [size_of::<Block>(), size_of::<Losses>(), size_of::<Turn>(), size_of::<Bulk>()]
                .iter()
                .all(|size| size % 8 == 0)
        );
    }
}
