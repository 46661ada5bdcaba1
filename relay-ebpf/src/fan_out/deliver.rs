//! Turns a copy into the packet of its receiver. Runs for each entry of a device map (`BPF_XDP_DEVMAP`), in the order of
//! the entries, so that the copies of one packet count their own turns.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use relay_common::checksum::Change;
use relay_common::decide;
use relay_common::fan_out::{Receiver, SEATS, Turn};
use relay_common::frame::ethernet::{ETHERNET, Payload};
use relay_common::frame::{Datagram, Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::leg::{Addresses6, route, traffic_index};
use relay_common::next_hop::{NextHop, RESOLVED};
use relay_common::packet::Packet;
use relay_common::tap::Direction;
use relay_common::verdict::{Drop, Loss};

use super::{losses, metadata};
use crate::forward::packet;
use crate::maps;
use crate::plane::{Maps, cpu};
use crate::rebuild::{self, Exit};
use crate::tap;

/// What is copied.
struct Copied {
    /// Index of the leg that it arrived on.
    source: u32,
    /// Slot of the device that the copies leave by.
    device: u32,
}

/// The action for one copy.
#[inline(always)]
pub(crate) fn deliver(ctx: &XdpContext) -> u32 {
    let Some((receiver, Copied { source, device })) = whose_turn(ctx) else { return XDP_DROP };
    let length = ctx.data_end() - ctx.data();
    match rewrite(ctx, receiver, source, device) {
        Ok(is_tapped) => {
            count(receiver, length);
            if is_tapped {
                tap::copy(ctx, receiver, Direction::Copied);
            }
            losses::note(receiver);
            XDP_PASS
        }
        Err(loss) => {
            losses::charge(receiver, loss);
            XDP_DROP
        }
    }
}

/// Whom the copy is for, and of what it is one. `None`: somebody has just left.
#[inline(always)]
fn whose_turn(ctx: &XdpContext) -> Option<(u32, Copied)> {
    let metadata = metadata::read(ctx)?;
    let block = maps::BLOCKS.get_ptr(metadata.block)?;
    // SAFETY: a pointer that the map gave stays valid while the program runs; volatile, because the user half writes.
    let device = unsafe { (&raw const (*block).device).read_volatile() };
    let turn = maps::TURNS.get_ptr_mut(device)?;
    // SAFETY: this CPU's own record; copies are made with bottom halves off, so no other program comes between.
    let seat = unsafe {
        if (*turn).number != metadata.number {
            let Turn { block, seat, seats, .. } = *turn;
            if seat < seats {
                // The copies of the packet before ended early: the kernel had no memory.
                losses::charge_seats(block, seat, seats, Loss::Incomplete);
            }
            (*turn).number = metadata.number;
            (*turn).block = metadata.block;
            (*turn).seats = metadata.seats;
            (*turn).seat = 0;
        }
        let seat = (*turn).seat;
        (*turn).seat = seat + 1;
        seat as usize
    };
    if seat >= SEATS {
        return None;
    }
    // SAFETY: as above; the seat is within the array.
    let receiver = unsafe { (&raw const (*block).receivers).cast::<u32>().add(seat).read_volatile() };
    if receiver == 0 { None } else { Some((receiver, Copied { source: metadata.source, device })) }
}

/// Gives the copy the receiver's headers. Says whether somebody taps the receiver.
#[inline(always)]
fn rewrite(ctx: &XdpContext, receiver: u32, source: u32, device: u32) -> Result<bool, Loss> {
    let receiver = maps::RECEIVERS.get_ptr_mut(receiver).ok_or(Loss::NextHopUnresolved)?;
    // SAFETY: a pointer that the map gave stays valid while the program runs; volatile, because the user half writes.
    let route = unsafe { (&raw const (*receiver).route).read_volatile() };
    let hop = maps::NEXT_HOPS.get(route.index()).ok_or(Loss::NextHopUnresolved)?;
    if hop.state & RESOLVED == 0 {
        return Err(match hop.refusal() {
            Drop::NoDevice => Loss::NoDevice,
            Drop::NoRoute => Loss::NoRoute,
            _ => Loss::NextHopUnresolved,
        });
    }
    if hop.device != device {
        return Err(Loss::NoDevice);
    }
    let packet = packet(ctx);
    match Ethernet::parse(&packet) {
        Ok((ethernet, Payload::Ipv4, offset)) => {
            datagram::<Ipv4Udp<'_>>(ctx, &packet, ethernet, offset, (receiver, source), hop)
        }
        Ok((ethernet, Payload::Ipv6, offset)) => {
            datagram::<Ipv6Udp<'_>>(ctx, &packet, ethernet, offset, (receiver, source), hop)
        }
        Err(_) => Err(Loss::NoRoom),
    }?;
    Ok(route.has(route::TAPPED_OUT))
}

/// The same for a copy whose IP header starts at `offset`.
#[inline(always)]
fn datagram<'a, D: Readdressed<'a>>(
    ctx: &'a XdpContext,
    packet: &Packet<'a>,
    mut ethernet: Ethernet<'a>,
    offset: usize,
    (receiver, source): (*mut Receiver, u32),
    hop: &NextHop,
) -> Result<(), Loss> {
    let mut datagram = D::parse(packet, offset).map_err(|_| Loss::NoRoom)?;
    // SAFETY: as in `rewrite`.
    let route = unsafe { (&raw const (*receiver).route).read_volatile() };
    let to_v6 = route.has(route::TO_V6);
    let ip_length = datagram.ip_length();
    // Between the versions of IP a packet grows or shrinks by as many bytes as its header does.
    let grown = match (D::V6, to_v6) {
        (false, true) => ip_length + 20,
        (true, false) => ip_length - 20,
        _ => ip_length,
    };
    if grown > hop.mtu {
        return Err(Loss::TooBig);
    }
    if to_v6 && !datagram.has_checksum() {
        return Err(Loss::NoChecksum);
    }
    let change = if route.has(route::RETAGGED) {
        // SAFETY: the record is part of one that a map gave.
        unsafe {
            let retag = if (&raw const (*receiver).source).read_volatile() == source {
                &raw mut (*receiver).retag
            } else {
                &raw mut (*receiver).retag_before
            };
            decide::retag_as(&Maps, retag, &mut datagram, packet, offset + D::HEADERS)
        }
    } else {
        Change::none()
    };
    if offset == ETHERNET && hop.tags[0].wire() == 0 && to_v6 == D::V6 {
        // SAFETY: as in `rewrite`; the user half writes addresses of IPv4 as one word, and those of IPv6 while the
        // receiver has no next hop.
        datagram.readdress(unsafe { &*receiver }, change);
        ethernet.set_macs(&hop.macs);
        return Ok(());
    }
    datagram.payload_changed(change);
    build::<D>(ctx, offset, receiver, route.index())
}

/// Builds headers of another length.
#[inline(never)]
fn build<'a, D: Datagram<'a>>(
    ctx: &'a XdpContext,
    offset: usize,
    receiver: *mut Receiver,
    next_hop: u32,
) -> Result<(), Loss> {
    // SAFETY: a pointer that the map gave stays valid while the program runs.
    let receiver = unsafe { &*receiver };
    let hop = maps::NEXT_HOPS.get(next_hop).ok_or(Loss::NextHopUnresolved)?;
    let addresses =
        Addresses6 { destination: receiver.destination6, origin: receiver.origin6, ..Addresses6::default() };
    let exit = Exit {
        to_v6: receiver.route.has(route::TO_V6),
        origin: receiver.origin,
        destination: receiver.destination,
    };
    rebuild::build::<D>(ctx, offset, hop, &exit, &addresses).map_err(|_| Loss::NoRoom)
}

/// Counts a copy that leaves.
#[inline(always)]
fn count(receiver: u32, length: usize) {
    let Some(traffic) = maps::RECEIVER_TRAFFIC.get_ptr_mut(traffic_index(cpu(), maps::leg_slots(), receiver))
    else {
        return;
    };
    // SAFETY: this CPU's own record; the program is not preempted by itself on one CPU.
    unsafe {
        (*traffic).packets += 1;
        (*traffic).bytes += length as u64;
    }
}

/// A datagram that takes new addresses of its own version of IP.
trait Readdressed<'a>: Datagram<'a> {
    /// Gives it the addresses of a receiver; `payload` was changed before.
    fn readdress(&mut self, receiver: &Receiver, payload: Change);
}

impl<'a> Readdressed<'a> for Ipv4Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, receiver: &Receiver, payload: Change) {
        let destination = receiver.destination;
        Ipv4Udp::readdress(self, receiver.origin, destination.address, destination.ports, payload);
    }
}

impl<'a> Readdressed<'a> for Ipv6Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, receiver: &Receiver, payload: Change) {
        let ports = receiver.destination.ports;
        Ipv6Udp::readdress(self, &receiver.origin6, &receiver.destination6, ports, payload);
    }
}
