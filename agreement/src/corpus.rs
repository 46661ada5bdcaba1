//! The frames that everything starts from, made by a library that is not ours.

use anyhow::{Context, Result};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader, VlanId,
};

use crate::regressions;
use crate::shared::frame::Frame;

/// The terminal's and the relay's addresses in every frame.
const IPV4: [[u8; 4]; 2] = [[10, 78, 1, 2], [10, 78, 1, 1]];
const IPV6: [[u8; 16]; 2] = [
    [0xfd, 0x78, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    [0xfd, 0x78, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
];
const PORTS: [u16; 2] = [5004, 30000];

/// What is in front of the IP header: EtherTypes of the tags. The untagged are twice as many.
const TAGS: [&[u16]; 5] = [&[], &[], &[0x8100], &[0x88a8, 0x8100], &[0x8100, 0x8100]];

/// Frames of every kind that the core tells apart: IPv4 and IPv6, untagged to doubly tagged, RTP, RTCP, other payloads,
/// with and without UDP checksum, at the end of their hops, fragments, options, extension headers, other protocols.
///
/// # Errors
/// The library refused to make one: a mistake in this file.
pub fn corpus() -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    for tags in TAGS {
        for payload in payloads() {
            for checksum in [true, false] {
                frames.push(ipv4(tags, &payload, checksum, |ip| ip.dont_fragment = checksum)?);
                frames.push(ipv6(tags, &payload, checksum, |_| ())?);
            }
        }
        let rtp = rtp(20);
        for hops in [0, 1, 2, 255] {
            frames.push(ipv4(tags, &rtp, true, |ip| ip.time_to_live = hops)?);
            frames.push(ipv6(tags, &rtp, true, |ip| ip.hop_limit = hops)?);
        }
        // From addresses that no sender has.
        frames.push(ipv4(tags, &rtp, true, |ip| ip.source = [127, 0, 0, 1])?);
        frames.push(ipv6(tags, &rtp, true, |ip| ip.source = [0xff; 16])?);
        frames.push(ipv4(tags, &rtp, true, |ip| ip.more_fragments = true)?);
        frames.push(ipv4(tags, &rtp, true, |ip| ip.protocol = IpNumber::TCP)?);
        for next in [0, 43, 44, 60, 58, 6] {
            frames.push(ipv6(tags, &rtp, true, |ip| ip.next_header = IpNumber(next))?);
        }
    }
    frames.push(options()?);
    frames.push(tcp()?);
    // Address resolution: who has 10.78.1.1?
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[4; 6], &IPV4[0], &[0; 6], &IPV4[1]].concat();
    frames.push(whole(&[], EtherType::ARP, &arp)?);
    Ok(frames)
}

/// What terminals send to a media port.
fn payloads() -> [Vec<u8>; 7] {
    let mut marked = rtp(33);
    marked[1] |= 0x80;
    let sender_report = [&[0x80, 200, 0, 6, 0x11, 0x22, 0x33, 0x44][..], &[7; 20]].concat();
    let receiver_report = [0x80, 201, 0, 1, 0x11, 0x22, 0x33, 0x44].to_vec();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
    [rtp(0), rtp(160), marked, sender_report, receiver_report, stun, Vec::new()]
}

/// An RTP packet of payload type 96 with so many bytes of payload.
fn rtp(payload: usize) -> Vec<u8> {
    let header = [0x80, 96, 0x12, 0x34, 0, 0, 0x0e, 0x10, 0x11, 0x22, 0x33, 0x44];
    header.into_iter().chain((0..payload).map(|at| at.to_le_bytes()[0])).collect()
}

fn ipv4(tags: &[u16], payload: &[u8], checksum: bool, bend: impl FnOnce(&mut Ipv4Header)) -> Result<Frame> {
    let length = u16::try_from(UdpHeader::LEN + payload.len())?;
    let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, IPV4[0], IPV4[1])?;
    bend(&mut ip);
    ip.header_checksum = ip.calc_header_checksum();
    let mut udp = udp(length);
    if checksum {
        udp.checksum = udp.calc_checksum_ipv4(&ip, payload)?;
    }
    let mut bytes = Vec::new();
    ip.write(&mut bytes)?;
    udp.write(&mut bytes)?;
    bytes.extend(payload);
    whole(tags, EtherType::IPV4, &bytes)
}

fn ipv6(tags: &[u16], payload: &[u8], checksum: bool, bend: impl FnOnce(&mut Ipv6Header)) -> Result<Frame> {
    let length = u16::try_from(UdpHeader::LEN + payload.len())?;
    let mut ip = Ipv6Header {
        payload_length: length,
        next_header: IpNumber::UDP,
        hop_limit: 64,
        source: IPV6[0],
        destination: IPV6[1],
        ..Ipv6Header::default()
    };
    let mut udp = udp(length);
    if checksum {
        udp.checksum = udp.calc_checksum_ipv6(&ip, payload)?;
    }
    bend(&mut ip);
    let mut bytes = Vec::new();
    ip.write(&mut bytes)?;
    udp.write(&mut bytes)?;
    bytes.extend(payload);
    whole(tags, EtherType::IPV6, &bytes)
}

fn udp(length: u16) -> UdpHeader {
    UdpHeader { source_port: PORTS[0], destination_port: PORTS[1], length, checksum: 0 }
}

/// IPv4 with options.
fn options() -> Result<Frame> {
    let payload = rtp(20);
    let length = u16::try_from(UdpHeader::LEN + payload.len())?;
    let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, IPV4[0], IPV4[1])?;
    ip.options = [1, 1, 1, 0].into();
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = Vec::new();
    ip.write(&mut bytes)?;
    udp(length).write(&mut bytes)?;
    bytes.extend(payload);
    whole(&[], EtherType::IPV4, &bytes)
}

/// TCP, which is nothing to us.
fn tcp() -> Result<Frame> {
    let header = TcpHeader::new(PORTS[0], PORTS[1], 1, 1024);
    let ip = Ipv4Header::new(u16::try_from(header.header_len())?, 64, IpNumber::TCP, IPV4[0], IPV4[1])?;
    let mut bytes = Vec::new();
    ip.write(&mut bytes)?;
    header.write(&mut bytes)?;
    whole(&[], EtherType::IPV4, &bytes)
}

/// Ethernet and tags in front of a packet.
fn whole(tags: &[u16], ether_type: EtherType, packet: &[u8]) -> Result<Frame> {
    let mut types = tags.iter().map(|tag| EtherType(*tag)).chain([ether_type]);
    let mut bytes = Vec::new();
    let first = types.next().context("every frame has an EtherType")?;
    Ethernet2Header { source: [4; 6], destination: [2; 6], ether_type: first }.write(&mut bytes)?;
    for (at, ether_type) in types.enumerate() {
        let vlan_id = VlanId::try_new(100 + u16::try_from(at)?)?;
        etherparse::SingleVlanHeader { vlan_id, ether_type, ..Default::default() }.write(&mut bytes)?;
    }
    bytes.extend(packet);
    regressions::frame(&bytes).context("a template has as many bytes as a frame of this test may have")
}
