//! Headers that are longer or shorter than those that arrived: another version of IP, other VLAN tags. They are built
//! anew in front of the payload, which stays where it is.

use super::Essence;
use super::ethernet::{ETHERNET, IPV4 as ETHERTYPE_IPV4, IPV6 as ETHERTYPE_IPV6, TAG};
use super::ipv4::{self, Ipv4Udp};
use super::ipv6::{self, Ipv6Udp};
use crate::byte_order::{Be16, Be32};
use crate::leg::Addresses6;
use crate::packet::Packet;

/// The layer 2 part of the new headers, as in [`crate::next_hop::NextHop`].
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Destination and source MAC address.
    pub macs: &'a [Be32; 3],
    /// VLAN tags, the outer first; 0 for none.
    pub tags: &'a [Be32; 2],
}

/// Bytes from the start of the frame to the payload of UDP, for frames that leave like this.
#[inline(always)]
pub const fn length(tags: &[Be32; 2], v6: bool) -> usize {
    super::ethernet::length_with(tags) + if v6 { ipv6::HEADERS } else { ipv4::HEADERS }
}

/// Writes all headers of a frame over IPv4, from `origin` to `destination`, whose payload starts at [`length`]. `None` if the
/// frame is shorter than that.
#[inline(always)]
pub fn write_v4(
    packet: &Packet<'_>,
    link: Link<'_>,
    essence: &Essence,
    (origin, destination): (Be32, Be32),
    ports: Be32,
) -> Option<()> {
    let offset = write_link(packet, link, ETHERTYPE_IPV4)?;
    let mut view = packet.view::<{ ipv4::HEADERS }>(offset)?;
    Ipv4Udp::write(&mut view, essence, origin, destination, ports);
    Some(())
}

/// The same over IPv6, from [`Addresses6::origin`] to [`Addresses6::destination`].
#[inline(always)]
pub fn write_v6(
    packet: &Packet<'_>,
    link: Link<'_>,
    essence: &Essence,
    addresses: &Addresses6,
    ports: Be32,
) -> Option<()> {
    let offset = write_link(packet, link, ETHERTYPE_IPV6)?;
    let mut view = packet.view::<{ ipv6::HEADERS }>(offset)?;
    Ipv6Udp::write(&mut view, essence, &addresses.origin, &addresses.destination, ports);
    Some(())
}

/// Writes MAC addresses, tags and EtherType; returns where the IP header starts.
#[inline(always)]
fn write_link(packet: &Packet<'_>, link: Link<'_>, ethertype: Be16) -> Option<usize> {
    let [outer, inner] = *link.tags;
    let mut header = packet.view::<ETHERNET>(0)?;
    header.set_be32::<0>(link.macs[0]);
    header.set_be32::<4>(link.macs[1]);
    header.set_be32::<8>(link.macs[2]);
    if outer.wire() == 0 {
        header.set_be16::<12>(ethertype);
        return Some(ETHERNET);
    }
    if inner.wire() == 0 {
        let mut header = packet.view::<{ ETHERNET + TAG }>(0)?;
        header.set_be32::<12>(outer);
        header.set_be16::<16>(ethertype);
        return Some(ETHERNET + TAG);
    }
    let mut header = packet.view::<{ ETHERNET + 2 * TAG }>(0)?;
    header.set_be32::<12>(outer);
    header.set_be32::<16>(inner);
    header.set_be16::<20>(ethertype);
    Some(ETHERNET + 2 * TAG)
}
