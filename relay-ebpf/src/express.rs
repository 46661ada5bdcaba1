//! The short way of most packets: an untagged datagram, of a leg that wants new addresses and perhaps a retag. Whatever is
//! unusual about a packet, it is left untouched to `forward`, which decides again. With little to remember for other cases
//! the compiler keeps nearly all of this in registers.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use relay_common::checksum::Change;
use relay_common::decide::{self, Found, Plane};
use relay_common::frame::ethernet::{ETHERNET, IPV4, IPV6};
use relay_common::frame::{Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::leg::{Traffic, route, traffic_index};
use relay_common::next_hop::RESOLVED;
use relay_common::packet::Packet;

use crate::forward::Readdressed;
use crate::maps;
use crate::plane::{Maps, cpu};

/// Sends a packet on, if nothing about it is unusual; the action.
#[inline(always)]
pub(crate) fn forward(packet: &Packet<'_>) -> Option<u32> {
    let (ethernet, ethertype) = Ethernet::header(packet)?;
    if ethertype == IPV4 {
        send::<Ipv4Udp<'_>>(packet, ethernet)
    } else if ethertype == IPV6 {
        send::<Ipv6Udp<'_>>(packet, ethernet)
    } else {
        None
    }
}

#[inline(always)]
fn send<'a, D: Readdressed<'a>>(packet: &Packet<'a>, ethernet: Ethernet<'a>) -> Option<u32> {
    let datagram = D::parse(packet, ETHERNET).ok()?;
    let found = decide::guess(&Maps, &datagram)?;
    let traffic = maps::TRAFFIC.get_ptr_mut(traffic_index(cpu(), maps::leg_slots(), found.index))?;
    // Looked at long before they are counted in: the counters come from memory while the leg does, not after it.
    // SAFETY: a pointer that the map gave stays valid while the program runs.
    unsafe { (&raw const (*traffic).packets).read_volatile() };
    let same_version = if D::V6 { route::TO_V6 } else { 0 };
    let flags = found.route().flags();
    if flags == same_version {
        rewrite::<D, false>(packet, ethernet, datagram, &found, traffic)
    } else if flags == same_version | route::RETAGGED {
        rewrite::<D, true>(packet, ethernet, datagram, &found, traffic)
    } else {
        None
    }
}

#[inline(always)]
fn rewrite<'a, D: Readdressed<'a>, const RETAGGED: bool>(
    packet: &Packet<'a>,
    mut ethernet: Ethernet<'a>,
    mut datagram: D,
    found: &Found,
    traffic: *mut Traffic,
) -> Option<u32> {
    let length = packet.length();
    datagram.check(length - ETHERNET).ok()?;
    if !decide::is_admitted(&Maps, &datagram, found) {
        return None;
    }
    let hop = Maps.next_hop(found.route().index())?;
    // SAFETY: a pointer that the map gave stays valid while the program runs; each of its aligned words changes as a whole.
    let hop = unsafe { &*hop };
    if hop.state & RESOLVED == 0 || hop.tags[0].wire() != 0 || datagram.ip_length() > hop.mtu {
        return None;
    }
    // Chooses the device; the frame itself is taken from the program when it has ended.
    let action = maps::DEVICES.redirect(hop.device, u64::from(XDP_DROP)).ok()?;
    let change = if RETAGGED {
        decide::retag(&Maps, found.index, &mut datagram, packet, ETHERNET + D::HEADERS)
    } else {
        Change::none()
    };
    datagram.readdress(found, change).ok()?;
    ethernet.set_macs(&hop.macs);
    // SAFETY: as above; this CPU's own record, and the program is not preempted by itself on one CPU.
    unsafe {
        (*traffic).packets += 1;
        (*traffic).bytes += length as u64;
    }
    Some(action)
}
