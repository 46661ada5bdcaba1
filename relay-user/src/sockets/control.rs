//! Control messages (cmsg(3)): what the kernel tells of a datagram beside its bytes, and what we ask for one that we
//! send.

use std::net::{IpAddr, SocketAddr};

use super::name::SocketName;

/// `struct cmsghdr` on 64-bit machines: length, level, type.
const HEADER: usize = 16;
/// Control messages begin at multiples of this.
const ALIGNMENT: usize = 8;
/// Room for every control message that is asked for, of either family.
const CAPACITY: usize = 256;

const _: () =
    assert!(size_of::<libc::cmsghdr>() == HEADER, "control messages are laid out for 64-bit machines");

/// What is said beside the bytes of one datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// What the kernel told of a datagram; what it did not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Bytes of each packet but the last, if the datagram is many packets in one (UDP_GRO).
    pub(super) segment: Option<usize>,
    /// Type of service, or traffic class: DSCP in the upper six bits, ECN in the lower two.
    pub(super) traffic_class: Option<u8>,
    /// Time to live, or hop limit.
    pub(super) hops: Option<u8>,
    /// Address and port that it was sent to.
    pub(super) destination: Option<SocketAddr>,
    /// Datagrams that this socket had no room for, since it was made.
    pub(super) overflowed: Option<u32>,
}

impl Control {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { bytes: [0; CAPACITY], length: 0 };
    /// Bytes that the kernel may write.
    pub(super) const CAPACITY: usize = CAPACITY;

    /// Packets of `bytes` each are to be made of what is sent (UDP_SEGMENT).
    pub(super) fn segment(&mut self, bytes: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
    }

    /// Type of service, or traffic class, of what is sent.
    pub(super) fn traffic_class(&mut self, to: IpAddr, class: u8) {
        let (level, kind) = match to {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        self.push(level, kind, &i32::from(class).to_ne_bytes());
    }

    /// Time to live, or hop limit, of what is sent.
    pub(super) fn hops(&mut self, to: IpAddr, hops: u8) {
        let (level, kind) = match to {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        };
        self.push(level, kind, &i32::from(hops).to_ne_bytes());
    }

    /// The address of ours that it leaves from (`struct in_pktinfo`, `struct in6_pktinfo`); the interface is the route's.
    pub(super) fn origin(&mut self, origin: IpAddr) {
        match origin {
            IpAddr::V4(origin) => {
                let mut information = [0; 12];
                information[4..8].copy_from_slice(&origin.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &information);
            }
            IpAddr::V6(origin) => {
                let mut information = [0; 20];
                information[..16].copy_from_slice(&origin.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &information);
            }
        }
    }

    /// Appends a control message. All that are ever sent together fit: see the test.
    fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let end = self.length + HEADER + data.len();
        let Some(room) = self.bytes.get_mut(self.length..end) else { return };
        let (header, rest) = room.split_at_mut(HEADER);
        header[..8].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        header[8..12].copy_from_slice(&level.to_ne_bytes());
        header[12..].copy_from_slice(&kind.to_ne_bytes());
        rest.copy_from_slice(data);
        self.length = end.next_multiple_of(ALIGNMENT);
    }

    /// Reads what the kernel wrote. What is cut off or unknown is skipped.
    pub(super) fn told(&self) -> Told {
        let mut told = Told::default();
        let mut rest = self.bytes.get(..self.length).unwrap_or_default();
        while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
            let [length @ .., _, _, _, _, _, _, _, _] = header;
            let length = usize::from_ne_bytes(*length);
            let Some(data) = rest.get(HEADER..length) else { break };
            let [_, _, _, _, _, _, _, _, level @ .., _, _, _, _] = header;
            let [_, _, _, _, _, _, _, _, _, _, _, _, kind @ ..] = header;
            match (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    told.segment = int(data).and_then(|bytes| usize::try_from(bytes).ok());
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => told.traffic_class = data.first().copied(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => told.traffic_class = byte(data),
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    told.hops = byte(data);
                }
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                    told.destination = SocketName::parse(data);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.overflowed = int(data).map(i32::cast_unsigned);
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
        told
    }

    /// Where system calls read or write.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Bytes in use.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Says how much the kernel wrote.
    pub(super) fn set_length(&mut self, length: usize) {
        self.length = length.min(CAPACITY);
    }
}

fn int(data: &[u8]) -> Option<i32> {
    data.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

fn byte(data: &[u8]) -> Option<u8> {
    int(data).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_sent_together_fits() {
        let origin: IpAddr = "fd78:1::1".parse().unwrap();
        let mut control = Control::EMPTY;
        control.segment(1200);
        control.traffic_class(origin, 0xb8);
        control.hops(origin, 63);
        control.origin(origin);
        let told = control.told();
        assert_eq!((told.traffic_class, told.hops), (Some(0xb8), Some(63)));
        assert_eq!(control.length(), 24 + 24 + 24 + 40);
    }

    #[test]
    fn what_is_cut_off_is_skipped() {
        let mut whole = Control::EMPTY;
        whole.traffic_class("fd78:1::1".parse().unwrap(), 4);
        for length in 0..20 {
            let mut cut = whole;
            cut.set_length(length);
            assert_eq!(cut.told(), Told::default(), "{length}");
        }
        assert_eq!(whole.told().traffic_class, Some(4));
    }

    #[test]
    fn a_message_that_claims_less_than_its_header_ends_the_reading() {
        let mut control = Control::EMPTY;
        control.push(libc::IPPROTO_IP, libc::IP_TTL, &[1, 0, 0, 0]);
        control.bytes[0] = 3;
        assert_eq!(control.told(), Told::default());
    }
}
