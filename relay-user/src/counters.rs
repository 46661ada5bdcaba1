//! What was counted for each leg: by the kernel half on each CPU, and by the workers of this process.

use std::mem::offset_of;
use std::ops::{AddAssign, Sub};
use std::sync::atomic::Ordering;

use relay_common::leg::{LegDrops, Traffic, traffic_index};
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::{DROPS, Drop};

use crate::kernel::SharedArray;
use crate::statistics::PathCounts;

/// Drops after which the packet's source still counts as alive: it was admitted first.
const ADMITTED: [Drop; 12] = [
    Drop::NoStream,
    Drop::RemoteUnknown,
    Drop::NextHopUnresolved,
    Drop::TooBig,
    Drop::NoDevice,
    Drop::NoRoute,
    Drop::EgressFull,
    Drop::CopiesFull,
    Drop::NoRoom,
    Drop::RateExceeded,
    Drop::RtcpEnded,
    Drop::RtcpUntranslated,
];

/// Packets that were sent on, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl From<Traffic> for Sent {
    fn from(traffic: Traffic) -> Self {
        Self { packets: traffic.packets, bytes: traffic.bytes }
    }
}

impl From<Sent> for Traffic {
    fn from(sent: Sent) -> Self {
        Self { packets: sent.packets, bytes: sent.bytes }
    }
}

