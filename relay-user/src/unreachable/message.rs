//! What an ICMP "destination unreachable" is about: the UDP datagram whose headers it quotes (RFC 792, RFC 4443 section 3.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Types of the messages.
pub(super) const UNREACHABLE_V4: u8 = 3;
pub(super) const UNREACHABLE_V6: u8 = 1;

/// Code of IPv4: a packet was too big and could not be fragmented, which says nothing of the receiver.
const FRAGMENTATION_NEEDED: u8 = 4;

/// Bytes of the header of ICMP, in front of what is quoted.
const ICMP: usize = 8;
const IPV6: usize = 40;
const UDP: u8 = 17;

/// The datagram that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    /// Its source: one of our legs, if it was ours.
    pub(super) from: SocketAddr,
    /// Its destination.
    pub(super) to: SocketAddr,
}

/// From an IPv4 packet, as a raw socket gives it.
pub(super) fn v4(packet: &[u8]) -> Option<Quoted> {
    let message = packet.get(header(packet)?..)?;
    let [UNREACHABLE_V4, code, ..] = *message else { return None };
    let quoted = message.get(ICMP..)?;
    let datagram = quoted.get(header(quoted)?..)?;
    let is_first = u16::from_be_bytes(*quoted.get(6..)?.first_chunk()?) & 0x1fff == 0;
    if code == FRAGMENTATION_NEEDED || *quoted.get(9)? != UDP || !is_first {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*quoted.get(at..)?.first_chunk::<4>()?)));
    between(address(12)?, address(16)?, datagram)
}

/// From the payload of an IPv6 packet, as a raw socket gives it. What is quoted has no extension headers: we send none.
pub(super) fn v6(message: &[u8]) -> Option<Quoted> {
    let [UNREACHABLE_V6, ..] = *message else { return None };
    let quoted = message.get(ICMP..)?;
    if quoted.first()? >> 4 != 6 || *quoted.get(6)? != UDP {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*quoted.get(at..)?.first_chunk::<16>()?)));
    between(address(8)?, address(24)?, quoted.get(IPV6..)?)
}

/// Bytes of an IPv4 header.
fn header(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    (first >> 4 == 4).then_some(usize::from(first & 0xf) * 4)
}

/// The ends of a datagram that begins with these ports.
fn between(from: IpAddr, to: IpAddr, datagram: &[u8]) -> Option<Quoted> {
    let [a, b, c, d] = *datagram.first_chunk()?;
    Some(Quoted {
        from: SocketAddr::new(from, u16::from_be_bytes([a, b])),
        to: SocketAddr::new(to, u16::from_be_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of IPv4 with an option in its own header.
    fn message_v4(code: u8) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1, 1, 1, 1, 1];
        packet.extend([UNREACHABLE_V4, code, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0x27, 0x10, 0x13, 0x8c, 0, 20, 0, 0]);
        packet
    }

    fn message_v6() -> Vec<u8> {
        let mut message = vec![UNREACHABLE_V6, 4, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 8, 17, 64];
        for last in [1, 2] {
            let mut address = [0; 16];
            (address[0], address[15]) = (0xfd, last);
            message.extend(address);
        }
        message.extend([0x27, 0x10, 0x13, 0x8c, 0, 8, 0, 0]);
        message
    }

    fn quoted(from: &str, to: &str) -> Option<Quoted> {
        Some(Quoted { from: from.parse().unwrap(), to: to.parse().unwrap() })
    }

    #[test]
    fn both_ends_of_the_quoted_datagram_are_found() {
        assert_eq!(v4(&message_v4(3)), quoted("10.0.0.1:10000", "10.0.0.2:5004"));
        assert_eq!(v6(&message_v6()), quoted("[fd00::1]:10000", "[fd00::2]:5004"));
    }

    #[test]
    fn what_says_nothing_of_a_receiver_is_left_alone() {
        assert_eq!(v4(&message_v4(FRAGMENTATION_NEEDED)), None);
        // Another message, TCP, a later fragment.
        for (at, value) in [(24, 11), (24 + 8 + 9, 6), (24 + 8 + 7, 1)] {
            let mut message = message_v4(3);
            message[at] = value;
            assert_eq!(v4(&message), None, "{at}");
        }
        for (at, value) in [(0, 2), (8, 0x40), (8 + 6, 44)] {
            let mut message = message_v6();
            message[at] = value;
            assert_eq!(v6(&message), None, "{at}");
        }
    }

    #[test]
    fn messages_of_any_length_are_read_without_surprise() {
        let (whole_v4, whole_v6) = (message_v4(3), message_v6());
        for length in 0..whole_v4.len() - 4 {
            assert_eq!(v4(&whole_v4[..length]), None);
        }
        for length in 0..whole_v6.len() - 4 {
            assert_eq!(v6(&whole_v6[..length]), None);
        }
        // Headers that say they are longer, or shorter, than they can be.
        for (at, length) in [(0, 0x4f), (24 + 8, 0x4f)] {
            let mut message = whole_v4.clone();
            message[at] = length;
            assert_eq!(v4(&message), None);
        }
    }
}
