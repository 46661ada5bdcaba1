//! Copies that were not sent, counted at the receivers that they were for.

use aya_ebpf::programs::RawTracePointContext;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use relay_common::fan_out::{BULK, SEATS};
use relay_common::verdict::{LOSSES, Loss};

use crate::maps;

/// One more copy that was not sent to the receiver with this leg.
#[inline(always)]
pub(super) fn charge(receiver: u32, loss: Loss) {
    let Some(losses) = maps::RECEIVER_LOSSES.get_ptr_mut(receiver) else { return };
    let loss = loss as usize;
    if loss >= LOSSES {
        return;
    }
    // SAFETY: an aligned word of a map record, which all writers add to atomically; the index was checked.
    unsafe {
        let counter = (&raw mut (*losses).packets).cast::<u64>().add(loss);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
    }
}

/// The same for all receivers of a block from seat `from` to before seat `to`.
#[inline(never)]
pub(super) fn charge_seats(block: u32, from: u32, to: u32, loss: Loss) {
    let Some(block) = maps::BLOCKS.get_ptr(block) else { return };
    for seat in 0..SEATS as u32 {
        if seat < from || seat >= to {
            continue;
        }
        // SAFETY: a pointer that the map gave stays valid while the program runs; the seat is within the array.
        let receiver =
            unsafe { (&raw const (*block).receivers).cast::<u32>().add(seat as usize).read_volatile() };
        if receiver != 0 {
            charge(receiver, loss);
        }
    }
}

/// Notes whom the next frame of the batch that is being handed to a device is for.
#[inline(always)]
pub(super) fn note(receiver: u32) {
    let Some(bulk) = maps::BULKS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own record; the batch is handed over before anything else can run here.
    unsafe {
        let at = (*bulk).frames as usize;
        if at < BULK {
            (&raw mut (*bulk).receivers).cast::<u32>().add(at).write(receiver);
            (*bulk).frames = at as u32 + 1;
        }
    }
}

/// A batch was handed to a device, `xdp_devmap_xmit(from, to, sent, drops, error)`: those at its end were not taken. Returns how
/// many these are if the batch was of copies.
#[inline(always)]
pub(crate) fn settle(ctx: &RawTracePointContext) -> Option<u64> {
    let bulk = maps::BULKS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own record, as in `note`.
    let frames = unsafe { (*bulk).frames };
    if frames == 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*bulk).frames = 0 };
    let sent: i32 = ctx.arg(2);
    let sent = if sent < 0 { 0 } else { sent as u32 };
    if sent >= frames {
        return Some(0);
    }
    for at in 0..BULK as u32 {
        if at >= sent && at < frames {
            // SAFETY: as above; the index is within the array.
            charge(
                unsafe { (&raw const (*bulk).receivers).cast::<u32>().add(at as usize).read() },
                Loss::Refused,
            );
        }
    }
    Some(u64::from(frames - sent))
}
