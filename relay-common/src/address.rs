//! IPv6 addresses as they lie in packets.

use crate::byte_order::Be32;

/// An IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ipv6(pub [Be32; 4]);

impl Ipv6 {
    /// From its 16 bytes.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            Be32::from_wire(u32::from_ne_bytes([a, b, c, d])),
            Be32::from_wire(u32::from_ne_bytes([e, f, g, h])),
            Be32::from_wire(u32::from_ne_bytes([i, j, k, l])),
            Be32::from_wire(u32::from_ne_bytes([m, n, o, p])),
        ])
    }

    /// An IPv4 address in the form ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2): the one form for both in maps and events.
    #[inline(always)]
    pub const fn mapped(address: Be32) -> Self {
        Self([Be32::new(0), Be32::new(0), Be32::new(0xffff), address])
    }

    /// Its 16 bytes.
    pub fn octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        for (place, word) in octets.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.wire().to_ne_bytes());
        }
        octets
    }

    /// 32 bits of it, for finding; comparing takes the whole address.
    #[inline(always)]
    pub const fn fold(&self) -> Be32 {
        let [a, b, c, d] = self.0;
        Be32::from_wire(a.wire() ^ b.wire() ^ c.wire() ^ d.wire())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_back() {
        let octets = [0xfd, 0x78, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(Ipv6::from_octets(octets).octets(), octets);
        assert_eq!(Ipv6::mapped(Be32::new(0x0a00_0001)).octets()[10..], [0xff, 0xff, 10, 0, 0, 1]);
    }
}
