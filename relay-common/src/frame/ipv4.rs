//! A UDP datagram over IPv4 without options, in one piece.

use super::{Datagram, Essence, Sum, UDP};
use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};
use crate::checksum::{self, Change};
use crate::leg::{LegKey, Source};
use crate::packet::{Packet, View};
use crate::verdict::{Drop, Pass};

/// Bytes of the header without options.
pub const IPV4: usize = 20;
const IPV4_LENGTH: u16 = 20;
/// Bytes of both headers.
pub const HEADERS: usize = IPV4 + UDP;

const TYPE_OF_SERVICE: usize = 1;
const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FRAGMENT: usize = 6;
const TIME_TO_LIVE: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
const PORTS: usize = IPV4;
const UDP_LENGTH: usize = IPV4 + 4;
const UDP_CHECKSUM: usize = IPV4 + 6;

const VERSION_4_NO_OPTIONS: u8 = 0x45;
/// "Don't fragment".
pub(super) const DONT_FRAGMENT: Be16 = Be16::new(0x4000);
/// "More fragments" and the fragment offset.
const IS_FRAGMENT: Be16 = Be16::new(0x3fff);
pub(super) const PROTOCOL_UDP: u8 = 17;

/// Both headers.
#[derive(Debug)]
pub struct Ipv4Udp<'a> {
    headers: View<'a, HEADERS>,
}

impl Ipv4Udp<'_> {
    /// Address that the packet comes from.
    #[inline(always)]
    pub fn source_v4(&self) -> Be32 {
        self.headers.be32::<SOURCE>()
    }

    /// Gives the packet new addresses and ports, takes one hop from its time to live, and updates both checksums, that of UDP
    /// also for what was changed in its `payload`.
    #[inline(always)]
    pub fn readdress(&mut self, origin: Be32, destination: Be32, ports: Be32, payload: Change) {
        let headers = &mut self.headers;
        let addresses = Change::none()
            .word(headers.be32::<SOURCE>().wire(), origin.wire())
            .word(headers.be32::<DESTINATION>().wire(), destination.wire());
        let udp = addresses.and(payload).word(headers.be32::<PORTS>().wire(), ports.wire());

        // Time to live and protocol are one word of the checksum.
        let hops = headers.be16::<TIME_TO_LIVE>();
        let fewer = Be16::from_wire(hops.wire().wrapping_sub(Be16::new(1 << 8).wire()));
        let ipv4 = addresses.half(hops.wire(), fewer.wire());

        headers
            .set_be16::<UDP_CHECKSUM>(Be16::from_wire(udp.apply_udp(headers.be16::<UDP_CHECKSUM>().wire())));
        headers.set_be16::<CHECKSUM>(Be16::from_wire(ipv4.apply(headers.be16::<CHECKSUM>().wire())));
        headers.set_be16::<TIME_TO_LIVE>(fewer);
        headers.set_be32::<SOURCE>(origin);
        headers.set_be32::<DESTINATION>(destination);
        headers.set_be32::<PORTS>(ports);
    }

    /// Writes whole headers over whatever was there. One hop is taken from [`Essence::hops`], which must not be 0.
    #[inline(always)]
    pub fn write(
        view: &mut View<'_, HEADERS>,
        essence: &Essence,
        origin: Be32,
        destination: Be32,
        ports: Be32,
    ) {
        let length = Be16::new(essence.udp_length.get().wrapping_add(IPV4_LENGTH));
        view.set_be16::<0>(Be16::new((VERSION_4_NO_OPTIONS as u16) << 8 | essence.traffic_class as u16));
        view.set_be16::<TOTAL_LENGTH>(length);
        view.set_be16::<IDENTIFICATION>(essence.identification);
        view.set_be16::<FRAGMENT>(essence.fragment);
        view.set_u8::<TIME_TO_LIVE>(essence.hops.wrapping_sub(1));
        view.set_u8::<PROTOCOL>(PROTOCOL_UDP);
        view.set_be16::<CHECKSUM>(Be16::new(0));
        view.set_be32::<SOURCE>(origin);
        view.set_be32::<DESTINATION>(destination);
        let sum = header_sum(view);
        view.set_be16::<CHECKSUM>(Be16::from_wire(Change::none().sum(sum).apply(0xffff)));

        let addresses = essence.addresses.replaced_by(Sum::default().word(origin).word(destination));
        let udp = addresses.word(essence.ports.wire(), ports.wire());
        view.set_be32::<PORTS>(ports);
        view.set_be16::<UDP_LENGTH>(essence.udp_length);
        view.set_be16::<UDP_CHECKSUM>(Be16::from_wire(udp.apply_udp(essence.checksum.wire())));
    }
}

