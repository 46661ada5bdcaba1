//! Internet checksums, updated incrementally (RFC 1624): the packet path never sums a payload.
//!
//! One's complement sums do not care about byte order (RFC 1071 section 2), so everything here works on words as they
//! lie in memory.

/// What a change of some 16- and 32-bit words adds to a one's complement sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// No change yet.
    #[inline(always)]
    pub const fn none() -> Self {
        Self(0)
    }

    /// One aligned 32-bit word of the covered data changes from `old` to `new`.
    #[inline(always)]
    pub const fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// One aligned 16-bit word of the covered data changes from `old` to `new`.
    #[inline(always)]
    pub const fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Some words more, whose one's complement sum is `sum`.
    #[inline(always)]
    pub const fn sum(self, sum: u64) -> Self {
        Self(self.0 + (sum & 0xffff_ffff) + (sum >> 32))
    }

    /// Both changes.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum field after this change: HC' = ~(~HC + ~m + m') (RFC 1624 equation 3).
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + !checksum as u64)
    }

    /// As [`Change::apply`], with the rules of UDP over IPv4 (RFC 768): an absent checksum (0) stays absent, and one
    /// that comes out as 0 is sent as 0xFFFF.
    #[inline(always)]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            other => other,
        }
    }
}

/// Folds a sum of words to 16 bits with end-around carry.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The checksum from scratch, as RFC 1071 defines it.
    fn whole(words: &[u16]) -> u16 {
        let mut sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    /// 0 and 0xFFFF are the same number in one's complement.
    fn same(a: u16, b: u16) -> bool {
        a == b || (a == 0 || a == 0xffff) && (b == 0 || b == 0xffff)
    }

    proptest! {
        #[test]
        fn incremental_equals_recomputed(words in prop::collection::vec(any::<u16>(), 4..40), new in any::<(u32, u16)>()) {
            let mut changed = words.clone();
            let old = u32::from(words[0]) | u32::from(words[1]) << 16;
            changed[0] = (new.0 & 0xffff) as u16;
            changed[1] = (new.0 >> 16) as u16;
            changed[3] = new.1;
            let updated = Change::none().word(old, new.0).half(words[3], new.1).apply(whole(&words));
            prop_assert!(same(updated, whole(&changed)), "{updated:#x} {:#x}", whole(&changed));
        }
    }

    #[test]
    fn an_absent_udp_checksum_stays_absent() {
        assert_eq!(Change::none().word(1, 2).apply_udp(0), 0);
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
        // ~(~0xfffe + 1) with no other change: the sum becomes 0xffff, its complement 0.
        let change = Change::none().half(0, 0xfffe);
        assert_eq!(Change::none().half(0, 0xfffe).apply(0xfffe), 0);
        assert_eq!(change.apply_udp(0xfffe), 0xffff);
    }
}
