//! What the kernel counts for each leg, summed over its CPUs.

use relay_common::leg::{LegDrops, Traffic, traffic_index};
use relay_common::verdict::DROPS;

use crate::kernel::SharedArray;

/// The counters of one leg, all CPUs together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LegCounters {
    pub(crate) forwarded: u64,
    pub(crate) forwarded_bytes: u64,
    pub(crate) dropped_bytes: u64,
    /// By [`relay_common::verdict::Drop`].
    pub(crate) dropped: [u64; DROPS],
}

/// The kernel's counters of all legs.
pub(crate) struct Counters {
    traffic: SharedArray<Traffic>,
    drops: SharedArray<LegDrops>,
    slots: u32,
    cpus: u32,
}

impl Counters {
    /// Counters of `slots` slots on `cpus` CPUs.
    pub(crate) fn new(
        traffic: SharedArray<Traffic>,
        drops: SharedArray<LegDrops>,
        slots: u32,
        cpus: u32,
    ) -> Self {
        Self { traffic, drops, slots, cpus }
    }

    /// Starts a slot anew, before its leg is published.
    pub(crate) fn zero(&mut self, slot: u32) {
        for cpu in 0..self.cpus {
            self.traffic.write(traffic_index(cpu, self.slots, slot), Traffic::default());
        }
        self.drops.write(slot, LegDrops::default());
    }

    /// What was counted in a slot.
    pub(crate) fn of(&self, slot: u32) -> LegCounters {
        let mut sum = LegCounters::default();
        for cpu in 0..self.cpus {
            let traffic = self.traffic.read(traffic_index(cpu, self.slots, slot));
            sum.forwarded += traffic.packets;
            sum.forwarded_bytes += traffic.bytes;
        }
        let drops = self.drops.read(slot);
        sum.dropped_bytes = drops.bytes;
        sum.dropped = drops.packets;
        sum
    }
}
