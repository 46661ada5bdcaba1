//! Copies packets of chosen legs into the ring that `culvert tap` reads. Whoever calls this has looked at the leg's
//! route first: an untapped packet pays nothing.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use relay_common::tap::{Direction, LONGEST, SHORT, TapHeader, TapRecord, tap_key};

use crate::maps;

/// Copies the frame as it is now: before it is rewritten for [`Direction::In`], after for the others. `leg` is the slot
/// of the leg that it arrived for, or of the receiver with [`Direction::Copied`]. A full ring loses the copy, which is counted; the packet itself goes on.
///
/// Kept out of the fast path's registers: few legs are tapped.
#[inline(never)]
pub(crate) fn copy(ctx: &XdpContext, leg: u32, direction: Direction) {
    let Some(tapped) = maps::TAPPED.get_ptr_mut(tap_key(leg, direction)) else { return };
    let Some(admission) = maps::ADMISSIONS.get(leg) else { return };
    let length = ctx.data_end() - ctx.data();
    let header = TapHeader {
        // SAFETY: takes no argument and only reads the clock.
        time: unsafe { bpf_ktime_get_ns() },
        leg,
        generation: admission.generation,
        direction: direction as u32,
        length: length as u32,
        captured: 0,
        // SAFETY: the kernel gives the program a valid context.
        interface: unsafe { (*ctx.ctx).ingress_ifindex },
    };
    let copied = if length <= SHORT {
        record::<SHORT>(ctx, header, length)
    } else {
        record::<LONGEST>(ctx, header, length)
    };
    // SAFETY: a pointer that the map gave stays valid while the program runs; all CPUs add to these aligned words
    // atomically.
    unsafe {
        let counter = if copied { &raw mut (*tapped).copied } else { &raw mut (*tapped).lost };
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
    }
}

/// Writes one record with room for `N` bytes; whether the ring had place for it.
#[inline(always)]
fn record<const N: usize>(ctx: &XdpContext, header: TapHeader, length: usize) -> bool {
    let Some(mut entry) = maps::TAPS.reserve::<TapRecord<N>>(0) else { return false };
    let record = entry.as_mut_ptr();
    // The verifier wants to see both bounds on the very number that the helper is called with.
    let captured = core::hint::black_box((if length < N { length } else { N }) as u32);
    if captured == 0 || captured > N as u32 {
        entry.discard(0);
        return false;
    }
    // SAFETY: the entry has room for the record; the helper writes `captured` bytes, which is at most N.
    let failed = unsafe {
        (&raw mut (*record).header).write(TapHeader { captured, ..header });
        bpf_xdp_load_bytes(ctx.ctx, 0, (&raw mut (*record).bytes).cast(), captured)
    };
    if failed != 0 {
        entry.discard(0);
        return false;
    }
    entry.submit(0);
    true
}
