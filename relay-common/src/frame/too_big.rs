//! Answers to packets that are larger than the way on takes, written in front of the packet's own headers, which the
//! answer quotes.

use super::ethernet::{ETHERNET, TAG};
use super::{ipv4, ipv6};
use crate::byte_order::{Be16, Be32};
use crate::checksum::Change;
use crate::packet::Packet;

/// Bytes of the packet that ICMP quotes: its IPv4 and UDP headers (RFC 792 asks for these).
pub const QUOTED_V4: usize = ipv4::HEADERS;
/// Bytes that the answer has in front of them: an IPv4 and an ICMP header.
pub const GROWTH_V4: usize = ipv4::IPV4 + ICMP;
/// Bytes of the packet that ICMPv6 quotes: its IPv6 and UDP headers, by which a sender knows its socket.
pub const QUOTED_V6: usize = ipv6::HEADERS;
/// Bytes that the answer has in front of them: an IPv6 and an ICMPv6 header.
pub const GROWTH_V6: usize = ipv6::IPV6 + ICMP;

/// Bytes of the ICMP header, of either version.
const ICMP: usize = 8;
const HOPS: u8 = 64;

const PROTOCOL_ICMP: u8 = 1;
/// Destination unreachable, fragmentation needed and DF set (RFC 792).
const FRAGMENTATION_NEEDED: Be16 = Be16::new(0x0304);

const PROTOCOL_ICMPV6: u8 = 58;
/// Packet too big (RFC 4443 section 3.2).
const PACKET_TOO_BIG: Be16 = Be16::new(0x0200);
/// No link may have less (RFC 8200 section 5).
const LEAST_MTU_V6: u32 = 1280;

/// The Ethernet header and tags of a packet, kept while the frame changes its length.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkHeader {
    macs: [Be32; 3],
    outer: Be32,
    inner: Be32,
    ethertype: Be16,
    length: usize,
}

impl LinkHeader {
    /// Reads it; the IP header starts at `offset`.
    #[inline(always)]
    pub fn of(packet: &Packet<'_>, offset: usize) -> Option<Self> {
        let header = packet.view::<ETHERNET>(0)?;
        let mut link = Self {
            macs: [header.be32::<0>(), header.be32::<4>(), header.be32::<8>()],
            ethertype: header.be16::<12>(),
            length: offset,
            ..Self::default()
        };
        if offset >= ETHERNET + TAG {
            let header = packet.view::<{ ETHERNET + TAG }>(0)?;
            link.outer = header.be32::<12>();
            link.ethertype = header.be16::<16>();
        }
        if offset >= ETHERNET + 2 * TAG {
            let header = packet.view::<{ ETHERNET + 2 * TAG }>(0)?;
            link.inner = header.be32::<16>();
            link.ethertype = header.be16::<20>();
        }
        Some(link)
    }

    /// Writes it back at the start of the frame, to where it came from.
    #[inline(always)]
    pub fn write_swapped(&self, packet: &Packet<'_>) -> Option<()> {
        let [a, b, c] = self.macs.map(Be32::get);
        let mut header = packet.view::<ETHERNET>(0)?;
        // Six bytes each, the source first: it becomes the destination.
        header.set_be32::<0>(Be32::new(b << 16 | c >> 16));
        header.set_be32::<4>(Be32::new(c << 16 | a >> 16));
        header.set_be32::<8>(Be32::new(a << 16 | b >> 16));
        if self.length < ETHERNET + TAG {
            header.set_be16::<12>(self.ethertype);
            return Some(());
        }
        if self.length < ETHERNET + 2 * TAG {
            let mut header = packet.view::<{ ETHERNET + TAG }>(0)?;
            header.set_be32::<12>(self.outer);
            header.set_be16::<16>(self.ethertype);
            return Some(());
        }
        let mut header = packet.view::<{ ETHERNET + 2 * TAG }>(0)?;
        header.set_be32::<12>(self.outer);
        header.set_be32::<16>(self.inner);
        header.set_be16::<20>(self.ethertype);
        Some(())
    }
}

