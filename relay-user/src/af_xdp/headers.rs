//! Headers that are longer or shorter than those that arrived, and the checksum that is needed then.

use std::ops::Range;

use relay_common::byte_order::{Be16, Be32};
use relay_common::frame::ethernet::Payload;
use relay_common::frame::rebuild::{self, Link};
use relay_common::frame::{Datagram, Essence, Ethernet, Ipv4Udp, Ipv6Udp, UDP};
use relay_common::leg::{Addresses6, Destination};
use relay_common::next_hop::NextHop;
use relay_common::packet::Packet as View;

use super::handler::Packet;

/// Headers of IPv6 are longer than those of IPv4 by so many bytes.
const LONGER: u32 = 20;

/// What is left to be done when a datagram has been looked at.
pub(super) enum Left {
    /// Nothing: it has its new addresses.
    Nothing,
    /// Its headers, of so many bytes, must be built anew.
    Headers { essence: Essence, length: usize },
}

/// Where a packet leaves from, and where it goes.
pub(super) struct Ends {
    /// Whether over IPv6.
    pub(super) to_v6: bool,
    /// Our IPv4 address.
    pub(super) origin: Be32,
    /// The other side's, and both ports.
    pub(super) destination: Destination,
    /// Both addresses of IPv6; those of the source mean nothing.
    pub(super) addresses6: Addresses6,
}

/// Bytes of an IP packet, now of `ip_length`, when it has changed its version.
pub(super) fn grown(ip_length: u32, from_v6: bool, to_v6: bool) -> u32 {
    match (from_v6, to_v6) {
        (false, true) => ip_length + LONGER,
        (true, false) => ip_length.saturating_sub(LONGER),
        _ => ip_length,
    }
}

/// Builds all headers anew, in front of the payload of UDP, which stays where it is; they had `length` bytes. `None` if there
/// is no room for them.
pub(super) fn build(
    packet: &mut Packet<'_>,
    hop: &NextHop,
    essence: &Essence,
    length: usize,
    ends: &Ends,
) -> Option<()> {
    packet.grow_front(rebuild::length(&hop.tags, ends.to_v6).checked_signed_diff(length)?)?;
    let view = View::new(packet.bytes());
    let link = Link { macs: &hop.macs, tags: &hop.tags };
    let destination = ends.destination;
    if ends.to_v6 {
        rebuild::write_v6(&view, link, essence, &ends.addresses6, destination.ports)
    } else {
        rebuild::write_v4(&view, link, essence, (ends.origin, destination.address), destination.ports)
    }
}

/// Where the payload of a frame's datagram lies.
pub(super) fn payload(view: &View<'_>) -> Option<Range<usize>> {
    match Ethernet::parse(view).ok()? {
        (_, Payload::Ipv4, at) => payload_of::<Ipv4Udp<'_>>(view, at),
        (_, Payload::Ipv6, at) => payload_of::<Ipv6Udp<'_>>(view, at),
    }
}

fn payload_of<'a, D: Datagram<'a>>(view: &View<'a>, offset: usize) -> Option<Range<usize>> {
    let datagram = D::parse(view, offset).ok()?;
    datagram.check(view.length().saturating_sub(offset)).ok()?;
    let start = offset + D::HEADERS;
    let length = usize::from(datagram.essence().udp_length.get()).checked_sub(UDP)?;
    Some(start..start + length)
}

/// Gives a datagram over IPv4 that has no UDP checksum the one that it needs over IPv6, as if it had come with it.
pub(super) fn give_checksum<'a, D: Datagram<'a>>(
    view: &View<'a>,
    offset: usize,
    datagram: &mut D,
) -> Option<()> {
    let essence = datagram.essence();
    let length = usize::from(essence.udp_length.get());
    let start = offset + D::HEADERS - UDP;
    let mut sum = essence.addresses;
    let mut at = 0;
    while at < length {
        let word = if at + 2 <= length {
            view.view::<2>(start + at)?.be16::<0>()
        } else {
            Be16::new(u16::from(view.view::<1>(start + at)?.u8::<0>()) << 8)
        };
        sum.0 += u64::from(word.wire());
        at += 2;
    }
    // The pseudo header: protocol and length (RFC 768).
    sum.0 += u64::from(Be16::new(17).wire()) + u64::from(essence.udp_length.wire());
    while sum.0 >> 16 != 0 {
        sum.0 = (sum.0 & 0xffff) + (sum.0 >> 16);
    }
    let folded = u16::try_from(sum.0).unwrap_or_default();
    let checksum = if folded == u16::MAX { u16::MAX } else { !folded };
    view.view::<2>(start + 6)?.set_be16::<0>(Be16::from_wire(checksum));
    Some(())
}
