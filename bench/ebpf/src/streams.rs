//! Streams that are followed one by one: every packet carries its stream's number, its own number and the time of its
//! departure, and the sink compares all of it. One record for each stream on either side, so that a subject may choose its
//! own ports.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::generate::depart;
use crate::maps;
use crate::records::{Arrivals, ArrivingStream, SAMPLES_PER_CPU, SLOTS_PER_CPU, StreamLoad, Turn};
use crate::shape::{FollowedIpv4, Shape};

const IP: usize = FollowedIpv4::IP;
const UDP: usize = FollowedIpv4::UDP;
const RTP: usize = FollowedIpv4::RTP;
const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
/// Identification 0, and "do not fragment".
const DO_NOT_FRAGMENT: u32 = 0x4000_u32.to_be();
/// RTP version 2, payload type 96.
const RTP_START: u16 = 0x8060_u16.to_be();
/// Packets are shorter than this, a power of two: so the verifier knows how far into a frame the last word can be.
const LONGEST: u32 = 2048;
/// A sender that is later than this, 50 us in 256ths of a nanosecond, does not make up for it.
const LATEST: u64 = 50_000 << 8;

/// The next stream's packet, if it is due. Without an interval the clock is not looked at, and the packet has no time.
#[inline(always)]
pub(crate) fn send_steadily(ctx: &XdpContext) -> u32 {
    let Some((load, turn)) = standing() else { return XDP_ABORTED };
    let mut now = 0;
    if load.interval > 0 {
        // SAFETY: only reads the clock.
        now = unsafe { bpf_ktime_get_ns() };
        // In 256ths of a nanosecond, so that high rates are met exactly.
        let fine = now << 8;
        if fine < turn.due {
            return XDP_DROP;
        }
        let due = turn.due + load.interval;
        turn.due = if due + LATEST < fine { fine } else { due };
    }
    let stream = turn.flow;
    let next = stream + load.step;
    turn.flow = if next >= load.streams { next - load.streams } else { next };
    send(ctx, load, turn, stream, now)
}

/// The packet of the next slot, if it is due. The timetable begins anew when it is through.
#[inline(always)]
pub(crate) fn send_by_timetable(ctx: &XdpContext) -> u32 {
    let Some((load, turn)) = standing() else { return XDP_ABORTED };
    // SAFETY: both only read: the clock, and the number of this processor.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    if turn.due < load.start || turn.due == 0 {
        turn.due = if load.start > 0 { load.start } else { now };
        turn.flow = 0;
    }
    let Some(slots) = maps::SLOTS.get(0) else { return XDP_ABORTED };
    let count = if cpu == 0 { slots.count[0] } else { slots.count[1] };
    let Some(slot) = maps::TIMETABLE.get(cpu * SLOTS_PER_CPU + turn.flow) else { return XDP_ABORTED };
    let at = turn.due + ((load.period * u64::from(slot.at >> 8)) >> 24);
    if now < at || count == 0 {
        return XDP_DROP;
    }
    turn.flow += 1;
    if turn.flow >= count {
        turn.flow = 0;
        turn.due += load.period;
    }
    send(ctx, load, turn, slot.stream, now)
}

/// Checks one packet, follows its number, and keeps its delay if it is chosen.
#[inline(always)]
pub(crate) fn check(ctx: &XdpContext) -> u32 {
    let Some(frame) = Frame::<FollowedIpv4>::of(ctx) else { return XDP_PASS };
    if !frame.is_media() {
        return XDP_PASS;
    }
    let (Some(load), Some(arrivals)) = (maps::STREAM_LOAD.get(0), maps::ARRIVALS.get_ptr_mut(0)) else {
        return XDP_ABORTED;
    };
    // SAFETY: this processor's own record; the program is not preempted by itself on one processor.
    let arrivals = unsafe { &mut *arrivals };
    let number = u32::from_be(frame.load(RTP + 8));
    let Some(stream) = maps::ARRIVING_STREAMS.get_ptr_mut(number) else {
        arrivals.wrong += 1;
        return XDP_DROP;
    };
    // SAFETY: the packets of a stream come by one queue, which one processor at a time works off.
    let stream = unsafe { &mut *stream };
    if !is_right(ctx, frame, load, stream) {
        arrivals.wrong += 1;
        return XDP_DROP;
    }
    follow(stream, frame.load(FollowedIpv4::NUMBER));
    if arrivals.right & load.sampling == 0 {
        keep_delay(arrivals, frame.load(FollowedIpv4::TIME));
    }
    arrivals.right += 1;
    XDP_DROP
}

/// What to send, and where this processor stands.
#[inline(always)]
fn standing() -> Option<(&'static StreamLoad, &'static mut Turn)> {
    let load = maps::STREAM_LOAD.get(0)?;
    // SAFETY: this processor's own record; the program is not preempted by itself on one processor.
    Some((load, unsafe { &mut *maps::TURN.get_ptr_mut(0)? }))
}

