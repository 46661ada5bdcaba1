//! Packets that user space must see: redirected to the AF_XDP socket of the queue that they came in by.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::helpers::bpf_xdp_adjust_meta;
use aya_ebpf::programs::XdpContext;
use relay_common::punt::{Metadata, socket_index};
use relay_common::verdict::Pass;

use crate::maps;

/// Sends the frame as it is to user space, with [`Metadata`] in front of it, and returns the action that does so.
/// `leg` is the slot of the leg that the frame is addressed to, `reason` a constant of `relay_common::punt`.
///
/// Every view of the packet that was made before is void afterwards.
///
/// Kept out of the fast path's registers: what is punted costs a microsecond in user space anyway.
///
/// # Errors
/// No socket takes packets of this queue, or the driver has no room for metadata: the kernel path has the frame,
/// unchanged.
#[inline(never)]
pub(crate) fn punt(ctx: &XdpContext, leg: u32, generation: u32, reason: u32) -> Result<u32, Pass> {
    // SAFETY: the context is the kernel's and valid while the program runs; the verifier rewrites both loads.
    let (interface, queue) = unsafe { ((*ctx.ctx).ingress_ifindex, (*ctx.ctx).rx_queue_index) };
    // SAFETY: the user half overwrites elements, which are single aligned words, and never reuses one that it deleted
    // for another device.
    let device = *unsafe { maps::DEVICE_SLOTS.get(interface) }.ok_or(Pass::NoWorker)?;
    let index = socket_index(device, queue).ok_or(Pass::NoWorker)?;
    // Only names the socket: the frame is taken from the program when it has ended, with what is written below.
    let action = maps::PUNTS.redirect(index, u64::from(XDP_PASS)).map_err(|_| Pass::NoWorker)?;
    write(ctx, Metadata { leg, generation, reason, device }).ok_or(Pass::NoWorker)?;
    Ok(action)
}

/// Puts the metadata right in front of the frame, whatever is there: recycled frames may carry metadata already, and
/// a driver that supports none says so by a start of metadata behind that of the frame.
#[inline(always)]
fn write(ctx: &XdpContext, metadata: Metadata) -> Option<()> {
    let present = ctx.data() as i64 - ctx.metadata() as i64;
    let grow = present - Metadata::LENGTH as i64;
    // SAFETY: the helper moves the start of the metadata or refuses; no view of the packet is used afterwards.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, grow as i32) } != 0 {
        return None;
    }
    let start = ctx.metadata();
    if start + Metadata::LENGTH > ctx.data() {
        return None;
    }
    // SAFETY: the bounds were checked just now, and the kernel aligns metadata to four bytes.
    unsafe { (start as *mut Metadata).write(metadata) };
    Some(())
}
