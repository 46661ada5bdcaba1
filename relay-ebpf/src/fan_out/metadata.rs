//! Reads and writes what stands in front of a frame.

use aya_ebpf::helpers::bpf_xdp_adjust_meta;
use aya_ebpf::programs::XdpContext;
use relay_common::fan_out::Metadata;

/// Puts metadata in front of a frame, whatever is there: recycled frames may carry some already. `None`: the driver has no
/// room for it. Every view of the packet that was made before is void afterwards.
#[inline(always)]
pub(super) fn put(ctx: &XdpContext, metadata: Metadata) -> Option<()> {
    let present = ctx.data() as i64 - ctx.metadata() as i64;
    let grow = present - Metadata::LENGTH as i64;
    // SAFETY: the helper moves the start of the metadata or refuses; no view of the packet is used afterwards.
    if grow != 0 && unsafe { bpf_xdp_adjust_meta(ctx.ctx, grow as i32) } != 0 {
        return None;
    }
    overwrite(ctx, metadata)
}

/// Replaces metadata that is there.
#[inline(always)]
pub(super) fn overwrite(ctx: &XdpContext, metadata: Metadata) -> Option<()> {
    let start = at(ctx)?;
    // SAFETY: the bounds were checked; the kernel aligns metadata to four bytes, and the machines that run XDP natively
    // store at any alignment.
    unsafe { start.write(metadata) };
    Some(())
}

/// What stands in front of a frame. `None`: it is none of ours.
#[inline(always)]
pub(super) fn read(ctx: &XdpContext) -> Option<Metadata> {
    let start = at(ctx)?;
    // SAFETY: as in `overwrite`.
    Some(unsafe { start.read() })
}

#[inline(always)]
fn at(ctx: &XdpContext) -> Option<*mut Metadata> {
    let start = ctx.metadata();
    if start + Metadata::LENGTH > ctx.data() { None } else { Some(start as *mut Metadata) }
}