/// Makes the recycled frame the next packet of a stream. A shorter packet is cut; the kernel gives the frame its length back.
#[inline(always)]
fn send(ctx: &XdpContext, load: &StreamLoad, turn: &mut Turn, number: u32, now: u64) -> u32 {
    let Some(stream) = maps::SENT_STREAMS.get_ptr_mut(number) else { return XDP_ABORTED };
    // SAFETY: a stream is sent by one processor.
    let stream = unsafe { &mut *stream };
    let length = ctx.data_end() - ctx.data();
    if length as u32 != stream.length {
        // SAFETY: the context is ours until the program ends; all pointers into the frame are made after this.
        if unsafe { bpf_xdp_adjust_tail(ctx.ctx, stream.length as i32 - length as i32) } != 0 {
            return XDP_ABORTED;
        }
    }
    let Some(frame) = Frame::<FollowedIpv4>::of(ctx) else { return XDP_ABORTED };
    let ssrc = number.to_be();
    if stream.length != load.shortest && !set_last_word(ctx, load.shortest, 0) {
        return XDP_ABORTED;
    }
    if !set_last_word(ctx, stream.length, ssrc) {
        return XDP_ABORTED;
    }
    frame.store(0, load.macs[0]);
    frame.store(4, load.macs[1]);
    frame.store(8, load.macs[2]);
    frame.store(FollowedIpv4::ETHERTYPE, ETHERTYPE_IPV4);
    frame.store(IP, stream.version);
    frame.store(IP + 4, DO_NOT_FRAGMENT);
    frame.store(IP + 8, stream.hops);
    frame.store(IP + 12, load.source);
    frame.store(IP + 16, stream.destination);
    frame.store(UDP, stream.ports);
    frame.store(UDP + 4, stream.udp);
    let sequence = (stream.next as u16).to_be();
    frame.store(RTP, RTP_START);
    frame.store(RTP + 2, sequence);
    frame.store(RTP + 4, 0_u32);
    frame.store(RTP + 8, ssrc);
    frame.store(FollowedIpv4::NUMBER, stream.next);
    frame.store(FollowedIpv4::NUMBER_INVERTED, !stream.next);
    frame.store(FollowedIpv4::TIME, now as u32);
    frame.store(FollowedIpv4::TIME_INVERTED, !(now as u32));
    frame.store(FollowedIpv4::SEQUENCE_INVERTED, !sequence);
    stream.next += 1;
    turn.sent += 1;
    depart()
}

/// Whether everything is as it must be: addresses, ports, lengths, both checksums, RTP header, and what the packet says of
/// itself up to its last word.
#[inline(always)]
fn is_right(
    ctx: &XdpContext,
    frame: Frame<FollowedIpv4>,
    load: &StreamLoad,
    stream: &ArrivingStream,
) -> bool {
    let number: u32 = frame.load(FollowedIpv4::NUMBER);
    let time: u32 = frame.load(FollowedIpv4::TIME);
    let sequence = (number as u16).to_be();
    let mut difference = frame.load::<u32>(0) ^ load.arriving_macs[0];
    difference |= frame.load::<u32>(4) ^ load.arriving_macs[1];
    difference |= frame.load::<u32>(8) ^ load.arriving_macs[2];
    difference |= frame.load::<u32>(IP + 12) ^ stream.source;
    difference |= frame.load::<u32>(IP + 16) ^ stream.destination;
    difference |= frame.load::<u32>(UDP) ^ stream.ports;
    difference |= frame.load::<u32>(UDP + 4) ^ stream.udp;
    difference |= u32::from(frame.load::<u16>(RTP) ^ RTP_START);
    difference |= u32::from(frame.load::<u16>(RTP + 2) ^ sequence);
    difference |= frame.load::<u32>(FollowedIpv4::NUMBER_INVERTED) ^ !number;
    difference |= frame.load::<u32>(FollowedIpv4::TIME_INVERTED) ^ !time;
    difference |= (ctx.data_end() - ctx.data()) as u32 ^ stream.length;
    difference == 0
        && header_sum(frame) == 0xffff
        && last_word(ctx, stream.length) == Some(frame.load(RTP + 8))
}

/// The sum of the IP header's words (RFC 791 section 3.1): 0xffff if the checksum is right.
#[inline(always)]
fn header_sum(frame: Frame<FollowedIpv4>) -> u64 {
    let word = |at| u64::from(frame.load::<u32>(IP + at));
    let sum = word(0) + word(4) + word(8) + word(12) + word(16);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    (sum & 0xffff) + (sum >> 16)
}

/// A number that was left out is missing; one that comes after a higher one is late.
#[inline(always)]
fn follow(stream: &mut ArrivingStream, number: u32) {
    let ahead = number.wrapping_sub(stream.expected);
    if ahead == 0 {
        stream.expected += 1;
    } else if (ahead as i32) > 0 {
        stream.missing += ahead;
        stream.expected = number + 1;
    } else {
        stream.late += 1;
    }
}

#[inline(always)]
fn keep_delay(arrivals: &mut Arrivals, departure: u32) {
    let at = arrivals.samples as u32;
    if at >= SAMPLES_PER_CPU {
        return;
    }
    arrivals.samples += 1;
    // SAFETY: both only read: the clock, and the number of this processor.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    if let Some(delay) = maps::DELAYS.get_ptr_mut(cpu * SAMPLES_PER_CPU + at) {
        // SAFETY: a slot that only this processor writes.
        unsafe { *delay = (now as u32).wrapping_sub(departure) };
    }
}

#[inline(always)]
fn last_word(ctx: &XdpContext, length: u32) -> Option<u32> {
    // SAFETY: as `place_of_last_word` says.
    place_of_last_word(ctx, length).map(|place| unsafe { *place })
}

#[inline(always)]
fn set_last_word(ctx: &XdpContext, length: u32, word: u32) -> bool {
    let Some(place) = place_of_last_word(ctx, length) else { return false };
    // SAFETY: as `place_of_last_word` says.
    unsafe { *place = word };
    true
}

/// Where the last four bytes of a frame of this length are; within the frame, wherever it ends. Not aligned, which machines
/// that run this do not ask for.
#[inline(always)]
fn place_of_last_word(ctx: &XdpContext, length: u32) -> Option<*mut u32> {
    let at = (length.wrapping_sub(4) & (LONGEST - 1)) as usize;
    let place = ctx.data() + at;
    (place + 4 <= ctx.data_end()).then_some(place as *mut u32)
}
