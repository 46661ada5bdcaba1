//! The generator: turns a recycled frame into the next flow's packet and sends it into the first device.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::maps;
use crate::records::{Load, Turn};
use crate::shape::{Ipv4, Shape};

/// Packets of one flow that follow each other where flows send in bursts, as cameras do.
const BURST: u64 = 32;

/// The next packet, at once.
#[inline(always)]
pub(crate) fn at_once<S: Shape>(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next::<S>(ctx) else { return XDP_ABORTED };
    write(load, turn, frame);
    depart()
}

/// The next packet of a flow, or the first one of the next flow's burst.
#[inline(always)]
pub(crate) fn in_bursts(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = next::<Ipv4>(ctx) else { return XDP_ABORTED };
    let flow = turn.flow;
    write(load, turn, frame);
    if turn.sent % BURST != 0 {
        turn.flow = flow;
    }
    depart()
}

/// The next packet if it is due, with the time of its departure.
#[inline(always)]
pub(crate) fn stamped(ctx: &XdpContext) -> u32 {
    paced(ctx, |_, now| now as u32)
}

/// The next packet if it is due, with its number, which starts at 0.
#[inline(always)]
pub(crate) fn numbered(ctx: &XdpContext) -> u32 {
    paced(ctx, |turn, _| turn.sent as u32)
}

/// The next packet if it is due, with the stamp that is made of where this processor stands, and of the time.
#[inline(always)]
fn paced(ctx: &XdpContext, stamp: impl Fn(&Turn, u64) -> u32) -> u32 {
    let Some((load, turn, frame)) = next::<Ipv4>(ctx) else { return XDP_ABORTED };
    // SAFETY: only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    if now < turn.due {
        return XDP_DROP;
    }
    turn.due = now + load.interval;
    frame.set_stamp(stamp(turn, now));
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
