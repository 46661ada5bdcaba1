//! How the decision core reaches the maps.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use relay_common::address::Ipv6;
use relay_common::decide::{Plane, Subject};
use relay_common::leg::{Addresses6, Admission, Leg, LegHint, LegKey, traffic_index};
use relay_common::limits::BUCKETS_PER_RECORD;
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};

use crate::{maps, notify};

/// The maps of this program.
pub(crate) struct Maps;

/// The CPU that we run on.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: takes no argument and only names the CPU.
    unsafe { bpf_get_smp_processor_id() }
}

// SAFETY: what a map lookup returns is aligned, and valid while the program runs; `Maps` lives no longer.
unsafe impl Plane for Maps {
    #[inline(always)]
    fn guess(&self, key: LegKey) -> u32 {
        maps::LEG_HINTS.get(LegHint::place(key.address())).map_or(0, |hint| hint.guess(key))
    }

    #[inline(always)]
    fn bucket(&self, key: LegKey) -> Option<u32> {
        let bucket = key.bucket(maps::bucket_mask());
        let record = maps::LEG_BUCKETS.get(bucket / BUCKETS_PER_RECORD)?;
        record.get((bucket % BUCKETS_PER_RECORD) as usize).copied()
    }

    #[inline(always)]
    fn leg(&self, index: u32) -> Option<*mut Leg> {
        maps::LEGS.get_ptr_mut(index)
    }

    #[inline(always)]
    fn admission(&self, index: u32) -> Option<*const Admission> {
        maps::ADMISSIONS.get_ptr(index)
    }

    #[inline(always)]
    fn addresses6(&self, index: u32) -> Option<*mut Addresses6> {
        maps::ADDRESSES6.get_ptr_mut(index)
    }

    #[inline(always)]
    fn next_hop(&self, index: u32) -> Option<*const NextHop> {
        maps::NEXT_HOPS.get_ptr(index)
    }

    #[inline(always)]
    fn police(&self, index: u32) -> Option<*mut Police> {
        maps::POLICE.get_ptr_mut(index)
    }

    #[inline(always)]
    fn quality(&self, index: u32) -> Option<*mut Quality> {
        maps::QUALITY.get_ptr_mut(traffic_index(cpu(), maps::leg_slots(), index))
    }

    #[inline(always)]
    fn retag(&self, index: u32) -> Option<*mut Retag> {
        maps::RETAGS.get_ptr_mut(index)
    }

    #[inline(always)]
    fn payload_map(&self, index: u32) -> Option<*const PayloadMap> {
        maps::PAYLOAD_MAPS.get_ptr(index)
    }

    #[inline(always)]
    fn is_local(&self, address: &Ipv6) -> bool {
        // SAFETY: only whether the element exists is looked at.
        unsafe { maps::LOCAL_ADDRESSES.get(address) }.is_some()
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: takes no argument and only reads the clock.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn coarse_now(&self) -> u64 {
        // SAFETY: as in `now`.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    unsafe fn exchange(&self, word: *mut u64, old: u64, new: u64) -> Result<(), u64> {
        // The target has the instruction, but `core` does not offer it there as `AtomicU64::compare_exchange`.
        // SAFETY: an aligned word of a map record by the caller's promise, and every writer treats it as an atomic.
        let (found, exchanged) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::Relaxed }, { AtomicOrdering::Relaxed }>(word, old, new)
        };
        if exchanged { Ok(()) } else { Err(found) }
    }

    #[inline(always)]
    fn notify(&self, kind: u32, leg: u32, subject: &Subject) {
        notify::send(kind, leg, subject);
    }
}
