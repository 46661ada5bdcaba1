//! One packet in, one packet out: find the leg, check the source, rewrite, and name the device.

use core::arch::asm;

use aya_ebpf::{bindings::xdp_action::XDP_DROP, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use relay_common::checksum::Change;
use relay_common::decide::{self, Found, Plane, Stray, Subject};
use relay_common::event;
use relay_common::frame::ethernet::{ETHERNET, Payload};
use relay_common::frame::{Datagram, Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::leg::{Route, Traffic, route, traffic_index};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::punt as reasons;
use relay_common::tap::Direction;
use relay_common::verdict::{Drop, Pass};

use crate::plane::{Maps, cpu};
use crate::{Verdict, fan_out, learn, maps, punt, rebuild, stray, tap, too_big};

/// What ends the way of a packet that is not forwarded.
enum End {
    Pass(Pass),
    Drop(Drop),
    /// The sender is told that the packet, of so many bytes, is too big.
    Answer(u32, usize),
}

impl From<Drop> for End {
    #[inline(always)]
    fn from(reason: Drop) -> Self {
        Self::Drop(reason)
    }
}

/// The bytes of the frame; of one in several buffers, those of the first.
#[inline(always)]
pub(crate) fn packet(ctx: &XdpContext) -> Packet<'_> {
    let (start, end): (*mut u8, *mut u8);
    // Both are declared as 32 bits wide, and hold pointers once the verifier has rewritten the loads. A compiler that is
    // free to choose may move them through half a register, and then they are pointers no more.
    // SAFETY: `struct xdp_md` of linux/bpf.h begins with `data` and `data_end`.
    unsafe {
        asm!(
            "{start} = *(u32 *)({ctx} + 0)",
            "{end} = *(u32 *)({ctx} + 4)",
            ctx = in(reg) ctx.ctx,
            start = out(reg) start,
            end = out(reg) end,
            options(readonly, nostack)
        );
    }
    // SAFETY: the kernel gives the program alone the bytes between `data` and `data_end` while it runs.
    unsafe { Packet::from_range(start, end) }
}

/// Decides about one frame, and rewrites it if it is to be forwarded.
#[inline(always)]
pub(crate) fn handle(ctx: &XdpContext) -> Verdict {
    let packet = packet(ctx);
    match Ethernet::parse(&packet) {
        Ok((ethernet, Payload::Ipv4, offset)) => datagram::<Ipv4Udp<'_>>(ctx, &packet, ethernet, offset),
        Ok((ethernet, Payload::Ipv6, offset)) => datagram::<Ipv6Udp<'_>>(ctx, &packet, ethernet, offset),
        Err(reason) => Verdict::Pass(reason),
    }
}

/// A frame whose IP header starts at `offset`.
#[inline(always)]
fn datagram<'a, D: Readdressed<'a>>(
    ctx: &'a XdpContext,
    packet: &Packet<'a>,
    ethernet: Ethernet<'a>,
    offset: usize,
) -> Verdict {
    let datagram = match D::parse(packet, offset) {
        Ok(datagram) => datagram,
        Err(reason) => return Verdict::Pass(reason),
    };
    let found = match decide::find(&Maps, &datagram, packet, offset + D::HEADERS) {
        Ok(found) => found,
        Err(Stray::NoLeg) => return stray::decide::<D>(ctx, offset),
        Err(Stray::Unknown(port)) => {
            let subject = Subject::of(&datagram, packet, offset + D::HEADERS);
            Maps.notify(event::UNKNOWN_SSRC, port, &subject);
            return Verdict::Drop(port, Drop::UnknownSsrc);
        }
    };
    match relay(ctx, packet, ethernet, datagram, offset, &found) {
        Ok(action) => Verdict::Forward(action),
        Err(End::Pass(reason)) => Verdict::Pass(reason),
        Err(End::Drop(reason)) => Verdict::Drop(found.index, reason),
        Err(End::Answer(action, length)) => Verdict::Answer(action, Drop::TooBig, found.index, length),
    }
}

/// Admits a packet of this leg, rewrites it and returns the action that sends it on.
#[inline(always)]
fn relay<'a, D: Readdressed<'a>>(
    ctx: &'a XdpContext,
    packet: &Packet<'a>,
    mut ethernet: Ethernet<'a>,
    mut datagram: D,
    offset: usize,
    found: &Found,
) -> Result<u32, End> {
    let length = packet.length();
    // Looked at long before they are counted in: the counters come from memory while the leg does, not after it.
    let traffic = maps::TRAFFIC.get_ptr_mut(traffic_index(cpu(), maps::leg_slots(), found.index));
    if let Some(traffic) = traffic {
        // SAFETY: a pointer that the map gave stays valid while the program runs.
        unsafe { (&raw const (*traffic).packets).read_volatile() };
    }
    if let Err(reason) = datagram.check(length - offset) {
        check_in_several_buffers(ctx, &datagram, offset, reason)?;
    }
    if !decide::is_admitted(&Maps, &datagram, found) {
        learn::learn::<D>(ctx, found.index, offset)?;
    }
    let route = found.route();
    let ip_length = datagram.ip_length();
    let to_v6 = route.has(route::TO_V6);
    // Between the versions of IP a packet grows or shrinks by as many bytes as its header does.
    let grown = match (D::V6, to_v6) {
        (false, true) => ip_length + 20,
        (true, false) => ip_length - 20,
        _ => ip_length,
    };
    let hop = match decide::next_hop(&Maps, found, route) {
        // SAFETY: a pointer that the map gave stays valid while the program runs; each of its aligned words changes as a
        // whole.
        Ok(hop) => Ok(unsafe { &*hop }),
        Err(reason) => Err(reason),
    };
    // Before anything is charged or measured: the kernel path does that for what is left to it.
    if let Ok(hop) = hop {
        if grown > hop.mtu && datagram.may_be_fragmented() {
            return Err(End::Pass(Pass::NeedsFragments));
        }
        // User space gives it one.
        if to_v6 && !datagram.has_checksum() && !route.has(route::PUNTED) {
            return Err(End::Pass(Pass::NoChecksum));
        }
    }
    if !route.is_plain()
        && let Some(action) = before(ctx, packet, found.index, route, offset + D::HEADERS, ip_length)?
    {
        return Ok(action);
    }
    let hop = match hop {
        Ok(hop) => hop,
        Err(_) if route.has(route::FAN_OUT) => {
            let action = fan_out::enqueue::enqueue(ctx, found.index)?;
            count(traffic, length);
            return Ok(action);
        }
        Err(reason) => {
            unresolved(packet, &datagram, offset, found, route, reason);
            return Err(reason.into());
        }
    };
    if grown > hop.mtu {
        let mtu = (hop.mtu + ip_length).wrapping_sub(grown);
        return Err(match D::answer_too_big(ctx, found.index, offset, mtu) {
            Some(action) => End::Answer(action, length),
            None => End::Drop(Drop::TooBig),
        });
    }
    // Chooses the device; the frame itself is taken from the program when it has ended.
    let action = maps::DEVICES.redirect(hop.device, u64::from(XDP_DROP)).map_err(|_| Drop::NoDevice)?;
    let change = if route.has(route::RETAGGED) {
        decide::retag(&Maps, found.index, &mut datagram, packet, offset + D::HEADERS)
    } else {
        Change::none()
    };
    let plain_link = offset == ETHERNET && hop.tags[0].wire() == 0;
    if plain_link && to_v6 == D::V6 {
        datagram.readdress(found, change)?;
        ethernet.set_macs(&hop.macs);
    } else {
        datagram.payload_changed(change);
        rebuild::rebuild::<D>(ctx, found.index, offset, route.index())?;
    }
    count(traffic, length);
    if route.has(route::TAPPED_OUT) {
        tap::copy(ctx, found.index, Direction::Out);
    }
    Ok(action)
}

/// One more packet that is sent on.
#[inline(always)]
fn count(traffic: Option<*mut Traffic>, length: usize) {
    if let Some(traffic) = traffic {
        // SAFETY: this CPU's own record; the program is not preempted by itself on one CPU.
        unsafe {
            (*traffic).packets += 1;
            (*traffic).bytes += length as u64;
        }
    }
}

/// What legs with more than a plain rewrite do before a packet is sent on; the action, if it goes to user space instead.
#[inline(always)]
fn before(
    ctx: &XdpContext,
    packet: &Packet<'_>,
    index: u32,
    route: Route,
    payload: usize,
    ip_length: u32,
) -> Result<Option<u32>, End> {
    let reason = reason_to_punt(packet, route, payload);
    if route.has(route::TAPPED_IN) && reason.is_none() {
        tap::copy(ctx, index, Direction::In);
    }
    if route.has(route::POLICED)
        && let Err(refusal) = decide::police(&Maps, index, ip_length)
    {
        if route.has(route::TAPPED_IN) && reason.is_some() {
            tap::copy(ctx, index, Direction::In);
        }
        return Err(refusal.into());
    }
    let Some(reason) = reason else {
        if route.has(route::MEASURED) {
            decide::measure(&Maps, index, packet, payload);
        }
        return Ok(None);
    };
    let generation = maps::ADMISSIONS.get(index).map_or(0, |admission| admission.generation);
    let action = punt::punt(ctx, index, generation, reason).map_err(End::Pass)?;
    if route.has(route::TAPPED_IN) {
        // Only now: what no socket takes is copied by the kernel path, which has it then.
        tap::copy(ctx, index, Direction::In);
    }
    Ok(Some(action))
}

/// Why the packet goes to user space, if it does.
#[inline(always)]
fn reason_to_punt(packet: &Packet<'_>, route: Route, payload: usize) -> Option<u32> {
    if route.has(route::PUNTED) {
        return Some(reasons::EVERY_PACKET);
    }
    let is_rtcp =
        || route.has(route::RTCP_PUNTED) && matches!(Media::at(packet, payload), Some(Media::Rtcp { .. }));
    is_rtcp().then_some(reasons::RTCP)
}

/// A jumbo frame may lie in several buffers, of which only the first is seen here.
#[inline(always)]
fn check_in_several_buffers<'a, D: Datagram<'a>>(
    ctx: &XdpContext,
    datagram: &D,
    offset: usize,
    reason: Drop,
) -> Result<(), Drop> {
    if reason as u32 != Drop::LengthMismatch as u32 {
        return Err(reason);
    }
    // SAFETY: takes the kernel's context and only reads a length.
    let whole = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize;
    if whole < offset { Err(reason) } else { datagram.check(whole - offset) }
}

/// Asks for a neighbour that is not known.
#[inline(always)]
fn unresolved<'a, D: Datagram<'a>>(
    packet: &Packet<'_>,
    datagram: &D,
    offset: usize,
    found: &Found,
    route: Route,
    reason: Drop,
) {
    if reason as u32 == Drop::NextHopUnresolved as u32 {
        let subject = Subject::of(datagram, packet, offset + D::HEADERS);
        let subject = Subject { next_hop: route.index(), ..subject };
        Maps.notify(event::NEXT_HOP_UNRESOLVED, found.index, &subject);
    }
}

/// A datagram that takes new addresses of its own version of IP.
pub(crate) trait Readdressed<'a>: Datagram<'a> {
    /// Gives it the addresses of its leg's destination; `payload` was changed before.
    fn readdress(&mut self, found: &Found, payload: Change) -> Result<(), Drop>;

    /// See `too_big`.
    fn answer_too_big(ctx: &XdpContext, index: u32, offset: usize, mtu: u32) -> Option<u32>;
}

impl<'a> Readdressed<'a> for Ipv4Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, found: &Found, payload: Change) -> Result<(), Drop> {
        let destination = found.destination();
        Ipv4Udp::readdress(self, found.origin(), destination.address, destination.ports, payload);
        Ok(())
    }

    #[inline(always)]
    fn answer_too_big(ctx: &XdpContext, index: u32, offset: usize, mtu: u32) -> Option<u32> {
        too_big::answer_v4(ctx, index, offset, mtu)
    }
}

impl<'a> Readdressed<'a> for Ipv6Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, found: &Found, payload: Change) -> Result<(), Drop> {
        let addresses = Maps.addresses6(found.index).ok_or(Drop::RemoteUnknown)?;
        // SAFETY: a pointer that the map gave stays valid while the program runs; a packet that sees half of a new
        // address goes astray, once.
        let addresses = unsafe { &*addresses };
        let (origin, destination) = (&addresses.origin, &addresses.destination);
        Ipv6Udp::readdress(self, origin, destination, found.destination().ports, payload);
        Ok(())
    }

    #[inline(always)]
    fn answer_too_big(ctx: &XdpContext, index: u32, offset: usize, mtu: u32) -> Option<u32> {
        too_big::answer_v6(ctx, index, offset, mtu)
    }
}