/// Sum of the words of the IPv4 header.
#[inline(always)]
fn header_sum(view: &View<'_, HEADERS>) -> u64 {
    view.be32::<0>().wire() as u64
        + view.be32::<4>().wire() as u64
        + view.be32::<8>().wire() as u64
        + view.be32::<12>().wire() as u64
        + view.be32::<16>().wire() as u64
}

impl<'a> Datagram<'a> for Ipv4Udp<'a> {
    const HEADERS: usize = HEADERS;
    const V6: bool = false;

    #[inline(always)]
    fn parse(packet: &Packet<'a>, offset: usize) -> Result<Self, Pass> {
        let Some(headers) = packet.view::<HEADERS>(offset) else { return Err(Pass::TooShort) };
        let version_and_length = headers.u8::<0>();
        if version_and_length != VERSION_4_NO_OPTIONS {
            return Err(if version_and_length >> 4 == 4 { Pass::IpOptions } else { Pass::NotIp });
        }
        if headers.u8::<PROTOCOL>() != PROTOCOL_UDP {
            return Err(Pass::NotUdp);
        }
        if headers.be16::<FRAGMENT>().wire() & IS_FRAGMENT.wire() != 0 {
            return Err(Pass::Fragment);
        }
        Ok(Self { headers })
    }

    #[inline(always)]
    fn leg_key(&self) -> LegKey {
        LegKey::new(self.headers.be32::<DESTINATION>(), self.headers.be16::<{ PORTS + 2 }>())
    }

    #[inline(always)]
    fn source(&self) -> Source {
        Source::new(self.source_v4(), self.headers.be16::<PORTS>())
    }

    #[inline(always)]
    fn source_address(&self) -> Ipv6 {
        Ipv6::mapped(self.source_v4())
    }

    #[inline(always)]
    fn local_address(&self) -> Ipv6 {
        Ipv6::mapped(self.headers.be32::<DESTINATION>())
    }

    #[inline(always)]
    fn comes_from(&self, _: &Ipv6) -> bool {
        true
    }

    #[inline(always)]
    fn is_for(&self, _: &Ipv6) -> bool {
        true
    }

    #[inline(always)]
    fn ip_length(&self) -> u32 {
        self.headers.be16::<TOTAL_LENGTH>().get() as u32
    }

    #[inline(always)]
    fn check(&self, available: usize) -> Result<(), Drop> {
        let ip_length = self.ip_length() as usize;
        let udp_length = usize::from(self.headers.be16::<UDP_LENGTH>().get());
        if udp_length < UDP || udp_length + IPV4 > ip_length || ip_length > available {
            return Err(Drop::LengthMismatch);
        }
        if checksum::fold(header_sum(&self.headers)) != 0xffff {
            return Err(Drop::BadChecksum);
        }
        if self.headers.u8::<TIME_TO_LIVE>() <= 1 {
            return Err(Drop::TtlExpired);
        }
        Ok(())
    }

    #[inline(always)]
    fn may_be_fragmented(&self) -> bool {
        self.headers.be16::<FRAGMENT>().wire() & DONT_FRAGMENT.wire() == 0
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
        let old = self.headers.be16::<0>();
        let explicit_congestion = old.get() & 0x03;
        let new = Be16::new(old.get() & 0xff00 | (dscp as u16 & 0x3f) << 2 | explicit_congestion);
        let checksum =
            Change::none().half(old.wire(), new.wire()).apply(self.headers.be16::<CHECKSUM>().wire());
        self.headers.set_be16::<0>(new);
        self.headers.set_be16::<CHECKSUM>(Be16::from_wire(checksum));
    }

    #[inline(always)]
    fn essence(&self) -> Essence {
        let (source, destination) = (self.source_v4(), self.headers.be32::<DESTINATION>());
        Essence {
            ports: self.headers.be32::<PORTS>(),
            udp_length: self.headers.be16::<UDP_LENGTH>(),
            checksum: self.headers.be16::<UDP_CHECKSUM>(),
            addresses: Sum::default().word(source).word(destination),
            traffic_class: self.headers.u8::<TYPE_OF_SERVICE>(),
            hops: self.headers.u8::<TIME_TO_LIVE>(),
            identification: self.headers.be16::<IDENTIFICATION>(),
            fragment: Be16::from_wire(self.headers.be16::<FRAGMENT>().wire() & DONT_FRAGMENT.wire()),
        }
    }
}
