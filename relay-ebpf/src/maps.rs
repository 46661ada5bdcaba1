//! The maps that both halves share. Capacities are set by the user half when it loads the program.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, DevMap, PerCpuArray, RingBuf},
};
use relay_common::leg::{Leg, LegCounters};
use relay_common::limits::{
    DEVICES as MAX_DEVICES, EVENT_RING_BYTES, LEG_BUCKETS as MAX_LEG_BUCKETS, NEXT_HOPS as MAX_NEXT_HOPS,
};
use relay_common::next_hop::NextHop;
use relay_common::verdict::PASSES;

/// Index of the first leg of each bucket, 0 for none.
#[map]
pub(crate) static LEG_BUCKETS: Array<u32> = Array::with_max_entries(MAX_LEG_BUCKETS, BPF_F_MMAPABLE);

/// The legs; index 0 is never used.
#[map]
pub(crate) static LEGS: Array<Leg> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counters of the legs, by the same index.
#[map]
pub(crate) static LEG_COUNTERS: PerCpuArray<LegCounters> = PerCpuArray::with_max_entries(1, 0);

/// Next hops; index 0 is never used.
#[map]
pub(crate) static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(MAX_NEXT_HOPS, BPF_F_MMAPABLE);

/// Egress devices, by the slot that next hops name.
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(MAX_DEVICES, 0);

/// Packets that went to the kernel, by reason.
#[map]
pub(crate) static PASSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(PASSES as u32, 0);

/// What the user half should know of.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