/// Writes the IPv4 and ICMP headers at `offset`, [`GROWTH_V4`] bytes in front of the packet's own, of which
/// [`QUOTED_V4`] bytes are there. `None` if they are not.
#[inline(always)]
pub fn write_v4(packet: &Packet<'_>, offset: usize, mtu: u32) -> Option<()> {
    const LENGTH: Be16 = Be16::new(56);
    const {
        assert!(GROWTH_V4 + QUOTED_V4 == 56);
    }
    let mut view = packet.view::<{ GROWTH_V4 + QUOTED_V4 }>(offset)?;
    let (sender, ours) = (view.be32::<{ GROWTH_V4 + 12 }>(), view.be32::<{ GROWTH_V4 + 16 }>());
    let quoted = view.be32::<{ GROWTH_V4 }>().wire() as u64
        + view.be32::<{ GROWTH_V4 + 4 }>().wire() as u64
        + view.be32::<{ GROWTH_V4 + 8 }>().wire() as u64
        + sender.wire() as u64
        + ours.wire() as u64
        + view.be32::<{ GROWTH_V4 + 20 }>().wire() as u64
        + view.be32::<{ GROWTH_V4 + 24 }>().wire() as u64;
    let mtu = Be32::new(mtu & 0xffff);
    let icmp =
        Change::none().sum(quoted).half(0xffff, FRAGMENTATION_NEEDED.wire()).word(u32::MAX, mtu.wire());
    view.set_be16::<20>(FRAGMENTATION_NEEDED);
    view.set_be16::<22>(Be16::from_wire(icmp.apply(0xffff)));
    view.set_be32::<24>(mtu);

    let first = Be32::new(0x4500 << 16 | LENGTH.get() as u32);
    let hops = Be16::new((HOPS as u16) << 8 | PROTOCOL_ICMP as u16);
    let header = Change::none()
        .word(u32::MAX, first.wire())
        .half(0xffff, hops.wire())
        .word(u32::MAX, ours.wire())
        .word(u32::MAX, sender.wire());
    view.set_be32::<0>(first);
    view.set_be32::<4>(Be32::new(0));
    view.set_be16::<8>(hops);
    view.set_be16::<10>(Be16::from_wire(header.apply(0xffff)));
    view.set_be32::<12>(ours);
    view.set_be32::<16>(sender);
    Some(())
}

/// Writes the IPv6 and ICMPv6 headers at `offset`, [`GROWTH_V6`] bytes in front of the packet's own, of which
/// [`QUOTED_V6`] bytes are there. `None` if they are not.
#[inline(always)]
pub fn write_v6(packet: &Packet<'_>, offset: usize, mtu: u32) -> Option<()> {
    const LENGTH: u32 = 56;
    const {
        assert!(ICMP + QUOTED_V6 == 56);
    }
    let mut view = packet.view::<{ GROWTH_V6 + QUOTED_V6 }>(offset)?;
    let sender = [
        view.be32::<{ GROWTH_V6 + 8 }>(),
        view.be32::<{ GROWTH_V6 + 12 }>(),
        view.be32::<{ GROWTH_V6 + 16 }>(),
        view.be32::<{ GROWTH_V6 + 20 }>(),
    ];
    let ours = [
        view.be32::<{ GROWTH_V6 + 24 }>(),
        view.be32::<{ GROWTH_V6 + 28 }>(),
        view.be32::<{ GROWTH_V6 + 32 }>(),
        view.be32::<{ GROWTH_V6 + 36 }>(),
    ];
    let addresses = sum(&sender) + sum(&ours);
    let quoted = view.be32::<{ GROWTH_V6 }>().wire() as u64
        + view.be32::<{ GROWTH_V6 + 4 }>().wire() as u64
        + addresses
        + view.be32::<{ GROWTH_V6 + 40 }>().wire() as u64
        + view.be32::<{ GROWTH_V6 + 44 }>().wire() as u64;
    let mtu = Be32::new(if mtu < LEAST_MTU_V6 { LEAST_MTU_V6 } else { mtu });
    // The pseudo header of RFC 8200 section 8.1: both addresses, the length, and the protocol.
    let icmp = Change::none()
        .sum(quoted)
        .sum(addresses)
        .word(u32::MAX, Be32::new(LENGTH).wire())
        .word(u32::MAX, Be32::new(PROTOCOL_ICMPV6 as u32).wire())
        .half(0xffff, PACKET_TOO_BIG.wire())
        .word(u32::MAX, mtu.wire());
    view.set_be16::<40>(PACKET_TOO_BIG);
    view.set_be16::<42>(Be16::from_wire(icmp.apply(0xffff)));
    view.set_be32::<44>(mtu);

    view.set_be32::<0>(Be32::new(6 << 28));
    view.set_be32::<4>(Be32::new(LENGTH << 16 | (PROTOCOL_ICMPV6 as u32) << 8 | HOPS as u32));
    view.set_be32::<8>(ours[0]);
    view.set_be32::<12>(ours[1]);
    view.set_be32::<16>(ours[2]);
    view.set_be32::<20>(ours[3]);
    view.set_be32::<24>(sender[0]);
    view.set_be32::<28>(sender[1]);
    view.set_be32::<32>(sender[2]);
    view.set_be32::<36>(sender[3]);
    Some(())
}

