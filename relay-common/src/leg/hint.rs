//! Where the leg of one of our IPv4 ports probably lies, so that a packet that belongs to it needs no look at its bucket.

use crate::byte_order::Be32;
use crate::leg::LegKey;

/// Records of the `LEG_HINTS` map, a power of two.
pub const HINTS: u32 = 1 << 10;

/// One record of the `LEG_HINTS` map: legs of this address lie as its ports do. A hint may be wrong, or of another address:
/// the key of the leg decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LegHint {
    /// One of our addresses, 0 for none.
    pub address: Be32,
    /// The index of a leg less its port, modulo 2^32.
    pub base: u32,
}

impl LegHint {
    /// The record that holds the hint for this address, if one does.
    #[inline(always)]
    pub const fn place(address: Be32) -> u32 {
        const GOLDEN: u32 = 0x9e37_79b1;
        address.wire().wrapping_mul(GOLDEN) >> (u32::BITS - HINTS.trailing_zeros())
    }

    /// The index of the leg of this key, if the hint is for its address; 0 if it is not.
    #[inline(always)]
    pub const fn guess(self, key: LegKey) -> u32 {
        if self.address.wire() == key.address().wire() {
            self.base.wrapping_add(key.port().get() as u32)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_order::Be16;

    #[test]
    fn a_hint_is_for_its_own_address() {
        let (ours, other) = (Be32::new(0x0a4d_0101), Be32::new(0x0a4d_0201));
        let hint = LegHint { address: ours, base: 1_u32.wrapping_sub(30_000) };
        assert_eq!(hint.guess(LegKey::new(ours, Be16::new(30_002))), 3);
        assert_eq!(hint.guess(LegKey::new(other, Be16::new(30_002))), 0);
    }

    #[test]
    fn addresses_that_differ_in_one_byte_rarely_share_a_record() {
        let mut places: [u32; 4 * 32] = core::array::from_fn(|number| {
            let (byte, value) = (number as u32 / 32, number as u32 % 32);
            LegHint::place(Be32::new(0x0a4d_0101 ^ value << (8 * byte)))
        });
        places.sort_unstable();
        assert!(places.iter().all(|place| *place < HINTS));
        let shared = places.windows(2).filter(|pair| pair[0] == pair[1]).count();
        // Four of them are the same address.
        assert!(shared <= 3 + 12, "{shared}");
    }
}
