//! One repeat of the test run.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;
use relay_common::packet::Packet;

use crate::maps;
use crate::shared::arrange::arrange;
use crate::shared::digest::digest;
use crate::shared::examine::{examine, rebuild};
use crate::shared::frame::{Batch, DIGESTS_PER_RECORD, Frame, ROOM, SHORTEST};
use crate::shared::mutate::mutate;
use crate::shared::random::Random;
use crate::shared::scene::Scene;

/// Makes the next frame of the batch, examines it and keeps the digest. `None` when something that cannot fail failed.
#[inline(always)]
pub(crate) fn next(ctx: &XdpContext) -> Option<()> {
    // SAFETY: one test run at a time uses these maps; the user side looks when it has ended.
    let (batch, frame, scene) = unsafe {
        (
            &mut *maps::BATCHES.get_ptr_mut(0)?,
            &mut *maps::FRAME.get_ptr_mut(0)?,
            &mut *maps::SCENES.get_ptr_mut(0)?,
        )
    };
    let slot = batch.done;
    batch.done += 1;
    batch.failed += 1;

    prepare(batch, batch.first + slot as u64, frame, scene)?;
    let context: *mut xdp_md = ctx.as_ptr().cast();
    put(context, frame)?;
    let moved = run(context, scene);
    take(context, frame)?;
    // The start of the frame goes back to where it was; nothing looks at the bytes any more.
    // SAFETY: the context is ours, and no pointer into the packet is kept.
    if moved != 0 && unsafe { bpf_xdp_adjust_head(context, -moved) } != 0 {
        return None;
    }

    let digests = maps::DIGESTS.get_ptr_mut(slot / DIGESTS_PER_RECORD)?;
    // SAFETY: the map's record has so many digests, and the remainder is below it.
    unsafe { *digests.cast::<u64>().add((slot % DIGESTS_PER_RECORD) as usize) = digest(scene, frame) };
    batch.failed -= 1;
    Some(())
}

/// Makes frame number `number` and its scene.
#[inline(never)]
fn prepare(batch: &Batch, number: u64, frame: &mut Frame, scene: &mut Scene) -> Option<()> {
    if batch.verbatim == 1 {
        copy(frame, maps::SEED_FRAMES.get(0)?)?;
    } else {
        let mut random = Random::new(batch.seed, number);
        let (from, other) = (random.below(batch.templates), random.below(batch.templates));
        copy(frame, maps::SEED_FRAMES.get(from)?)?;
        mutate(frame, maps::SEED_FRAMES.get(other)?, &mut random);
    }
    arrange(scene, &mut Random::of_scene(batch.seed, number));
    Some(())
}

/// Lets the core decide about the packet and rewrite it; returns by how much its start has moved.
#[inline(never)]
fn run(context: *mut xdp_md, scene: &mut Scene) -> i32 {
    let scene = &raw mut *scene;
    // SAFETY: the scene is this run's alone.
    let Some(plan) = (unsafe { examine(&packet(context), scene) }) else { return 0 };
    // SAFETY: the helper moves the start of the frame or refuses; no view of the packet is used afterwards.
    if plan.change != 0 && unsafe { bpf_xdp_adjust_head(context, plan.change) } != 0 {
        return 0;
    }
    // SAFETY: as above.
    unsafe { rebuild(&packet(context), scene, &plan) };
    plan.change
}

/// The bytes of the frame.
#[inline(always)]
fn packet<'a>(context: *mut xdp_md) -> Packet<'a> {
    let (start, end): (*mut u8, *mut u8);
    // Both are declared as 32 bits wide, and hold pointers once the verifier has rewritten the loads. A compiler that is
    // free to choose may move them through half a register, and then they are pointers no more.
    // SAFETY: `struct xdp_md` of linux/bpf.h begins with `data` and `data_end`.
    unsafe {
        asm!(
            "{start} = *(u32 *)({context} + 0)",
            "{end} = *(u32 *)({context} + 4)",
            context = in(reg) context,
            start = out(reg) start,
            end = out(reg) end,
            options(readonly, nostack)
        );
    }
    // SAFETY: the kernel gives the program alone the bytes between `data` and `data_end` while it runs.
    unsafe { Packet::from_range(start, end) }
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
fn put(context: *mut xdp_md, frame: &mut Frame) -> Option<()> {
    let length = bounded(u64::from(frame.length))?;
    // SAFETY: the context is ours; every pointer into the packet is made after these calls.
    let resized =
        unsafe { bpf_xdp_adjust_tail(context, length as i32 - bpf_xdp_get_buff_len(context) as i32) };
    // SAFETY: `bounded` keeps the length within the record.
    let stored = unsafe { bpf_xdp_store_bytes(context, 0, frame.bytes.as_mut_ptr().cast(), length) };
    (resized == 0 && stored == 0).then_some(())
}

/// Makes the frame be the packet.
#[inline(always)]
fn take(context: *mut xdp_md, frame: &mut Frame) -> Option<()> {
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
    (u64::from(SHORTEST)..=ROOM as u64).contains(&length).then_some(length as u32)
}
