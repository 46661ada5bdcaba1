//! The records of groups: memory that is shared with the kernel half, or, where sockets forward, this process's own.

use std::io;

use relay_common::fan_out::{BLOCKS, Block, FanDevice, Group, Losses, Receiver};
use relay_common::leg::Traffic;
use relay_common::limits::DEVICES;

use crate::kernel::SharedArray;

/// Groups as whoever copies packets sees them. A clone is another handle of the same memory.
#[derive(Clone)]
pub(crate) struct Records {
    pub(super) groups: SharedArray<Group>,
    pub(super) blocks: SharedArray<Block>,
    pub(super) receivers: SharedArray<Receiver>,
    pub(super) losses: SharedArray<Losses>,
    /// At `traffic_index`: a stretch for each CPU, or worker, and one more.
    pub(super) traffic: SharedArray<Traffic>,
    pub(super) devices: SharedArray<FanDevice>,
}

impl Records {
    /// Records that no kernel half shares: room for `legs` legs that `workers` workers count, as the maps have it.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(crate) fn for_legs(legs: u32, workers: u32) -> io::Result<Self> {
        // Index 0 means "none".
        let slots = legs.saturating_add(1);
        Ok(Self {
            groups: SharedArray::anonymous(slots)?,
            blocks: SharedArray::anonymous(BLOCKS)?,
            receivers: SharedArray::anonymous(slots)?,
            losses: SharedArray::anonymous(slots)?,
            traffic: SharedArray::anonymous(slots.saturating_mul(workers.saturating_add(1)))?,
            devices: SharedArray::anonymous(DEVICES)?,
        })
    }
}

/// For tests of adoption.
#[cfg(any(test, fuzzing))]
impl Records {
    /// Writes one word of one of the maps that lead to receivers.
    pub(crate) fn damage(&self, map: u8, place: u32, value: u32) {
        use crate::state::damaged::write;
        match map % 6 {
            0 | 1 => write(&self.groups, place, value),
            // Few blocks are in use.
            2..=4 => write(&self.blocks, place % 128, value),
            _ => write(&self.receivers, place, value),
        }
    }

    /// The first block of a leg's group.
    pub(crate) fn head(&self, source: u32) -> u32 {
        self.groups.read(source).head
    }
}
