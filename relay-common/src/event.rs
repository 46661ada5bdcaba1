//! What the kernel half tells the user half, one record of the `EVENTS` ring each. Rate-limited per leg.

use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};

/// A learning leg has admitted its first source.
pub const SOURCE_LEARNED: u32 = 1;
/// A packet came from another source than the admitted one, and was dropped.
pub const SOURCE_REFUSED: u32 = 2;
/// A packet was dropped because its next hop has no MAC address yet.
pub const NEXT_HOP_UNRESOLVED: u32 = 3;
/// A packet came to a port of our range that no leg has. `leg` is 0. Sampled: [`crate::limits::ORPHAN_INTERVAL_NS`].
pub const ORPHAN: u32 = 4;
/// A packet came to a shared port from a source, and with an SSRC, that no leg of it has.
pub const UNKNOWN_SSRC: u32 = 5;

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// One of the constants of this module.
    pub kind: u32,
    /// Index of the leg that the packet arrived for.
    pub leg: u32,
    /// The leg's generation ([`crate::leg::Admission::generation`]), so that an event of a removed leg is not taken for
    /// one of its successor.
    pub generation: u32,
    /// Index of the next hop, for [`NEXT_HOP_UNRESOLVED`].
    pub next_hop: u32,
    /// Source address of the packet; one of IPv4 in the form ::ffff:a.b.c.d.
    pub source: Ipv6,
    /// Our address that it was sent to, in the same form.
    pub local: Ipv6,
    /// Source port.
    pub source_port: Be16,
    /// Our port.
    pub local_port: Be16,
    /// The packet's SSRC, 0 where it is no RTP or RTCP.
    pub ssrc: Be32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_the_ring_spaces_them() {
        assert_eq!(size_of::<Event>(), 56);
    }
}
