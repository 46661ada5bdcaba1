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

impl LegCounters {
    fn add(&mut self, more: &Self) {
        self.forwarded += more.forwarded;
        self.forwarded_bytes += more.forwarded_bytes;
        self.dropped_bytes += more.dropped_bytes;
        for (sum, more) in self.dropped.iter_mut().zip(more.dropped) {
            *sum += more;
        }
    }
}

/// The kernel's counters of all legs.
pub(crate) struct Counters {
    traffic: SharedArray<Traffic>,
    drops: SharedArray<LegDrops>,
    slots: u32,
    cpus: u32,
    /// What slots counted in their earlier lives.
    earlier: LegCounters,
}

impl Counters {
    /// Counters of `slots` slots on `cpus` CPUs.
    pub(crate) fn new(
        traffic: SharedArray<Traffic>,
        drops: SharedArray<LegDrops>,
        slots: u32,
        cpus: u32,
    ) -> Self {
        Self { traffic, drops, slots, cpus, earlier: LegCounters::default() }
    }

    /// Starts a slot anew, before its leg is published. What the slot counted until now, even after its leg was removed,
    /// stays in the totals: a packet that was on its way then is counted late, but it is counted.
    pub(crate) fn zero(&mut self, slot: u32) {
        self.earlier.add(&self.of(slot));
        for cpu in 0..self.cpus {
            self.traffic.write(traffic_index(cpu, self.slots, slot), Traffic::default());
        }
        self.drops.write(slot, LegDrops::default());
    }

    /// What was counted in the first `used` slots, in all their lives.
    pub(crate) fn totals(&self, used: u32) -> LegCounters {
        let mut sum = self.earlier;
        for slot in 0..used.min(self.slots) {
            sum.add(&self.of(slot));
        }
        sum
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

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: u32 = 2;
    const SLOTS: u32 = 4;

    #[test]
    fn what_a_slot_counts_after_its_leg_was_removed_stays_in_the_totals() {
        let (traffic, drops) = (SharedArray::in_memory(CPUS * SLOTS), SharedArray::in_memory(SLOTS));
        let mut counters = Counters::new(traffic, drops, SLOTS, CPUS);
        let count = |counters: &Counters, slot, packets| {
            let index = traffic_index(1, SLOTS, slot);
            let before = counters.traffic.read(index);
            let after = Traffic { packets: before.packets + packets, bytes: before.bytes + 200 * packets };
            counters.traffic.write(index, after);
        };
        count(&counters, 1, 5);
        // The leg is removed here, and one packet is still on its way.
        count(&counters, 1, 1);
        assert_eq!(counters.totals(2).forwarded, 6);
        counters.zero(1);
        assert_eq!(counters.of(1).forwarded, 0);
        count(&counters, 1, 3);
        let totals = counters.totals(2);
        assert_eq!((totals.forwarded, totals.forwarded_bytes), (9, 1800));
    }

    #[test]
    fn orphans_are_in_the_totals() {
        let (traffic, drops) = (SharedArray::in_memory(CPUS * SLOTS), SharedArray::in_memory(SLOTS));
        let counters = Counters::new(traffic, drops, SLOTS, CPUS);
        let mut orphans = LegDrops::default();
        orphans.packets[0] = 7;
        counters.drops.write(0, orphans);
        assert_eq!(counters.totals(1).dropped[0], 7);
    }
}
