//! What the kernel half tells the user half, one record of the `EVENTS` ring each. Rate-limited per leg.

use crate::byte_order::{Be16, Be32};

/// A learning leg has admitted its first source.
pub const SOURCE_LEARNED: u32 = 1;
/// A packet came from another source than the admitted one, and was dropped.
pub const SOURCE_REFUSED: u32 = 2;
/// A packet was dropped because its next hop has no MAC address yet.
pub const NEXT_HOP_UNRESOLVED: u32 = 3;

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
    /// Source address of the packet.
    pub address: Be32,
    /// Source port of the packet.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
    /// Index of the next hop, for [`NEXT_HOP_UNRESOLVED`].
    pub next_hop: u32,
}
