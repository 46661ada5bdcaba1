//! What came by TCP as a frame that might have come by UDP: Ethernet, IP and UDP headers around an RTP packet.

use std::net::{IpAddr, SocketAddr};

use relay_common::checksum::Change;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// As a terminal sends it.
const HOPS: u8 = 64;

/// MAC addresses of both ends of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Macs {
    pub(super) to: [u8; 6],
    pub(super) from: [u8; 6],
}

/// The headers of all packets of one connection, but for lengths and checksums.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Ethernet, IP and UDP.
    headers: Vec<u8>,
    is_v6: bool,
    /// Sum of what the UDP checksum covers and no packet changes: addresses, protocol and ports.
    sum: u64,
}

impl Template {
    /// Packets from one address and port to another; `None` if they are of two families.
    pub(super) fn new(macs: Macs, from: SocketAddr, to: SocketAddr) -> Option<Self> {
        let (mut headers, is_v6) = (Vec::with_capacity(ETHERNET + IPV6 + UDP), from.is_ipv6());
        headers.extend(macs.to);
        headers.extend(macs.from);
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                // It may be fragmented, as what came by TCP was cut without asking the way on.
                headers.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, PROTOCOL_UDP, 0, 0]);
                headers.extend(from.octets());
                headers.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                headers.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, PROTOCOL_UDP, HOPS]);
                headers.extend(from.octets());
                headers.extend(to.octets());
            }
            _ => return None,
        }
        let addresses = if is_v6 { ETHERNET + 8 } else { ETHERNET + 12 };
        let ports = headers.len();
        headers.extend(from.port().to_be_bytes());
        headers.extend(to.port().to_be_bytes());
        let sum =
            words(headers.get(addresses..).unwrap_or_default()) + u64::from(u16::from(PROTOCOL_UDP).to_be());
        headers.resize(ports + UDP, 0);
        Some(Self { headers, is_v6, sum })
    }

    /// Appends the frame with this payload. `None`, and nothing appended, if it is longer than a datagram may be.
    pub(super) fn write(&self, payload: &[u8], frames: &mut Vec<u8>) -> Option<()> {
        let udp_length = u16::try_from(UDP + payload.len()).ok()?;
        let total = if self.is_v6 { udp_length } else { udp_length.checked_add(IPV4_LENGTH)? };
        let start = frames.len();
        frames.extend_from_slice(&self.headers);
        frames.extend_from_slice(payload);
        let frame = frames.get_mut(start..)?;
        let ip = frame.get_mut(ETHERNET..)?;
        if self.is_v6 {
            put(ip, 4, total);
        } else {
            put(ip, 2, total);
            let header = ip.get(..IPV4).map(words).unwrap_or_default();
            put(ip, 10, u16::from_be(Change::none().sum(header).apply(u16::MAX)));
        }
        let at = if self.is_v6 { IPV6 } else { IPV4 };
        put(ip, at + 4, udp_length);
        // The length counts twice: in the header, and in front of it in thought (RFC 768).
        let sum = self.sum + 2 * u64::from(udp_length.to_be()) + words(payload);
        let checksum = match Change::none().sum(sum).apply(u16::MAX) {
            0 => u16::MAX,
            other => other,
        };
        put(ip, at + 6, u16::from_be(checksum));
        Some(())
    }
}

const IPV4_LENGTH: u16 = 20;

/// Sum of 16-bit words as they lie in memory; an odd byte at the end is followed by zero.
fn words(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum();
    sum + rest.first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])))
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(word.to_be_bytes()) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    use proptest::prelude::*;

    use super::*;

    const MACS: Macs = Macs { to: [2; 6], from: [4; 6] };

    proptest! {
        #[test]
        fn another_parser_reads_what_is_written(
            v6 in any::<bool>(),
            ports in any::<(u16, u16)>(),
            payload in prop::collection::vec(any::<u8>(), 0..3_000),
        ) {
            let [from, to]: [IpAddr; 2] = if v6 {
                ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()]
            } else {
                ["192.0.2.1".parse().unwrap(), "198.51.100.7".parse().unwrap()]
            };
            let template =
                Template::new(MACS, SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1)).unwrap();
            let mut frames = vec![9; 3];
            template.write(&payload, &mut frames).unwrap();
            let headers = PacketHeaders::from_ethernet_slice(&frames[3..]).unwrap();
            let Some(TransportHeader::Udp(udp)) = headers.transport else { panic!("{headers:?}") };
            prop_assert_eq!((udp.source_port, udp.destination_port), ports);
            prop_assert_eq!(headers.payload.slice(), &payload[..]);
            let expected = match headers.net.unwrap() {
                NetHeaders::Ipv4(header, _) => {
                    prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                    prop_assert_eq!((IpAddr::from(header.source), IpAddr::from(header.destination)), (from, to));
                    prop_assert!(!header.dont_fragment);
                    udp.calc_checksum_ipv4(&header, &payload).unwrap()
                }
                NetHeaders::Ipv6(header, _) => {
                    prop_assert_eq!((IpAddr::from(header.source), IpAddr::from(header.destination)), (from, to));
                    udp.calc_checksum_ipv6(&header, &payload).unwrap()
                }
                NetHeaders::Arp(_) => unreachable!(),
            };
            prop_assert_eq!(udp.checksum, expected);
        }
    }

    #[test]
    fn what_no_datagram_holds_is_refused() {
        let template =
            Template::new(MACS, "192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap()).unwrap();
        let mut frames = Vec::new();
        assert_eq!(template.write(&[0; 65_508], &mut frames), None);
        assert!(frames.is_empty());
        assert_eq!(template.write(&[0; 65_507], &mut frames), Some(()));
        let mixed = Template::new(MACS, "192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        assert!(mixed.is_none());
    }
}
