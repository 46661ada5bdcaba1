//! Frames that leave with longer or shorter headers than they came with: another version of IP, other VLAN tags.

use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use relay_common::byte_order::Be32;
use relay_common::decide::{Found, Plane};
use relay_common::frame::{Datagram, rebuild};
use relay_common::leg::{Addresses6, Destination, route};
use relay_common::next_hop::NextHop;
use relay_common::verdict::Drop;

use crate::forward::packet;
use crate::maps;
use crate::plane::Maps;

/// Builds all headers anew. `offset` is where the IP header starts, `next_hop` the index of the next hop.
#[inline(never)]
pub(crate) fn rebuild<'a, D: Datagram<'a>>(
    ctx: &'a XdpContext,
    index: u32,
    offset: usize,
    next_hop: u32,
) -> Result<(), Drop> {
    let hop = maps::NEXT_HOPS.get(next_hop).ok_or(Drop::NextHopUnresolved)?;
    let found = Found::at(&Maps, index).ok_or(Drop::NoRoom)?;
    let addresses = Maps.addresses6(index).ok_or(Drop::NoRoom)?;
    // SAFETY: a pointer that the map gave stays valid while the program runs. The user half writes destinations
    // while packets are under way; one of them may leave for half of an old and half of a new one.
    let addresses = unsafe { &*addresses };
    let to_v6 = found.route().has(route::TO_V6);
    let exit = Exit { to_v6, origin: found.origin(), destination: found.destination() };
    build::<D>(ctx, offset, hop, &exit, addresses)
}

/// Where a frame leaves.
pub(crate) struct Exit {
    pub(crate) to_v6: bool,
    /// Our IPv4 address.
    pub(crate) origin: Be32,
    /// Over IPv6 only the ports mean something.
    pub(crate) destination: Destination,
}

/// Builds all headers anew; over IPv6 from the origin to the destination of `addresses`.
#[inline(always)]
pub(crate) fn build<'a, D: Datagram<'a>>(
    ctx: &'a XdpContext,
    offset: usize,
    hop: &NextHop,
    exit: &Exit,
    addresses: &Addresses6,
) -> Result<(), Drop> {
    let essence = match D::parse(&packet(ctx), offset) {
        Ok(datagram) => datagram.essence(),
        Err(_) => return Err(Drop::NoRoom),
    };
    let change = (offset + D::HEADERS) as i32 - rebuild::length(&hop.tags, exit.to_v6) as i32;
    // SAFETY: the helper moves the start of the frame or refuses; no view of the packet is used afterwards.
    if change != 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, change) } != 0 {
        return Err(Drop::NoRoom);
    }
    let link = rebuild::Link { macs: &hop.macs, tags: &hop.tags };
    let destination = exit.destination;
    let written = if exit.to_v6 {
        rebuild::write_v6(&packet(ctx), link, &essence, addresses, destination.ports)
    } else {
        rebuild::write_v4(&packet(ctx), link, &essence, (exit.origin, destination.address), destination.ports)
    };
    written.ok_or(Drop::NoRoom)
}
