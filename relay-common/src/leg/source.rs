//! The one source that a leg admits, in one word that is compared and exchanged atomically.
#![expect(
    clippy::cast_possible_truncation,
    reason = "words are packed and unpacked on purpose, field by field"
)]

use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};

const SET: u64 = 1 << 48;
const V6: u64 = 1 << 49;

/// Address and port of a sender. Bits 0 to 31 hold the IPv4 address or the folded IPv6 address, bits 32 to 47 the port;
/// bit 48 says that a source is set, bit 49 that it is of IPv6 and its whole address in
/// [`crate::leg::Addresses6::source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Source(u64);

impl Source {
    /// Nothing learned yet.
    pub const NONE: Self = Self(0);

    /// This IPv4 address and port.
    #[inline(always)]
    pub const fn new(address: Be32, port: Be16) -> Self {
        Self(SET | (port.wire() as u64) << 32 | address.wire() as u64)
    }

    /// This IPv6 address and port.
    #[inline(always)]
    pub const fn v6(address: &Ipv6, port: Be16) -> Self {
        Self(SET | V6 | (port.wire() as u64) << 32 | address.fold().wire() as u64)
    }

    /// From the word in [`crate::leg::Leg::source`].
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As the word in [`crate::leg::Leg::source`].
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether a source is set.
    #[inline(always)]
    pub const fn is_set(self) -> bool {
        self.0 & SET != 0
    }

    /// Whether it is of IPv6.
    #[inline(always)]
    pub const fn is_v6(self) -> bool {
        self.0 & V6 != 0
    }

    /// The port.
    #[inline(always)]
    pub const fn port(self) -> Be16 {
        Be16::from_wire((self.0 >> 32) as u16)
    }

    /// The IPv4 address, or the folded IPv6 address.
    #[inline(always)]
    pub const fn address_word(self) -> Be32 {
        Be32::from_wire(self.0 as u32)
    }

    /// Address and port, if a source of IPv4 is set.
    pub const fn get(self) -> Option<(Be32, Be16)> {
        if self.is_set() && !self.is_v6() { Some((self.address_word(), self.port())) } else { None }
    }
}
