//! An Ethernet frame that carries an unfragmented UDP datagram over IPv4 without options: the only kind of frame that
//! is rewritten in XDP; all others take the kernel path.

use crate::byte_order::{Be16, Be32};
use crate::checksum::Change;
use crate::leg::{Destination, LegKey, Source};
use crate::packet::{Packet, View};
use crate::verdict::{Drop, Pass};

/// Bytes of the Ethernet header.
pub const ETHERNET: usize = 14;
/// Bytes of the IPv4 header without options.
const IPV4: usize = 20;
/// Bytes of the UDP header.
const UDP: usize = 8;
/// Bytes of all three headers: where the payload starts.
pub const HEADERS: usize = ETHERNET + IPV4 + UDP;

const ETHERTYPE: usize = 12;
const VERSION_AND_LENGTH: usize = ETHERNET;
const TOTAL_LENGTH: usize = ETHERNET + 2;
const FRAGMENT: usize = ETHERNET + 6;
const TIME_TO_LIVE: usize = ETHERNET + 8;
const PROTOCOL: usize = ETHERNET + 9;
const IPV4_CHECKSUM: usize = ETHERNET + 10;
const SOURCE: usize = ETHERNET + 12;
const DESTINATION: usize = ETHERNET + 16;
const PORTS: usize = ETHERNET + IPV4;
const DESTINATION_PORT: usize = PORTS + 2;
const UDP_LENGTH: usize = PORTS + 4;
const UDP_CHECKSUM: usize = PORTS + 6;

const ETHERTYPE_IPV4: Be16 = Be16::new(0x0800);
const VERSION_4_NO_OPTIONS: u8 = 0x45;
/// "More fragments" and the fragment offset; "don't fragment" is no fragment.
const IS_FRAGMENT: Be16 = Be16::new(0x3fff);
const PROTOCOL_UDP: u8 = 17;

/// The headers of such a frame.
#[derive(Debug)]
pub struct UdpFrame<'a> {
    headers: View<'a, HEADERS>,
}

/// What replaces the addresses of a frame that is sent on.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    /// Destination and source MAC address, as in [`crate::next_hop::NextHop::macs`].
    pub macs: [Be32; 3],
    /// Source address.
    pub origin: Be32,
    /// Destination address and both ports.
    pub destination: Destination,
}

impl<'a> UdpFrame<'a> {
    /// Recognises such a frame.
    ///
    /// # Errors
    /// Why the frame belongs to the kernel's network stack.
    #[inline(always)]
    pub fn parse(packet: &Packet<'a>) -> Result<Self, Pass> {
        let Some(headers) = packet.view::<HEADERS>(0) else {
            return Err(Pass::TooShort);
        };
        if headers.be16::<ETHERTYPE>() != ETHERTYPE_IPV4 {
            return Err(Pass::NotIp);
        }
        let version_and_length = headers.u8::<VERSION_AND_LENGTH>();
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

    /// Which leg the frame is addressed to.
    #[inline(always)]
    pub fn leg_key(&self) -> LegKey {
        LegKey::new(self.headers.be32::<DESTINATION>(), self.headers.be16::<DESTINATION_PORT>())
    }

    /// Where the frame comes from.
    #[inline(always)]
    pub fn source(&self) -> Source {
        Source::new(self.source_address(), self.source_port())
    }

    /// Address that the frame comes from.
    #[inline(always)]
    pub fn source_address(&self) -> Be32 {
        self.headers.be32::<SOURCE>()
    }

    /// Port that the frame comes from.
    #[inline(always)]
    pub fn source_port(&self) -> Be16 {
        self.headers.be16::<PORTS>()
    }

    /// Length of the IP packet in bytes, as its header says.
    #[inline(always)]
    pub fn ip_length(&self) -> u32 {
        self.headers.be16::<TOTAL_LENGTH>().get() as u32
    }

    /// Checks what a router must check before it sends a packet on (RFC 1812 section 5.2.2): lengths that agree with
    /// each other and with a frame of `frame_length` bytes, which may be padded, and a time to live that allows one
    /// more hop.
    ///
    /// # Errors
    /// The reason to drop the packet.
    #[inline(always)]
    pub fn check(&self, frame_length: usize) -> Result<(), Drop> {
        let ip_length = self.ip_length() as usize;
        let udp_length = usize::from(self.headers.be16::<UDP_LENGTH>().get());
        if udp_length < UDP || udp_length + IPV4 > ip_length || ip_length + ETHERNET > frame_length {
            return Err(Drop::LengthMismatch);
        }
        if self.headers.u8::<TIME_TO_LIVE>() <= 1 {
            return Err(Drop::TtlExpired);
        }
        Ok(())
    }

    /// Gives the frame its new addresses, takes one hop from its time to live, and updates both checksums.
    #[inline(always)]
    pub fn rewrite(&mut self, rewrite: &Rewrite) {
        let headers = &mut self.headers;
        let addresses = Change::none()
            .word(headers.be32::<SOURCE>().wire(), rewrite.origin.wire())
            .word(headers.be32::<DESTINATION>().wire(), rewrite.destination.address.wire());
        let udp = addresses.word(headers.be32::<PORTS>().wire(), rewrite.destination.ports.wire());

        // Time to live and protocol are one word of the checksum.
        let hops = headers.be16::<TIME_TO_LIVE>();
        let fewer = Be16::from_wire(hops.wire().wrapping_sub(Be16::new(1 << 8).wire()));
        let ipv4 = addresses.half(hops.wire(), fewer.wire());

        headers
            .set_be16::<UDP_CHECKSUM>(Be16::from_wire(udp.apply_udp(headers.be16::<UDP_CHECKSUM>().wire())));
        headers
            .set_be16::<IPV4_CHECKSUM>(Be16::from_wire(ipv4.apply(headers.be16::<IPV4_CHECKSUM>().wire())));
        headers.set_be16::<TIME_TO_LIVE>(fewer);
        headers.set_be32::<SOURCE>(rewrite.origin);
        headers.set_be32::<DESTINATION>(rewrite.destination.address);
        headers.set_be32::<PORTS>(rewrite.destination.ports);
        headers.set_be32::<0>(rewrite.macs[0]);
        headers.set_be32::<4>(rewrite.macs[1]);
        headers.set_be32::<8>(rewrite.macs[2]);
    }
}
