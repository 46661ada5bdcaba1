//! What the kernel counts for each leg, summed over its CPUs.

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuValues};
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
    drops: PerCpuArray<MapData, LegDrops>,
    slots: u32,
    cpus: u32,
}

impl Counters {
    /// Counters of `slots` slots on `cpus` CPUs.
    pub(crate) fn new(
        traffic: SharedArray<Traffic>,
        drops: PerCpuArray<MapData, LegDrops>,
        slots: u32,
        cpus: u32,
    ) -> Self {
        Self { traffic, drops, slots, cpus }
    }

    /// Starts a slot anew, before its leg is published.
    pub(crate) fn zero(&mut self, slot: u32) -> Result<(), MapError> {
        for cpu in 0..self.cpus {
            self.traffic.write(traffic_index(cpu, self.slots, slot), Traffic::default());
        }
        let zeros = PerCpuValues::try_from(vec![LegDrops::default(); self.cpus as usize])
            .map_err(|io_error| aya::sys::SyscallError { call: "bpf_map_update_elem", io_error })?;
        self.drops.set(slot, zeros, 0)
    }

    /// What was counted in a slot.
    pub(crate) fn of(&self, slot: u32) -> LegCounters {
        let mut sum = LegCounters::default();
        for cpu in 0..self.cpus {
            let traffic = self.traffic.read(traffic_index(cpu, self.slots, slot));
            sum.forwarded += traffic.packets;
            sum.forwarded_bytes += traffic.bytes;
        }
        // The slot is in range, so the only failure left is a kernel out of memory; the next reading will do.
        let Ok(values) = self.drops.get(&slot, 0) else { return sum };
        for drops in values.iter() {
            sum.dropped_bytes += drops.bytes;
            for (total, dropped) in sum.dropped.iter_mut().zip(drops.packets) {
                *total += dropped;
            }
        }
        sum
    }
}
