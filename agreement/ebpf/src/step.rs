//! One repeat of the test run.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;
use relay_common::packet::Packet;

use crate::maps;
use crate::shared::digest::digest;
use crate::shared::examine::examine;
use crate::shared::frame::{DIGESTS_PER_RECORD, Frame, LONGEST, SHORTEST};
use crate::shared::mutate::mutate;
use crate::shared::random::Random;

/// Makes the next frame of the batch, examines it and keeps the digest. `None` when something that cannot fail failed.
#[inline(always)]
pub(crate) fn next(ctx: &XdpContext) -> Option<()> {
    // SAFETY: one test run at a time uses these maps; the user side looks when it has ended.
    let (batch, frame, examined) = unsafe {
        (
            &mut *maps::BATCHES.get_ptr_mut(0)?,
            &mut *maps::FRAME.get_ptr_mut(0)?,
            &mut *maps::EXAMINED.get_ptr_mut(0)?,
        )
    };
    let slot = batch.done;
    batch.done += 1;
    batch.failed += 1;

    let mut random = Random::new(batch.seed, batch.first + slot as u64);
    let (from, other) = if batch.verbatim == 1 {
        (0, 0)
    } else {
        (random.below(batch.templates), random.below(batch.templates))
    };
    copy(frame, maps::SEED_FRAMES.get(from)?)?;
    if batch.verbatim != 1 {
        mutate(frame, maps::SEED_FRAMES.get(other)?, &mut random);
    }

    put(ctx, frame)?;
    // SAFETY: the kernel gives the program alone the bytes between `data` and `data_end` while it runs.
    let packet = unsafe { Packet::from_range(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    *examined = examine(&packet);
    take(ctx, frame)?;

    let digests = maps::DIGESTS.get_ptr_mut(slot / DIGESTS_PER_RECORD)?;
    // SAFETY: the map's record has so many digests, and the remainder is below it.
    unsafe { *digests.cast::<u64>().add((slot % DIGESTS_PER_RECORD) as usize) = digest(examined, frame) };
    batch.failed -= 1;
    Some(())
}

/// Makes one frame be as another. A helper, because the compiler would copy by single bytes.
#[inline(always)]
fn copy(to: &mut Frame, from: &Frame) -> Option<()> {
    let (to, from) = (&raw mut *to, &raw const *from);
    // SAFETY: two records of the same size, in two maps.
    let copied = unsafe { bpf_probe_read_kernel(to.cast(), size_of::<Frame>() as u32, from.cast()) };
    (copied == 0).then_some(())
}

/// Makes the packet be the frame.
#[inline(always)]
fn put(ctx: &XdpContext, frame: &mut Frame) -> Option<()> {
    let length = bounded(u64::from(frame.length))?;
    let context = ctx.as_ptr().cast();
    // SAFETY: the context is ours; every pointer into the packet is made after these calls.
    let resized =
        unsafe { bpf_xdp_adjust_tail(context, length as i32 - bpf_xdp_get_buff_len(context) as i32) };
    // SAFETY: `bounded` keeps the length within the record.
    let stored = unsafe { bpf_xdp_store_bytes(context, 0, frame.bytes.as_mut_ptr().cast(), length) };
    (resized == 0 && stored == 0).then_some(())
}

/// Makes the frame be the packet.
#[inline(always)]
fn take(ctx: &XdpContext, frame: &mut Frame) -> Option<()> {
    let context = ctx.as_ptr().cast();
    // SAFETY: the context is ours; the call only reads.
    let length = bounded(unsafe { bpf_xdp_get_buff_len(context) })?;
    frame.length = length;
    // SAFETY: `bounded` keeps the length within the record.
    let loaded = unsafe { bpf_xdp_load_bytes(context, 0, frame.bytes.as_mut_ptr().cast(), length) };
    (loaded == 0).then_some(())
}

/// A length that the verifier, too, sees to be in range: it follows comparisons of 64 bits best.
#[inline(always)]
fn bounded(length: u64) -> Option<u32> {
    (u64::from(SHORTEST)..=u64::from(LONGEST)).contains(&length).then_some(length as u32)
}
