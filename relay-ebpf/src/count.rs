//! Counters of packets that are not forwarded. The forwarded ones are counted where they are rewritten.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use relay_common::verdict::{DROPS, Drop, Pass};

use crate::maps;

/// One more packet for the kernel's network stack.
#[inline(always)]
pub(crate) fn passed(reason: Pass) {
    if let Some(counter) = maps::PASSED.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own counter; the program is not preempted by itself on one CPU.
        unsafe { *counter += 1 };
    }
}

/// One more packet that was addressed to a leg and dropped.
#[inline(always)]
pub(crate) fn dropped(leg: u32, reason: Drop, bytes: usize) {
    let Some(drops) = maps::LEG_DROPS.get_ptr_mut(leg) else { return };
    // The compiler knows that there are no more reasons and would leave out the check; the verifier wants to see it.
    let reason = core::hint::black_box(reason as u32) as usize;
    if reason >= DROPS {
        return;
    }
    // SAFETY: aligned words of a map record, which all writers add to atomically; the index was checked.
    unsafe {
        let counter = (&raw mut (*drops).packets).cast::<u64>().add(reason);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*drops).bytes, bytes as u64);
    }
}
