//! A UDP datagram over IPv6 without extension headers.

use super::ipv4::{DONT_FRAGMENT, PROTOCOL_UDP};
use super::{Datagram, Essence, Sum, UDP};
use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};
use crate::checksum::Change;
use crate::leg::{LegKey, Source};
use crate::packet::{Packet, View};
use crate::verdict::{Drop, Pass};

/// Bytes of the fixed header.
pub const IPV6: usize = 40;
const IPV6_LENGTH: u32 = 40;
/// Bytes of both headers.
pub const HEADERS: usize = IPV6 + UDP;

const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;
const PORTS: usize = IPV6;
const UDP_LENGTH: usize = IPV6 + 4;
const UDP_CHECKSUM: usize = IPV6 + 6;

const FRAGMENT_HEADER: u8 = 44;

/// Both headers.
#[derive(Debug)]
pub struct Ipv6Udp<'a> {
    headers: View<'a, HEADERS>,
}

impl Ipv6Udp<'_> {
    /// Source address.
    #[inline(always)]
    pub fn source_v6(&self) -> Ipv6 {
        Ipv6([
            self.headers.be32::<SOURCE>(),
            self.headers.be32::<{ SOURCE + 4 }>(),
            self.headers.be32::<{ SOURCE + 8 }>(),
            self.headers.be32::<{ SOURCE + 12 }>(),
        ])
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination_v6(&self) -> Ipv6 {
        Ipv6([
            self.headers.be32::<DESTINATION>(),
            self.headers.be32::<{ DESTINATION + 4 }>(),
            self.headers.be32::<{ DESTINATION + 8 }>(),
            self.headers.be32::<{ DESTINATION + 12 }>(),
        ])
    }

    #[inline(always)]
    fn address_sum(&self) -> Sum {
        Sum::default().address(&self.source_v6()).address(&self.destination_v6())
    }

    /// Gives the packet new addresses and ports, takes one from its hop limit, and updates the UDP checksum, also for what was
    /// changed in its `payload`.
    #[inline(always)]
    pub fn readdress(&mut self, origin: &Ipv6, destination: &Ipv6, ports: Be32, payload: Change) {
        let addresses = self.address_sum().replaced_by(Sum::default().address(origin).address(destination));
        let headers = &mut self.headers;
        let udp = addresses.and(payload).word(headers.be32::<PORTS>().wire(), ports.wire());
        headers
            .set_be16::<UDP_CHECKSUM>(Be16::from_wire(udp.apply_udp(headers.be16::<UDP_CHECKSUM>().wire())));
        headers.set_u8::<HOP_LIMIT>(headers.u8::<HOP_LIMIT>().wrapping_sub(1));
        Self::set_addresses(headers, origin, destination);
        headers.set_be32::<PORTS>(ports);
    }

    /// Writes whole headers over whatever was there. One hop is taken from [`Essence::hops`], which must not be 0, and
    /// [`Essence::checksum`] must be one.
    #[inline(always)]
    pub fn write(
        view: &mut View<'_, HEADERS>,
        essence: &Essence,
        origin: &Ipv6,
        destination: &Ipv6,
        ports: Be32,
    ) {
        // No flow label: none was chosen for this flow (RFC 6437).
        view.set_be32::<0>(Be32::new(6 << 28 | (essence.traffic_class as u32) << 20));
        view.set_be16::<PAYLOAD_LENGTH>(essence.udp_length);
        view.set_u8::<NEXT_HEADER>(PROTOCOL_UDP);
        view.set_u8::<HOP_LIMIT>(essence.hops.wrapping_sub(1));
        Self::set_addresses(view, origin, destination);

        let new = Sum::default().address(origin).address(destination);
        let udp = essence.addresses.replaced_by(new).word(essence.ports.wire(), ports.wire());
        view.set_be32::<PORTS>(ports);
        view.set_be16::<UDP_LENGTH>(essence.udp_length);
        view.set_be16::<UDP_CHECKSUM>(Be16::from_wire(udp.apply_udp(essence.checksum.wire())));
    }

    #[inline(always)]
    fn set_addresses(view: &mut View<'_, HEADERS>, origin: &Ipv6, destination: &Ipv6) {
        view.set_be32::<SOURCE>(origin.0[0]);
        view.set_be32::<{ SOURCE + 4 }>(origin.0[1]);
        view.set_be32::<{ SOURCE + 8 }>(origin.0[2]);
        view.set_be32::<{ SOURCE + 12 }>(origin.0[3]);
        view.set_be32::<DESTINATION>(destination.0[0]);
        view.set_be32::<{ DESTINATION + 4 }>(destination.0[1]);
        view.set_be32::<{ DESTINATION + 8 }>(destination.0[2]);
        view.set_be32::<{ DESTINATION + 12 }>(destination.0[3]);
    }
}

