//! The places of a queue: given to packets that are to wait there, and left by those that come out.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::bpf_ktime_get_ns;
use relay_common::fan_out::{Queue, STILL};

use crate::maps;

/// A place for a packet that arrives, in the queue of a CPU. `None`: more wait already than there is room for.
#[inline(always)]
pub(super) fn ask(cpu: u32) -> Option<u64> {
    let queue = maps::FAN_QUEUES.get_ptr_mut(cpu)?;
    let (entered, left) = words(queue);
    if Queue::is_full(entered, left) && !is_empty_after_all(queue) { None } else { Some(next(queue)) }
}

/// A place for a packet that has been in the queue before: room is kept for it.
#[inline(always)]
pub(super) fn take(cpu: u32) -> Option<u64> {
    maps::FAN_QUEUES.get_ptr_mut(cpu).map(next)
}

/// The packet in this place came out; runs on the CPU that the queue belongs to.
#[inline(always)]
pub(super) fn leave(cpu: u32, place: u64) {
    let Some(queue) = maps::FAN_QUEUES.get_ptr_mut(cpu) else { return };
    let (_, left) = words(queue);
    // CPUs that receive at the same time may put packets in otherwise than they gave them places.
    if place > left {
        // SAFETY: as in `words`.
        unsafe { (&raw mut (*queue).left).write_volatile(place) };
    }
}

#[inline(always)]
fn next(queue: *mut Queue) -> u64 {
    // Not `Relaxed`: of that the compiler makes the instruction that adds and tells nothing, and takes 1 for what it told.
    // SAFETY: as in `words`; every writer adds atomically.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::AcqRel }>(&raw mut (*queue).entered, 1) + 1 }
}

/// Whether a queue that seems full is not: what was to wait there never came, and so nothing comes out that would tell. The
/// kernel may lack memory for frames of a device that lends its own, to AF_XDP for one.
#[inline(never)]
fn is_empty_after_all(queue: *mut Queue) -> bool {
    // SAFETY: takes no argument and only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let (entered, left) = words(queue);
    // SAFETY: as in `words`. Should two CPUs write at the same time, the later time counts: that is safe.
    unsafe {
        let since = (&raw const (*queue).still_since).read_volatile();
        if since == 0 || (&raw const (*queue).left_then).read_volatile() != left {
            (&raw mut (*queue).left_then).write_volatile(left);
            (&raw mut (*queue).still_since).write_volatile(now);
            return false;
        }
        if now.saturating_sub(since) < STILL {
            return false;
        }
        (&raw mut (*queue).left).write_volatile(entered);
    }
    true
}

/// The last place that was given, and the last one that was left.
#[inline(always)]
fn words(queue: *const Queue) -> (u64, u64) {
    // SAFETY: a pointer that the map gave stays valid while the program runs; its words are aligned and change as a whole.
    unsafe { ((&raw const (*queue).entered).read_volatile(), (&raw const (*queue).left).read_volatile()) }
}
