//! Where the packets of a leg go and what is done with them, in one word that changes as a whole.

/// Payload type, SSRC, sequence, timestamp or DSCP are rewritten: see [`crate::retag::Retag`].
pub const RETAGGED: u32 = 1 << 20;
/// Loss, order and jitter are measured: see [`crate::quality::Quality`].
pub const MEASURED: u32 = 1 << 21;
/// The rate is limited: see [`crate::police::Police`].
pub const POLICED: u32 = 1 << 22;
/// What arrives is copied to the ring `TAPS`.
pub const TAPPED_IN: u32 = 1 << 23;
/// What leaves is copied to the ring `TAPS`; in the route of a receiver, what leaves for it.
pub const TAPPED_OUT: u32 = 1 << 24;
/// RTCP goes to user space instead of its destination.
pub const RTCP_PUNTED: u32 = 1 << 25;
/// Everything goes to user space instead of its destination.
pub const PUNTED: u32 = 1 << 26;
/// Many sources send to this port: which leg a packet belongs to is told by its source or SSRC, under the number that
/// stands in place of the next hop.
pub const SHARED: u32 = 1 << 27;
/// The destination is of IPv6.
pub const TO_V6: u32 = 1 << 28;
/// Packets go to the receivers of a group ([`crate::fan_out`]); there is no next hop of their own.
pub const FAN_OUT: u32 = 1 << 29;

const INDEX: u32 = (1 << 20) - 1;
/// What costs a look beyond the leg's own record.
const FEATURES: u32 = RETAGGED | MEASURED | POLICED | TAPPED_IN | TAPPED_OUT | RTCP_PUNTED | PUNTED;

/// Bits 0 to 19: index of the next hop, 0 for none; the rest are the constants of this module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Route(u32);

impl Route {
    /// To a next hop, with the given constants of this module.
    #[inline(always)]
    pub const fn new(next_hop: u32, flags: u32) -> Self {
        Self(next_hop & INDEX | flags & !INDEX)
    }

    /// From the word of the record.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As the word of the record.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Index of the next hop, 0 for none; of a shared port, its number.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & INDEX
    }

    /// The constants of this module.
    #[inline(always)]
    pub const fn flags(self) -> u32 {
        self.0 & !INDEX
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub const fn has(self, flags: u32) -> bool {
        self.0 & flags != 0
    }

    /// Whether a packet needs nothing but new addresses.
    #[inline(always)]
    pub const fn is_plain(self) -> bool {
        self.0 & FEATURES == 0
    }
}
