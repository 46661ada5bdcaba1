//! Tells a sender that its packets are larger than the way on takes (path MTU discovery): ICMP "fragmentation needed" of
//! RFC 1191 section 4, or ICMPv6 "packet too big" of RFC 4443 section 3.2, made of the packet itself and sent back by the
//! device that it came in by.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use relay_common::frame::too_big::{self, GROWTH_V4, GROWTH_V6, LinkHeader, QUOTED_V4, QUOTED_V6};
use relay_common::limits::EVENT_INTERVAL_NS;

use crate::forward::packet;
use crate::maps;

/// Turns the frame into the answer and returns the action that sends it, at most once a second for each leg. `offset` is
/// where the IP header starts, `mtu` the largest packet of the sender's version of IP. `None`: no answer now; the frame may
/// have changed.
#[inline(never)]
pub(crate) fn answer_v4(ctx: &XdpContext, index: u32, offset: usize, mtu: u32) -> Option<u32> {
    let link = LinkHeader::of(&packet(ctx), offset)?;
    reshape(ctx, index, offset + QUOTED_V4, GROWTH_V4)?;
    link.write_swapped(&packet(ctx))?;
    too_big::write_v4(&packet(ctx), offset, mtu)?;
    Some(back(ctx))
}

/// The same for IPv6.
#[inline(never)]
pub(crate) fn answer_v6(ctx: &XdpContext, index: u32, offset: usize, mtu: u32) -> Option<u32> {
    let link = LinkHeader::of(&packet(ctx), offset)?;
    reshape(ctx, index, offset + QUOTED_V6, GROWTH_V6)?;
    link.write_swapped(&packet(ctx))?;
    too_big::write_v6(&packet(ctx), offset, mtu)?;
    Some(back(ctx))
}

/// The action that sends a frame out of the device that it came in by: that of a frame which is redirected, because the far
/// end of a veth pair that runs no XDP program is not woken for what XDP_TX gives it (`veth_xdp_flush`, Linux 6.18), and the
/// answer would lie there until something else is sent. XDP_TX only for a device that has no slot yet.
#[inline(always)]
fn back(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is the kernel's and valid while the program runs; the verifier rewrites the load.
    let interface = unsafe { (*ctx.ctx).ingress_ifindex };
    // SAFETY: the user half overwrites elements, which are single aligned words.
    match unsafe { maps::DEVICE_SLOTS.get(interface) } {
        Some(slot) => maps::DEVICES.redirect(*slot, u64::from(XDP_DROP)).unwrap_or(XDP_DROP),
        None => XDP_TX,
    }
}

/// Cuts the frame to `kept` bytes and makes room for `growth` in front, if an answer is due.
#[inline(always)]
fn reshape(ctx: &XdpContext, index: u32, kept: usize, growth: usize) -> Option<()> {
    let drops = maps::LEG_DROPS.get_ptr_mut(index)?;
    // SAFETY: takes no argument and only reads the clock.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: an aligned word of a map record. Two CPUs that write at once send two answers.
    let last = unsafe { &mut (*drops).last_answer };
    if *last != 0 && now - *last < EVENT_INTERVAL_NS {
        return None;
    }
    *last = now;
    // Hidden, because the verifier subtracts pointers only as a whole.
    let length = core::hint::black_box(packet(ctx).length());
    let surplus = kept as i32 - length as i32;
    // SAFETY: the helpers move an end of the frame or refuse; no view of the packet is used afterwards.
    let failed = unsafe {
        bpf_xdp_adjust_tail(ctx.ctx, surplus) != 0 || bpf_xdp_adjust_head(ctx.ctx, -(growth as i32)) != 0
    };
    if failed { None } else { Some(()) }
}
