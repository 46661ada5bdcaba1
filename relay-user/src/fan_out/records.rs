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