#[inline(always)]
fn sum(words: &[Be32; 4]) -> u64 {
    words[0].wire() as u64 + words[1].wire() as u64 + words[2].wire() as u64 + words[3].wire() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv4Type, Icmpv6Type, NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};

    /// The answer to a frame whose IP header starts at `offset`, in the space of the kernel's program.
    fn answer(frame: &[u8], offset: usize, v6: bool) -> Vec<u8> {
        let (growth, quoted) = if v6 { (GROWTH_V6, QUOTED_V6) } else { (GROWTH_V4, QUOTED_V4) };
        let mut bytes = frame.to_vec();
        let link = LinkHeader::of(&Packet::new(&mut bytes), offset).unwrap();
        bytes.truncate(offset + quoted);
        bytes.splice(0..0, vec![0xee; growth]);
        let packet = Packet::new(&mut bytes);
        link.write_swapped(&packet).unwrap();
        if v6 { write_v6(&packet, offset, 1_400) } else { write_v4(&packet, offset, 1_400) }.unwrap();
        bytes
    }

    #[test]
    fn ipv4_is_told_the_mtu() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64);
        builder.udp(5000, 4000).write(&mut frame, &[7; 1_450]).unwrap();
        let answer = answer(&frame, ETHERNET, false);
        assert_eq!((&answer[..6], &answer[6..12]), (&[4; 6][..], &[2; 6][..]));
        let parsed = PacketHeaders::from_ethernet_slice(&answer).unwrap();
        let Some(NetHeaders::Ipv4(ip, _)) = parsed.net else { panic!("{parsed:?}") };
        assert_eq!((ip.source, ip.destination), ([10, 0, 0, 1], [10, 0, 0, 2]));
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let Some(TransportHeader::Icmpv4(icmp)) = parsed.transport else { panic!("{:?}", parsed.transport) };
        let needed = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1_400 };
        assert_eq!(icmp.icmp_type, Icmpv4Type::DestinationUnreachable(needed));
        assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(parsed.payload.slice()));
        assert_eq!(parsed.payload.slice(), &frame[ETHERNET..ETHERNET + QUOTED_V4]);
    }

    #[test]
    fn ipv6_is_told_the_mtu_behind_two_tags() {
        let (sender, ours) = ([0xfd; 16], [0xfe; 16]);
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([4; 6], [2; 6])
            .double_vlan(100.try_into().unwrap(), 200.try_into().unwrap())
            .ipv6(sender, ours, 64);
        builder.udp(5000, 4000).write(&mut frame, &[7; 1_450]).unwrap();
        let answer = answer(&frame, ETHERNET + 2 * TAG, true);
        assert_eq!(answer[12..22], frame[12..22], "the tags stay");
        let parsed = PacketHeaders::from_ethernet_slice(&answer).unwrap();
        let Some(NetHeaders::Ipv6(ip, _)) = parsed.net else { panic!("{parsed:?}") };
        assert_eq!((ip.source, ip.destination), (ours, sender));
        let Some(TransportHeader::Icmpv6(icmp)) = parsed.transport else { panic!("{:?}", parsed.transport) };
        assert_eq!(icmp.icmp_type, Icmpv6Type::PacketTooBig { mtu: 1_400 });
        let expected =
            icmp.icmp_type.calc_checksum(ip.source, ip.destination, parsed.payload.slice()).unwrap();
        assert_eq!(icmp.checksum, expected);
    }
}