impl<'a> Datagram<'a> for Ipv6Udp<'a> {
    const HEADERS: usize = HEADERS;
    const V6: bool = true;

    #[inline(always)]
    fn parse(packet: &Packet<'a>, offset: usize) -> Result<Self, Pass> {
        let Some(headers) = packet.view::<HEADERS>(offset) else { return Err(Pass::TooShort) };
        if headers.u8::<0>() >> 4 != 6 {
            return Err(Pass::NotIp);
        }
        let next = headers.u8::<NEXT_HEADER>();
        if next != PROTOCOL_UDP {
            return Err(match next {
                FRAGMENT_HEADER => Pass::Fragment,
                // Hop-by-hop options, routing, authentication, destination options (RFC 8200 section 4), mobility, HIP, shim6.
                0 | 43 | 51 | 60 | 135 | 139 | 140 => Pass::ExtensionHeader,
                _ => Pass::NotUdp,
            });
        }
        Ok(Self { headers })
    }

    #[inline(always)]
    fn leg_key(&self) -> LegKey {
        LegKey::v6(&self.destination_v6(), self.headers.be16::<{ PORTS + 2 }>())
    }

    #[inline(always)]
    fn source(&self) -> Source {
        Source::v6(&self.source_v6(), self.headers.be16::<PORTS>())
    }

    #[inline(always)]
    fn source_address(&self) -> Ipv6 {
        self.source_v6()
    }

    #[inline(always)]
    fn local_address(&self) -> Ipv6 {
        self.destination_v6()
    }

    #[inline(always)]
    fn comes_from(&self, address: &Ipv6) -> bool {
        self.source_v6() == *address
    }

    #[inline(always)]
    fn is_for(&self, address: &Ipv6) -> bool {
        self.destination_v6() == *address
    }

    #[inline(always)]
    fn ip_length(&self) -> u32 {
        self.headers.be16::<PAYLOAD_LENGTH>().get() as u32 + IPV6_LENGTH
    }

    #[inline(always)]
    fn check(&self, available: usize) -> Result<(), Drop> {
        let ip_length = self.ip_length() as usize;
        let udp_length = usize::from(self.headers.be16::<UDP_LENGTH>().get());
        if udp_length < UDP || udp_length + IPV6 > ip_length || ip_length > available {
            return Err(Drop::LengthMismatch);
        }
        // RFC 8200 section 8.1: a datagram without a checksum is dropped.
        if !self.has_checksum() {
            return Err(Drop::BadChecksum);
        }
        if self.headers.u8::<HOP_LIMIT>() <= 1 {
            return Err(Drop::TtlExpired);
        }
        Ok(())
    }

    #[inline(always)]
    fn may_be_fragmented(&self) -> bool {
        false
    }

    #[inline(always)]
    fn has_checksum(&self) -> bool {
        self.headers.be16::<UDP_CHECKSUM>().wire() != 0
    }

    #[inline(always)]
    fn payload_changed(&mut self, change: Change) {
        let checksum = change.apply_udp(self.headers.be16::<UDP_CHECKSUM>().wire());
        self.headers.set_be16::<UDP_CHECKSUM>(Be16::from_wire(checksum));
    }

    #[inline(always)]
    fn set_dscp(&mut self, dscp: u8) {
        // The traffic class lies across the first two bytes; its upper six bits are the DSCP.
        let old = self.headers.be16::<0>().get();
        self.headers.set_be16::<0>(Be16::new(old & !0x0fc0 | (dscp as u16 & 0x3f) << 6));
    }

    #[inline(always)]
    fn essence(&self) -> Essence {
        Essence {
            ports: self.headers.be32::<PORTS>(),
            udp_length: self.headers.be16::<UDP_LENGTH>(),
            checksum: self.headers.be16::<UDP_CHECKSUM>(),
            addresses: self.address_sum(),
            traffic_class: (self.headers.be16::<0>().get() >> 4 & 0xff) as u8,
            hops: self.headers.u8::<HOP_LIMIT>(),
            identification: Be16::new(0),
            fragment: DONT_FRAGMENT,
        }
    }
}
