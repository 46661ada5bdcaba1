//! The replay: the next of many frames, of any length, in the place of what a program made of the last one.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;

use crate::maps;
use crate::records::LONGEST;

/// The next frame, handed to the program that is measured.
#[inline(always)]
pub(crate) fn next(ctx: &XdpContext) -> u32 {
    if prepare(ctx.as_ptr().cast()).is_some() {
        // SAFETY: the context is ours until the program ends; an empty slot falls through.
        unsafe { maps::MEASURED.tail_call(ctx, 0) };
    }
    XDP_ABORTED
}

/// Makes the packet be the next frame.
#[inline(always)]
fn prepare(context: *mut xdp_md) -> Option<()> {
    // SAFETY: one test run at a time uses the map.
    let replay = unsafe { &mut *maps::REPLAY.get_ptr_mut(0)? };
    let frame = maps::REPLAYED.get_ptr_mut(replay.next)?;
    // SAFETY: the map's own record.
    let length = unsafe { (*frame).length };
    if length == 0 || length > LONGEST {
        return None;
    }
    // A program moves the start of a packet, and leaves its end where it is.
    // SAFETY: the context is ours; the call only reads.
    let moved = unsafe { bpf_xdp_get_buff_len(context) } as i32 - replay.length as i32;
    // SAFETY: the helper moves the start of the frame or refuses; no view of the packet is made here.
    if moved != 0 && unsafe { bpf_xdp_adjust_head(context, moved) } != 0 {
        return None;
    }
    let longer = length as i32 - replay.length as i32;
    // SAFETY: as above, of its end.
    if longer != 0 && unsafe { bpf_xdp_adjust_tail(context, longer) } != 0 {
        return None;
    }
    // SAFETY: the record has so many bytes: see above.
    let stored = unsafe { bpf_xdp_store_bytes(context, 0, (&raw mut (*frame).bytes).cast(), length) };
    replay.length = length;
    replay.next = if replay.next + 1 >= replay.count { 0 } else { replay.next + 1 };
    (stored == 0).then_some(())
}
