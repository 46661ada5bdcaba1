//! A resolved egress: where a packet goes on layer 2.

use crate::byte_order::Be32;
use crate::verdict::Drop;

/// A next hop has its addresses; without this bit its packets are dropped, by the reason that [`NextHop::refusal`] names.
pub const RESOLVED: u32 = 1;
/// There is no route to the destination any more.
pub const NO_ROUTE: u32 = 1 << 1;
/// The egress device is gone, or down.
pub const NO_DEVICE: u32 = 1 << 2;

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
    /// The constants of this module; 0 while the neighbour's MAC address is looked for.
    pub state: u32,
    /// The VLAN tags that a packet leaves with, outer and inner, as they lie in the frame: protocol (TPID), then
    /// priority and VLAN identifier (TCI), IEEE 802.1Q section 9. Zero for no tag; an inner tag needs an outer one.
    pub tags: [Be32; 2],
}

impl NextHop {
    /// An untagged next hop whose addresses are known.
    pub fn resolved(destination: [u8; 6], source: [u8; 6], device: u32, mtu: u32) -> Self {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l]];
        Self {
            macs: words.map(|word| Be32::from_wire(u32::from_ne_bytes(word))),
            device,
            mtu,
            state: RESOLVED,
            tags: [Be32::new(0); 2],
        }
    }

    /// The MAC address of the neighbour.
    pub fn destination_mac(&self) -> [u8; 6] {
        let [first, second, _] = self.macs.map(|word| word.wire().to_ne_bytes());
        [first[0], first[1], first[2], first[3], second[0], second[1]]
    }

    /// Why packets are dropped that this next hop, which is not [`RESOLVED`], should send on.
    #[inline(always)]
    pub const fn refusal(&self) -> Drop {
        if self.state & NO_DEVICE != 0 {
            Drop::NoDevice
        } else if self.state & NO_ROUTE != 0 {
            Drop::NoRoute
        } else {
            Drop::NextHopUnresolved
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
    fn what_is_not_resolved_says_why() {
        let refusal = |state| NextHop { state, ..NextHop::default() }.refusal();
        assert_eq!(refusal(0), Drop::NextHopUnresolved);
        assert_eq!(refusal(NO_ROUTE), Drop::NoRoute);
        assert_eq!(refusal(NO_DEVICE), Drop::NoDevice);
    }

    #[test]
    fn the_words_are_the_bytes_of_the_header() {
        let hop = NextHop::resolved([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], 0, 1500);
        let bytes: Vec<u8> = hop.macs.iter().flat_map(|word| word.wire().to_ne_bytes()).collect();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(hop.destination_mac(), [1, 2, 3, 4, 5, 6]);
    }
}
