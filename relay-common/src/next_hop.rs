//! A resolved egress: where a packet goes on layer 2.

use crate::byte_order::Be32;

/// A next hop has its addresses; without this bit its packets are dropped and resolution is asked for.
pub const RESOLVED: u32 = 1;

/// One record of the `NEXT_HOPS` map. Many legs point to one next hop, so that a changed neighbour is one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NextHop {
    /// Destination and source MAC address, twelve bytes as they lie in the Ethernet header.
    pub macs: [Be32; 3],
    /// Slot of the egress device in the `DEVICES` map.
    pub device: u32,
    /// Largest IP packet that the device takes, in bytes.
    pub mtu: u32,
    /// [`RESOLVED`] or 0.
    pub state: u32,
    /// Keeps two records in one cache line.
    pub reserved: [u32; 2],
}

impl NextHop {
    /// A next hop whose addresses are known.
    pub fn resolved(destination: [u8; 6], source: [u8; 6], device: u32, mtu: u32) -> Self {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l]];
        Self {
            macs: words.map(|word| Be32::from_wire(u32::from_ne_bytes(word))),
            device,
            mtu,
            state: RESOLVED,
            reserved: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_records_fill_a_cache_line() {
        assert_eq!(size_of::<NextHop>(), 32);
    }

    #[test]
    fn the_words_are_the_bytes_of_the_header() {
        let hop = NextHop::resolved([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], 0, 1500);
        let bytes: Vec<u8> = hop.macs.iter().flat_map(|word| word.wire().to_ne_bytes()).collect();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}
