//! The generator: turns a recycled frame into the next flow's packet and sends it into the first device.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::maps;
use crate::records::{Load, Turn};
use crate::shape::{Ipv4, Shape};

/// The next packet, at once.
#[inline(always)]
pub(crate) fn at_once<S: Shape>(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next::<S>(ctx) else { return XDP_ABORTED };
    write(load, turn, frame);
    depart()
}

/// The next packet if it is due, with the time of its departure.
#[inline(always)]
pub(crate) fn stamped(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next::<Ipv4>(ctx) else { return XDP_ABORTED };
    // SAFETY: only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    if now < turn.due {
        return XDP_DROP;
    }
    turn.due = now + load.interval;
    frame.set_stamp(now as u32);
    write(load, turn, frame);
    depart()
}

/// The same packet as ever, handed to the program that is measured.
#[inline(always)]
pub(crate) fn again<S: Shape>(ctx: &XdpContext) -> u32 {
    let Some((load, _, frame)) = next::<S>(ctx) else { return XDP_ABORTED };
    frame.write(&load.headers, 0);
    // SAFETY: the context is ours until the program ends; an empty slot falls through.
    unsafe { maps::MEASURED.tail_call(ctx, 0) };
    XDP_ABORTED
}

/// What to send, where this processor stands, and the frame to use.
#[inline(always)]
pub(crate) fn next<S: Shape>(ctx: &XdpContext) -> Option<(&'static Load, &'static mut Turn, Frame<S>)> {
    let load = maps::LOAD.get(0)?;
    // SAFETY: this processor's own record; the program is not preempted by itself on one processor.
    let turn = unsafe { &mut *maps::TURN.get_ptr_mut(0)? };
    Some((load, turn, Frame::of(ctx)?))
}

/// Writes the packet of the next flow, and goes on to the one after it.
#[inline(always)]
pub(crate) fn write<S: Shape>(load: &Load, turn: &mut Turn, frame: Frame<S>) {
    frame.write(&load.headers, turn.flow);
    turn.sent += 1;
    let next = turn.flow + load.step;
    turn.flow = if next >= load.flows { next - load.flows } else { next };
}

/// Into the first device.
#[inline(always)]
pub(crate) fn depart() -> u32 {
    maps::DEVICES.redirect(0, 0).unwrap_or(XDP_ABORTED)
}
