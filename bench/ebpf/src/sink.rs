//! The sink: counts what arrives, checks every packet's headers, and ends its journey.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::maps;
use crate::records::{Arrivals, Headers, SAMPLES_PER_CPU};
use crate::shape::{Ipv4, Shape};

/// Counts.
#[inline(always)]
pub(crate) fn count<S: Shape>(ctx: &XdpContext) -> u32 {
    match arrival::<S>(ctx) {
        Ok(_) => XDP_DROP,
        Err(action) => action,
    }
}

/// Counts, and keeps how long the packet was on its way.
#[inline(always)]
pub(crate) fn time(ctx: &XdpContext) -> u32 {
    keep_delay(arrival::<Ipv4>(ctx))
}

/// The same for what is addressed as expected.
#[inline(always)]
pub(crate) fn time_addressed(ctx: &XdpContext) -> u32 {
    keep_delay(checked::<Ipv4>(ctx, Frame::is_for))
}

#[inline(always)]
fn keep_delay(arrival: Result<(Frame<Ipv4>, &'static mut Arrivals), u32>) -> u32 {
    let (frame, arrivals) = match arrival {
        Ok(arrived) => arrived,
        Err(action) => return action,
    };
    let at = arrivals.samples as u32;
    arrivals.samples += 1;
    if at < SAMPLES_PER_CPU {
        // SAFETY: both only read: the clock, and the number of this processor.
        let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
        if let Some(delay) = maps::DELAYS.get_ptr_mut(cpu * SAMPLES_PER_CPU + at) {
            // SAFETY: a slot that only this processor writes.
            unsafe { *delay = (now as u32).wrapping_sub(frame.stamp()) };
        }
    }
    XDP_DROP
}

/// Counts, and notes when the first packet arrived.
#[inline(always)]
pub(crate) fn note_first(ctx: &XdpContext) -> u32 {
    let (_, arrivals) = match arrival::<Ipv4>(ctx) {
        Ok(arrived) => arrived,
        Err(action) => return action,
    };
    if arrivals.first == 0 {
        // SAFETY: only reads the clock.
        arrivals.first = unsafe { bpf_ktime_get_ns() };
    }
    XDP_DROP
}

/// Counts, and follows the numbers and the times of what one processor sent.
#[inline(always)]
pub(crate) fn follow(ctx: &XdpContext) -> u32 {
    let frame = match arrival::<Ipv4>(ctx) {
        Ok((frame, _)) => frame,
        Err(action) => return action,
    };
    let Some(arrivals) = maps::FOLLOWED.get_ptr_mut(0) else { return XDP_ABORTED };
    // SAFETY: the device has one queue, which one processor at a time works off.
    let arrivals = unsafe { &mut *arrivals };
    // SAFETY: only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    if arrivals.first == 0 {
        arrivals.first = now;
    } else if now - arrivals.last > arrivals.longest_silence {
        arrivals.longest_silence = now - arrivals.last;
    }
    arrivals.last = now;
    arrivals.follow(u64::from(frame.stamp()));
    XDP_DROP
}

/// Counts what is addressed as expected, and follows the numbers of each of the first flows.
#[inline(always)]
pub(crate) fn follow_each(ctx: &XdpContext) -> u32 {
    let frame = match checked::<Ipv4>(ctx, Frame::is_for) {
        Ok((frame, _)) => frame,
        Err(action) => return action,
    };
    let Some(expected) = maps::EXPECTED.get(0) else { return XDP_ABORTED };
    if let Some(arrivals) = maps::FOLLOWED.get_ptr_mut(frame.flow(expected)) {
        // SAFETY: what goes to one flow comes by one queue, which one processor at a time works off.
        unsafe { (*arrivals).follow(u64::from(frame.stamp())) };
    }
    XDP_DROP
}

/// Counts what was sent by a network stack, which has a say in the headers.
#[inline(always)]
pub(crate) fn count_addressed(ctx: &XdpContext) -> u32 {
    match checked::<Ipv4>(ctx, Frame::is_for) {
        Ok(_) => XDP_DROP,
        Err(action) => action,
    }
}

/// The same, if all of it comes from one port.
#[inline(always)]
pub(crate) fn count_from_one(ctx: &XdpContext) -> u32 {
    match checked::<Ipv4>(ctx, Frame::is_for_from_one) {
        Ok(_) => XDP_DROP,
        Err(action) => action,
    }
}

/// Counts one frame; `Err` holds the action for one that is not a test packet, or not a right one.
#[inline(always)]
fn arrival<S: Shape>(ctx: &XdpContext) -> Result<(Frame<S>, &'static mut Arrivals), u32> {
    checked(ctx, Frame::is)
}

/// As [`arrival`], and what is right is told.
#[inline(always)]
fn checked<S: Shape>(
    ctx: &XdpContext,
    is_right: impl Fn(Frame<S>, &Headers) -> bool,
) -> Result<(Frame<S>, &'static mut Arrivals), u32> {
    let frame = Frame::<S>::of(ctx).ok_or(XDP_PASS)?;
    if !frame.is_media() {
        return Err(XDP_PASS);
    }
    let expected = maps::EXPECTED.get(0).ok_or(XDP_ABORTED)?;
    let arrivals = maps::ARRIVALS.get_ptr_mut(0).ok_or(XDP_ABORTED)?;
    // SAFETY: this processor's own record; the program is not preempted by itself on one processor.
    let arrivals = unsafe { &mut *arrivals };
    if !is_right(frame, expected) {
        arrivals.wrong += 1;
        return Err(XDP_DROP);
    }
    arrivals.right += 1;
    Ok((frame, arrivals))
}
