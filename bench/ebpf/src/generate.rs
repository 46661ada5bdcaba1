//! The generator: turns a recycled frame into the next flow's packet and sends it into the first device.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::maps;
use crate::records::{Load, Turn};

/// The next packet, at once.
#[inline(always)]
pub(crate) fn at_once(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next(ctx) else { return XDP_ABORTED };
    send(load, turn, frame)
}

/// The next packet if it is due, with the time of its departure.
#[inline(always)]
pub(crate) fn stamped(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next(ctx) else { return XDP_ABORTED };
    // SAFETY: only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    if now < turn.due {
        return XDP_DROP;
    }
    turn.due = now + load.interval;
    frame.set_stamp(now as u32);
    send(load, turn, frame)
}

/// The same packet as ever, handed to the program that is measured.
#[inline(always)]
pub(crate) fn again(ctx: &XdpContext) -> u32 {
    let Some((load, _, frame)) = next(ctx) else { return XDP_ABORTED };
    frame.write(&load.headers, 0);
    // SAFETY: the context is ours until the program ends; an empty slot falls through.
    unsafe { maps::MEASURED.tail_call(ctx, 0) };
    XDP_ABORTED
}

#[inline(always)]
fn next(ctx: &XdpContext) -> Option<(&'static Load, &'static mut Turn, Frame)> {
    let load = maps::LOAD.get(0)?;
    // SAFETY: this processor's own record; the program is not preempted by itself on one processor.
    let turn = unsafe { &mut *maps::TURN.get_ptr_mut(0)? };
    Some((load, turn, Frame::of(ctx)?))
}

#[inline(always)]
fn send(load: &Load, turn: &mut Turn, frame: Frame) -> u32 {
    frame.write(&load.headers, turn.flow);
    turn.sent += 1;
    let next = turn.flow + load.step;
    turn.flow = if next >= load.flows { next - load.flows } else { next };
    maps::DEVICES.redirect(0, 0).unwrap_or(XDP_ABORTED)
}
