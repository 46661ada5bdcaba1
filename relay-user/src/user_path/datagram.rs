//! A datagram as a socket gives it, in the terms of the decision core: addresses and a payload, and no headers.

use std::net::{IpAddr, SocketAddr};

use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::checksum::Change;
use relay_common::frame::{Datagram, Essence, Sum, UDP};
use relay_common::leg::{LegKey, Source};
use relay_common::packet::Packet;
use relay_common::verdict::{Drop, Pass};

/// Bytes of the IPv4 header.
const IPV4: usize = 20;
/// Bytes of the IPv6 header.
const IPV6: usize = 40;
/// Bytes of the Ethernet header, which statistics count.
const ETHERNET: usize = 14;

/// The headers that the kernel has taken off.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketDatagram<const V6: bool> {
    source: Ipv6,
    local: Ipv6,
    source_port: Be16,
    local_port: Be16,
    traffic_class: u8,
    hops: Option<u8>,
    ip_length: u32,
}

impl<const V6: bool> SocketDatagram<V6> {
    /// Bytes of all headers in front of a payload.
    pub(super) const HEADERS: usize = ETHERNET + if V6 { IPV6 } else { IPV4 } + UDP;

    /// From what the kernel tells of it.
    pub(super) fn new(
        source: SocketAddr,
        local: SocketAddr,
        traffic_class: u8,
        hops: Option<u8>,
        payload: usize,
    ) -> Self {
        Self {
            source: ipv6(source.ip()),
            local: ipv6(local.ip()),
            source_port: Be16::new(source.port()),
            local_port: Be16::new(local.port()),
            traffic_class,
            hops,
            // A payload of a datagram is shorter than 2^16 bytes.
            ip_length: u32::try_from(payload + Self::HEADERS - ETHERNET).unwrap_or(u32::MAX),
        }
    }

    /// Type of service, or traffic class, that it is to leave with.
    pub(super) fn traffic_class(&self) -> u8 {
        self.traffic_class
    }

    /// The IPv4 address in the form ::ffff:a.b.c.d.
    fn v4(address: &Ipv6) -> Be32 {
        address.0[3]
    }
}

impl<'a, const V6: bool> Datagram<'a> for SocketDatagram<V6> {
    /// Its payload is all that there is.
    const HEADERS: usize = 0;
    const V6: bool = V6;

    /// Never: a socket gives no headers.
    fn parse(_: &Packet<'a>, _: usize) -> Result<Self, Pass> {
        Err(Pass::TooShort)
    }

    fn leg_key(&self) -> LegKey {
        if V6 {
            LegKey::v6(&self.local, self.local_port)
        } else {
            LegKey::new(Self::v4(&self.local), self.local_port)
        }
    }

    fn source(&self) -> Source {
        if V6 {
            Source::v6(&self.source, self.source_port)
        } else {
            Source::new(Self::v4(&self.source), self.source_port)
        }
    }

    fn source_address(&self) -> Ipv6 {
        self.source
    }

    fn local_address(&self) -> Ipv6 {
        self.local
    }

    fn comes_from(&self, address: &Ipv6) -> bool {
        !V6 || self.source == *address
    }

    fn is_for(&self, address: &Ipv6) -> bool {
        !V6 || self.local == *address
    }

    fn ip_length(&self) -> u32 {
        self.ip_length
    }

    /// The kernel has checked lengths and checksums.
    fn check(&self, _: usize) -> Result<(), Drop> {
        if self.hops.is_some_and(|hops| hops <= 1) { Err(Drop::TtlExpired) } else { Ok(()) }
    }

    fn may_be_fragmented(&self) -> bool {
        true
    }

    fn has_checksum(&self) -> bool {
        true
    }

    /// The kernel sums anew.
    fn payload_changed(&mut self, _: Change) {}

    fn set_dscp(&mut self, dscp: u8) {
        self.traffic_class = dscp << 2 | self.traffic_class & 3;
    }

    fn essence(&self) -> Essence {
        let [a, b] = self.source_port.wire().to_ne_bytes();
        let [c, d] = self.local_port.wire().to_ne_bytes();
        Essence {
            ports: Be32::from_wire(u32::from_ne_bytes([a, b, c, d])),
            addresses: Sum::default().address(&self.source).address(&self.local),
            traffic_class: self.traffic_class,
            hops: self.hops.unwrap_or_default(),
            ..Essence::default()
        }
    }
}

fn ipv6(address: IpAddr) -> Ipv6 {
    match address {
        IpAddr::V4(address) => Ipv6::mapped(Be32::new(address.to_bits())),
        IpAddr::V6(address) => Ipv6::from_octets(address.octets()),
    }
}
