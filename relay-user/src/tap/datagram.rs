//! Makes a frame of what a socket has of a packet, so that a capture shows it like any other: the headers that the kernel
//! took off, or will put on, as far as they are known.

use std::net::{IpAddr, SocketAddr};

use relay_common::checksum::fold;
use relay_common::tap::LONGEST;

const ETHERNET: usize = 14;
const UDP: usize = 8;
/// Hops that a packet gets where the kernel chooses.
const HOPS: u8 = 64;
/// `IPPROTO_UDP`.
const PROTOCOL: u8 = 17;

/// A datagram of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    /// Of the same family.
    pub(super) to: SocketAddr,
    /// Type of service, or traffic class.
    pub(super) traffic_class: u8,
    /// Time to live, or hop limit, where it is known.
    pub(super) hops: Option<u8>,
    /// Bytes of the payload.
    pub(super) length: usize,
    /// The first of them.
    pub(super) payload: Box<[u8]>,
}

impl Datagram {
    /// The frame: its first bytes, and its length. MAC addresses are zero; the UDP checksum is too where the payload was not
    /// copied as a whole.
    pub(super) fn frame(&self) -> (Box<[u8]>, u32) {
        let udp_length = word(UDP + self.length);
        let hops = self.hops.unwrap_or(HOPS);
        let mut frame = Vec::with_capacity(LONGEST);
        frame.extend([0; ETHERNET - 2]);
        let addresses = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([8, 0, 0x45, self.traffic_class]);
                frame.extend(word(20 + UDP + self.length).to_be_bytes());
                frame.extend([0, 0, 0, 0, hops, PROTOCOL, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                if let Some(header) = frame.get_mut(ETHERNET..) {
                    let checksum = !sum(header, 0);
                    put(header, 10, checksum);
                }
                20 - 8..20
            }
            (from, to) => {
                frame.extend([0x86, 0xdd]);
                frame.extend((6 << 28 | u32::from(self.traffic_class) << 20).to_be_bytes());
                frame.extend(udp_length.to_be_bytes());
                frame.extend([PROTOCOL, hops]);
                for address in [from, to] {
                    let address = match address {
                        IpAddr::V4(address) => address.to_ipv6_mapped(),
                        IpAddr::V6(address) => address,
                    };
                    frame.extend(address.octets());
                }
                40 - 32..40
            }
        };
        let start = frame.len();
        for half in [self.from.port(), self.to.port(), udp_length, 0] {
            frame.extend(half.to_be_bytes());
        }
        let length = start + UDP + self.length;
        frame.extend(&*self.payload);
        if self.payload.len() == self.length {
            // The pseudo header (RFC 768, RFC 8200 section 8.1).
            let addresses =
                frame.get(ETHERNET + addresses.start..ETHERNET + addresses.end).unwrap_or_default();
            let pseudo = u64::from(u16::from(PROTOCOL).to_be()) + u64::from(udp_length.to_be());
            let pseudo = pseudo + u64::from(sum(addresses, 0));
            let datagram = frame.get_mut(start..).unwrap_or_default();
            let checksum = !sum(datagram, pseudo);
            put(datagram, 6, if checksum == 0 { u16::MAX } else { checksum });
        }
        frame.truncate(LONGEST);
        (frame.into(), u32::try_from(length).unwrap_or(u32::MAX))
    }
}

/// One's complement sum of bytes and of what was summed before, as it lies in memory.
fn sum(bytes: &[u8], before: u64) -> u16 {
    let (words, odd) = bytes.as_chunks::<2>();
    let last = odd.first().map_or(0, |byte| u64::from(u16::from_ne_bytes([*byte, 0])));
    fold(words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>() + before + last)
}

fn put(bytes: &mut [u8], at: usize, checksum: u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = checksum.to_ne_bytes();
    }
}

/// A length: those of datagrams have sixteen bits.
fn word(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};

    fn datagram(from: &str, to: &str, payload: &[u8]) -> Datagram {
        Datagram {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            traffic_class: 0xb8,
            hops: Some(9),
            length: payload.len(),
            payload: payload.into(),
        }
    }

    #[test]
    fn headers_are_those_that_the_kernel_took_off() {
        for (from, to) in [("10.0.0.1:4000", "10.0.0.2:5000"), ("[fd00::1]:4000", "[fd00::2]:5000")] {
            for payload in [&b"seven b"[..], b"eight by", b""] {
                let datagram = datagram(from, to, payload);
                let (frame, length) = datagram.frame();
                assert_eq!(u32::try_from(frame.len()), Ok(length));
                let parsed = PacketHeaders::from_ethernet_slice(&frame).unwrap();
                let udp = parsed.transport.and_then(TransportHeader::udp).unwrap();
                assert_eq!((udp.source_port, udp.destination_port), (4000, 5000));
                assert_eq!(parsed.payload.slice(), payload);
                let (checksum, hops, class) = match parsed.net.unwrap() {
                    NetHeaders::Ipv4(ip, _) => {
                        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        assert_eq!(IpAddr::from(ip.source), datagram.from.ip());
                        assert_eq!(IpAddr::from(ip.destination), datagram.to.ip());
                        (udp.calc_checksum_ipv4(&ip, payload), ip.time_to_live, ip.dscp.value())
                    }
                    NetHeaders::Ipv6(ip, _) => {
                        assert_eq!(IpAddr::from(ip.source), datagram.from.ip());
                        assert_eq!(IpAddr::from(ip.destination), datagram.to.ip());
                        (udp.calc_checksum_ipv6(&ip, payload), ip.hop_limit, ip.traffic_class >> 2)
                    }
                    NetHeaders::Arp(_) => unreachable!(),
                };
                assert_eq!((Ok(udp.checksum), hops, class), (checksum, 9, 46));
            }
        }
    }

    #[test]
    fn of_a_long_datagram_the_beginning_is_there_and_the_length_told() {
        let long = Datagram {
            length: 60_000,
            payload: vec![1; LONGEST].into(),
            ..datagram("10.0.0.1:4000", "10.0.0.2:5000", b"")
        };
        let (frame, length) = long.frame();
        assert_eq!((frame.len(), length), (LONGEST, 60_042));
        assert_eq!(frame[16..18], 60_028_u16.to_be_bytes());
        assert_eq!(frame[40..42], [0, 0], "no checksum");
    }
}
