//! The Ethernet header and VLAN tags (IEEE 802.1Q clause 9).

use crate::byte_order::{Be16, Be32};
use crate::packet::{Packet, View};
use crate::verdict::Pass;

/// Bytes of the header without tags.
pub const ETHERNET: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG: usize = 4;
/// Tags that a frame may have.
pub const TAGS: usize = 2;

/// EtherType of IPv4.
pub const IPV4: Be16 = Be16::new(0x0800);
/// EtherType of IPv6.
pub const IPV6: Be16 = Be16::new(0x86dd);
/// Tag protocol identifier of a customer tag.
pub const CUSTOMER_TAG: Be16 = Be16::new(0x8100);
/// Tag protocol identifier of a service tag (802.1ad).
pub const SERVICE_TAG: Be16 = Be16::new(0x88a8);

/// What is behind the Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
}

/// The header of a frame.
#[derive(Debug)]
pub struct Ethernet<'a> {
    header: View<'a, ETHERNET>,
}

impl<'a> Ethernet<'a> {
    /// The header, what it carries, and where that starts.
    ///
    /// # Errors
    /// The frame carries no IP.
    #[inline(always)]
    pub fn parse(packet: &Packet<'a>) -> Result<(Self, Payload, usize), Pass> {
        let Some(header) = packet.view::<ETHERNET>(0) else { return Err(Pass::TooShort) };
        let ethertype = header.be16::<12>();
        if ethertype == IPV4 {
            return Ok((Self { header }, Payload::Ipv4, ETHERNET));
        }
        if ethertype == IPV6 {
            return Ok((Self { header }, Payload::Ipv6, ETHERNET));
        }
        let (payload, offset) = behind_tags(packet, ethertype)?;
        Ok((Self { header }, payload, offset))
    }

    /// The header of a frame, and its EtherType; of a frame with tags, that of the first tag.
    #[inline(always)]
    pub fn header(packet: &Packet<'a>) -> Option<(Self, Be16)> {
        let header = packet.view::<ETHERNET>(0)?;
        let ethertype = header.be16::<12>();
        Some((Self { header }, ethertype))
    }

    /// Replaces destination and source MAC address, given as they lie in the header.
    #[inline(always)]
    pub fn set_macs(&mut self, macs: &[Be32; 3]) {
        self.header.set_be32::<0>(macs[0]);
        self.header.set_be32::<4>(macs[1]);
        self.header.set_be32::<8>(macs[2]);
    }
}

/// Looks behind one or two tags.
#[inline(always)]
fn behind_tags(packet: &Packet<'_>, outer: Be16) -> Result<(Payload, usize), Pass> {
    if !is_tag(outer) {
        return Err(Pass::NotIp);
    }
    // Behind the first tag: its control information, then the next EtherType.
    let Some(first) = packet.view::<TAG>(ETHERNET) else { return Err(Pass::TooShort) };
    if let Some(payload) = ip(first.be16::<2>()) {
        return Ok((payload, ETHERNET + TAG));
    }
    if !is_tag(first.be16::<2>()) {
        return Err(Pass::NotIp);
    }
    let Some(second) = packet.view::<TAG>(ETHERNET + TAG) else { return Err(Pass::TooShort) };
    ip(second.be16::<2>()).map(|payload| (payload, ETHERNET + 2 * TAG)).ok_or(Pass::NotIp)
}

/// Bytes of a header with these tags, as in [`crate::next_hop::NextHop::tags`].
#[inline(always)]
pub const fn length_with(tags: &[Be32; 2]) -> usize {
    let outer = if tags[0].wire() == 0 { 0 } else { TAG };
    let inner = if tags[1].wire() == 0 { 0 } else { TAG };
    ETHERNET + outer + inner
}

#[inline(always)]
fn is_tag(ethertype: Be16) -> bool {
    ethertype == CUSTOMER_TAG || ethertype == SERVICE_TAG
}

#[inline(always)]
fn ip(ethertype: Be16) -> Option<Payload> {
    if ethertype == IPV4 {
        Some(Payload::Ipv4)
    } else if ethertype == IPV6 {
        Some(Payload::Ipv6)
    } else {
        None
    }
}
