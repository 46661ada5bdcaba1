//! Which leg a packet belongs to, in one word that is compared as a whole.
#![expect(
    clippy::cast_possible_truncation,
    reason = "words are packed and unpacked on purpose, field by field"
)]

use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};
use crate::leg::Source;

/// What the rest of the word means: bits 60 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// One of our IPv4 addresses, and a port.
    Ipv4 = 0,
    /// One of our IPv6 addresses, folded, and a port. The whole address is in [`crate::leg::Addresses6::local`].
    Ipv6 = 1,
    /// On a shared port: the SSRC of the packet.
    Ssrc = 2,
    /// On a shared port: where the packet comes from over IPv4.
    Source4 = 3,
    /// On a shared port: where the packet comes from over IPv6, folded.
    Source6 = 4,
}

/// Which packets belong to a leg. Bits 0 to 31 hold the IPv4 address, the folded IPv6 address or the SSRC, bits 32 to 47
/// the port, both as they lie in the packet; bits 48 to 59 the number of the shared port; bits 60 to 63 the [`KeyKind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct LegKey(u64);

impl LegKey {
    /// One of our IPv4 addresses and ports.
    #[inline(always)]
    pub const fn new(address: Be32, port: Be16) -> Self {
        Self::pack(KeyKind::Ipv4, 0, port, address)
    }

    /// One of our IPv6 addresses and ports.
    #[inline(always)]
    pub const fn v6(address: &Ipv6, port: Be16) -> Self {
        Self::pack(KeyKind::Ipv6, 0, port, address.fold())
    }

    /// Packets of one synchronisation source on the shared port `group`, 1 to [`crate::limits::SHARED_PORTS`].
    #[inline(always)]
    pub const fn ssrc(group: u16, ssrc: Be32) -> Self {
        Self::pack(KeyKind::Ssrc, group, Be16::new(0), ssrc)
    }

    /// Packets from one source on the shared port `group`.
    #[inline(always)]
    pub const fn source(group: u16, source: Source) -> Self {
        let kind = if source.is_v6() { KeyKind::Source6 } else { KeyKind::Source4 };
        Self::pack(kind, group, source.port(), source.address_word())
    }

    /// From the word of a record.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    const fn pack(kind: KeyKind, group: u16, port: Be16, word: Be32) -> Self {
        Self(
            (kind as u64) << 60
                | (group as u64 & 0xfff) << 48
                | (port.wire() as u64) << 32
                | word.wire() as u64,
        )
    }

    /// The address, folded if it is of IPv6, or the SSRC.
    #[inline(always)]
    pub const fn address(self) -> Be32 {
        Be32::from_wire(self.0 as u32)
    }

    /// The port; 0 for an SSRC.
    #[inline(always)]
    pub const fn port(self) -> Be16 {
        Be16::from_wire((self.0 >> 32) as u16)
    }

    /// The number of the shared port that this key belongs to, 0 for none.
    #[inline(always)]
    pub const fn group(self) -> u16 {
        (self.0 >> 48) as u16 & 0xfff
    }

    /// Bits 60 to 63, a [`KeyKind`].
    #[inline(always)]
    pub const fn kind(self) -> u8 {
        (self.0 >> 60) as u8
    }

    /// The key as it lies in the table.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The bucket of this key in a table of `mask + 1` buckets, a power of two. Neighbouring ports of one address share
    /// cache lines of the bucket array; addresses are scattered over it.
    #[inline(always)]
    pub const fn bucket(self, mask: u32) -> u32 {
        const GOLDEN: u32 = 0x9e37_79b1;
        let scattered = self.address().get().wrapping_mul(GOLDEN) >> 12;
        (self.port().get() as u32).wrapping_add(scattered) & mask
    }
}
