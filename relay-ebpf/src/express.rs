//! The short way of most packets: an untagged IPv4 datagram, of a leg that only wants new addresses. Whatever is unusual
//! about a packet, it is left untouched to `forward`, which decides again. With nothing to remember for other cases the
//! compiler keeps all of this in registers.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use relay_common::decide::{self, Plane};
use relay_common::frame::ethernet::{ETHERNET, IPV4};
use relay_common::frame::{Datagram, Ethernet, Ipv4Udp};
use relay_common::leg::traffic_index;
use relay_common::next_hop::RESOLVED;
use relay_common::packet::Packet;

use crate::maps;
use crate::plane::{Maps, cpu};

/// Sends a packet on, if nothing about it is unusual; the action.
#[inline(always)]
pub(crate) fn forward(packet: &Packet<'_>) -> Option<u32> {
    let mut ethernet = Ethernet::untagged(packet, IPV4)?;
    let mut datagram = Ipv4Udp::parse(packet, ETHERNET).ok()?;
    let found = decide::guess(&Maps, datagram.leg_key())?;
    let traffic = maps::TRAFFIC.get_ptr_mut(traffic_index(cpu(), maps::leg_slots(), found.index))?;
    // Looked at long before they are counted in: the counters come from memory while the leg does, not after it.
    // SAFETY: a pointer that the map gave stays valid while the program runs.
    unsafe { (&raw const (*traffic).packets).read_volatile() };
    let route = found.route();
    if route.flags() != 0 {
        return None;
    }
    let length = packet.length();
    datagram.check(length - ETHERNET).ok()?;
    if !decide::is_admitted(&Maps, &datagram, &found) {
        return None;
    }
    let hop = Maps.next_hop(route.index())?;
    // SAFETY: a pointer that the map gave stays valid while the program runs; each of its aligned words changes as a whole.
    let hop = unsafe { &*hop };
    if hop.state & RESOLVED == 0 || hop.tags[0].wire() != 0 || datagram.ip_length() > hop.mtu {
        return None;
    }
    // Chooses the device; the frame itself is taken from the program when it has ended.
    let action = maps::DEVICES.redirect(hop.device, u64::from(XDP_DROP)).ok()?;
    let destination = found.destination();
    datagram.readdress(found.origin(), destination.address, destination.ports);
    ethernet.set_macs(&hop.macs);
    // SAFETY: as above; this CPU's own record, and the program is not preempted by itself on one CPU.
    unsafe {
        (*traffic).packets += 1;
        (*traffic).bytes += length as u64;
    }
    Some(action)
}