impl AddAssign for Sent {
    /// Maps that outlive the process may hold anything: what is damaged is a large number, and no more.
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Sub for Sent {
    type Output = Self;

    /// Counters only rise; should one be read half-written, the difference is 0 rather than immense.
    fn sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The counters of one leg, all CPUs together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LegCounters {
    /// By the XDP program.
    pub(crate) xdp: Sent,
    /// By AF_XDP workers.
    pub(crate) af_xdp: Sent,
    /// By socket workers.
    pub(crate) user: Sent,
    pub(crate) dropped_bytes: u64,
    /// By [`relay_common::verdict::Drop`].
    pub(crate) dropped: [u64; DROPS],
}

impl LegCounters {
    fn add(&mut self, more: &Self) {
        self.xdp += more.xdp;
        self.af_xdp += more.af_xdp;
        self.user += more.user;
        self.dropped_bytes = self.dropped_bytes.saturating_add(more.dropped_bytes);
        for (sum, more) in self.dropped.iter_mut().zip(more.dropped) {
            *sum = sum.saturating_add(more);
        }
    }

    /// What was sent on by all paths.
    pub(crate) fn sent(&self) -> Sent {
        let mut sum = self.xdp;
        sum += self.af_xdp;
        sum += self.user;
        sum
    }

    /// Packets that were sent on, by path.
    pub(crate) fn paths(&self) -> PathCounts {
        PathCounts { xdp: self.xdp.packets, af_xdp: self.af_xdp.packets, user: self.user.packets }
    }

    /// Packets that were sent on by all paths.
    pub(crate) fn forwarded(&self) -> u64 {
        self.sent().packets
    }

    /// Packets that came from the source that the leg admits, whatever became of them then.
    pub(crate) fn admitted(&self) -> u64 {
        let dropped = ADMITTED.iter().filter_map(|reason| self.dropped.get(*reason as usize));
        dropped.fold(self.forwarded(), |sum, count| sum.saturating_add(*count))
    }

    /// Packets that were dropped, whatever for.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }
}

/// The counters of all legs.
pub(crate) struct Counters {
    traffic: SharedArray<Traffic>,
    user_traffic: SharedArray<UserTraffic>,
    drops: SharedArray<LegDrops>,
    slots: u32,
    cpus: u32,
}

impl Counters {
    /// Counters of `slots` slots on `cpus` CPUs.
    pub(crate) fn new(
        traffic: SharedArray<Traffic>,
        user_traffic: SharedArray<UserTraffic>,
        drops: SharedArray<LegDrops>,
        slots: u32,
        cpus: u32,
    ) -> Self {
        Self { traffic, user_traffic, drops, slots, cpus }
    }

    /// How many CPUs count.
    pub(crate) fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Where a CPU counts for a leg, in arrays that have a stretch for each CPU.
    pub(crate) fn index(&self, cpu: u32, slot: u32) -> u32 {
        traffic_index(cpu, self.slots, slot)
    }

    /// Starts a slot anew, before its leg is published. What the slot counted until now, even after its leg was removed,
    /// goes to slot 0, which is no leg, and so stays in the totals, also of the next process: a packet that was on its way
    /// then is counted late, but it is counted.
    pub(crate) fn zero(&mut self, slot: u32) {
        self.keep(&self.of(slot));
        for cpu in 0..=self.cpus {
            self.traffic.write(self.index(cpu, slot), Traffic::default());
        }
        self.user_traffic.write(slot, UserTraffic::default());
        self.drops.write(slot, LegDrops::default());
    }

    /// The same for a slot that no leg has, after a restart: the next leg there may come late, or never.
    pub(crate) fn settle(&mut self, slot: u32) {
        let counted = self.of(slot);
        if counted.forwarded() > 0 || counted.dropped.iter().any(|count| *count > 0) {
            self.zero(slot);
        }
    }

    /// Adds what a slot counted to slot 0. The kernel half counts orphans there.
    fn keep(&self, counted: &LegCounters) {
        let add = |traffic: &mut Traffic, more: Sent| {
            let mut sum = Sent::from(*traffic);
            sum += more;
            *traffic = sum.into();
        };
        // No CPU writes to the stretch behind the last CPU's.
        let index = self.index(self.cpus, 0);
        let mut xdp = self.traffic.read(index);
        add(&mut xdp, counted.xdp);
        self.traffic.write(index, xdp);
        let mut workers = self.user_traffic.read(0);
        add(&mut workers.af_xdp, counted.af_xdp);
        add(&mut workers.sockets, counted.user);
        self.user_traffic.write(0, workers);
        self.drops.word64(0, offset_of!(LegDrops, bytes)).fetch_add(counted.dropped_bytes, Ordering::Relaxed);
        for (reason, count) in counted.dropped.iter().enumerate().filter(|(_, count)| **count > 0) {
            let offset = offset_of!(LegDrops, packets) + reason * size_of::<u64>();
            self.drops.word64(0, offset).fetch_add(*count, Ordering::Relaxed);
        }
    }

    /// What was counted in a slot.
    pub(crate) fn of(&self, slot: u32) -> LegCounters {
        let (xdp, [af_xdp, user]) = self.sent(slot);
        let drops = self.drops.read(slot);
        LegCounters { xdp, af_xdp, user, dropped_bytes: drops.bytes, dropped: drops.packets }
    }

    /// What was sent on by XDP, and by the workers of this process.
    fn sent(&self, slot: u32) -> (Sent, [Sent; 2]) {
        let mut xdp = Sent::default();
        // The stretch behind the last CPU's is what was counted in maps that these replaced.
        for cpu in 0..=self.cpus {
            xdp += self.traffic.read(self.index(cpu, slot)).into();
        }
        let UserTraffic { af_xdp, sockets } = self.user_traffic.read(slot);
        (xdp, [af_xdp.into(), sockets.into()])
    }

    /// What was counted in the first `used` slots, in all their lives; slot 0 counts for ports that no leg has, and for
    /// lives that are over.
    pub(crate) fn totals(&self, used: u32) -> LegCounters {
        let mut sum = LegCounters::default();
        for slot in 0..used.clamp(1, self.slots) {
            sum.add(&self.of(slot));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: u32 = 2;
    const SLOTS: u32 = 4;

    fn counters() -> Counters {
        let (traffic, workers) = (SharedArray::in_memory((CPUS + 1) * SLOTS), SharedArray::in_memory(SLOTS));
        Counters::new(traffic, workers, SharedArray::in_memory(SLOTS), SLOTS, CPUS)
    }

    #[test]
    fn what_a_slot_counts_after_its_leg_was_removed_stays_in_the_totals() {
        let mut counters = counters();
        let count = |counters: &Counters, slot, packets| {
            let index = traffic_index(1, SLOTS, slot);
            let before = counters.traffic.read(index);
            let after = Traffic { packets: before.packets + packets, bytes: before.bytes + 200 * packets };
            counters.traffic.write(index, after);
        };
        count(&counters, 1, 5);
        // The leg is removed here, and one packet is still on its way.
        count(&counters, 1, 1);
        assert_eq!(counters.totals(2).forwarded(), 6);
        counters.zero(1);
        assert_eq!(counters.of(1).forwarded(), 0);
        count(&counters, 1, 3);
        assert_eq!(counters.totals(2).sent(), Sent { packets: 9, bytes: 1800 });
    }

    #[test]
    fn what_was_counted_outlives_the_process() {
        let mut counters = counters();
        counters.traffic.write(counters.index(1, 3), Traffic { packets: 5, bytes: 500 });
        let mut drops = LegDrops { bytes: 70, ..LegDrops::default() };
        drops.packets[2] = 7;
        counters.drops.write(3, drops);
        // A process of old slots has not used slot 3 yet: nobody looks there.
        assert_eq!(counters.totals(1).forwarded(), 0);
        counters.settle(3);
        counters.settle(2);
        let totals = counters.totals(1);
        assert_eq!((totals.forwarded(), totals.dropped[2], totals.dropped_bytes), (5, 7, 70));
        assert_eq!(counters.of(3).forwarded(), 0);
    }

    #[test]
    fn every_path_counts() {
        let mut counters = counters();
        let traffic = |packets| Traffic { packets, bytes: 10 * packets };
        counters.traffic.write(counters.index(0, 2), traffic(1));
        counters.traffic.write(counters.index(1, 2), traffic(2));
        counters.user_traffic.write(2, UserTraffic { af_xdp: traffic(4), sockets: traffic(8) });
        let leg = counters.of(2);
        assert_eq!((leg.xdp.packets, leg.af_xdp.packets, leg.user.packets), (3, 4, 8));
        assert_eq!(leg.sent(), Sent { packets: 15, bytes: 150 });
        counters.zero(2);
        assert_eq!((counters.of(2).forwarded(), counters.totals(SLOTS).forwarded()), (0, 15));
    }

    #[test]
    fn orphans_are_in_the_totals() {
        let counters = counters();
        let mut orphans = LegDrops::default();
        orphans.packets[0] = 7;
        counters.drops.write(0, orphans);
        assert_eq!(counters.totals(1).dropped[0], 7);
    }
}
