//! A leg as the XDP program sees it, and the table that finds it.
//!
//! The table is our own: buckets by (address, port), each the head of a short chain of legs, all in arrays that the
//! kernel looks up inline and the user half maps into its memory. `docs/architecture.md` has the figures against the
//! kernel's hash map.
#![expect(
    clippy::cast_possible_truncation,
    reason = "words are packed and unpacked on purpose, field by field"
)]

mod hint;
mod key;
mod source;

pub mod route;

use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};

pub use hint::{HINTS, LegHint};
pub use key::{KeyKind, LegKey};
pub use route::Route;
pub use source::Source;

/// The leg carries RTP.
pub const RTP: u32 = 1;
/// The leg carries RTCP; with [`RTP`], both on one port (RFC 5761).
pub const RTCP: u32 = 1 << 1;
/// A source is learned only from [`Admission::address`].
pub const ADDRESS_TOLD: u32 = 1 << 2;
/// A source is learned only if its packets carry [`Admission::ssrc`].
pub const SSRC_TOLD: u32 = 1 << 3;
/// A source is learned only if its packets carry one of [`Admission::payload_types`].
pub const PAYLOAD_TYPES_TOLD: u32 = 1 << 4;
/// What arrives here is sent on by another leg.
pub const HAS_STREAM: u32 = 1 << 5;

/// Where the stream of a leg goes: destination address and both ports in one word, so that a packet never leaves
/// for half of a new destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Destination {
    /// Address of the receiver.
    pub address: Be32,
    /// Our port that the packet leaves from, then the receiver's: the first four bytes of the UDP header.
    pub ports: Be32,
}

impl Destination {
    /// A receiver, reached from one of our ports.
    pub const fn new(address: Be32, port: Be16, from_port: Be16) -> Self {
        Self { address, ports: Be32::new((from_port.get() as u32) << 16 | port.get() as u32) }
    }
}

/// One record of the `LEGS` map: all that a packet of a known source needs, in half a cache line, so that many thousand
/// legs stay in a processor's own cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Leg {
    /// Which packets belong to this leg.
    pub key: LegKey,
    /// The [`Source`] that is admitted; a learning leg starts with [`Source::NONE`], and the kernel half exchanges
    /// it for the first source that looks right.
    pub source: u64,
    /// Where what arrives here is sent.
    pub destination: Destination,
    /// Our address that it leaves from.
    pub origin: Be32,
    /// The next hop towards [`Leg::destination`], none while nothing can be sent there, and what else is done.
    pub route: Route,
}

/// The IPv6 addresses of a leg. A record of the `ADDRESSES6` map, by the same index as [`Leg`]; members of a side that is
/// of IPv4 mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Addresses6 {
    /// Our address that packets of this leg are sent to.
    pub local: Ipv6,
    /// The source that is admitted, or with [`ADDRESS_TOLD`] may be learned.
    pub source: Ipv6,
    /// Where what arrives here is sent.
    pub destination: Ipv6,
    /// Our address that it leaves from.
    pub origin: Ipv6,
}

/// One record of the `ADMISSIONS` map, by the same index as [`Leg`]: what only other packets need, the first of a
/// source to be learned, and those that are dropped.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Admission {
    /// The next leg of the same bucket, 0 for none.
    pub next: u32,
    /// The constants of this module.
    pub flags: u32,
    /// Counts the lives of this slot.
    pub generation: u32,
    /// With [`ADDRESS_TOLD`]: the only address that may be learned; one of IPv6 is in [`Addresses6::source`].
    pub address: Be32,
    /// With [`SSRC_TOLD`]: the SSRC that a source to be learned must carry.
    pub ssrc: Be32,
    /// With [`PAYLOAD_TYPES_TOLD`]: one bit for each of the payload types 0 to 63 and 96 to 127. Those between are
    /// unassigned, and with the marker bit set they look like RTCP (RFC 5761 section 4).
    pub payload_types: [u32; 3],
}

impl Admission {
    /// Whether all of `payload_types` (bit n stands for type n) can be told to the kernel half.
    pub const fn can_tell(payload_types: u128) -> bool {
        payload_types >> 64 & 0xffff_ffff == 0
    }

    /// [`Admission::payload_types`] for a set of payload types; those for which [`Admission::can_tell`] is false are
    /// lost.
    pub const fn payload_type_words(payload_types: u128) -> [u32; 3] {
        [payload_types as u32, (payload_types >> 32) as u32, (payload_types >> 96) as u32]
    }

    /// Whether a source may be learned from a packet of this payload type.
    #[inline(always)]
    pub const fn admits_payload_type(&self, payload_type: u8) -> bool {
        let word = match payload_type {
            0..32 => self.payload_types[0],
            32..64 => self.payload_types[1],
            96..128 => self.payload_types[2],
            _ => return false,
        };
        word >> (payload_type & 31) & 1 == 1
    }
}

/// What was sent on for one leg on one CPU. A record of the `TRAFFIC` map, at [`traffic_index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets, Ethernet header to end of frame.
    pub bytes: u64,
}

/// Where the `TRAFFIC` map counts for a leg on a CPU. Each CPU writes a stretch of its own: a plain array is denser
/// than the kernel's per-CPU arrays, which cost a pointer and a cache line for each element.
#[inline(always)]
pub const fn traffic_index(cpu: u32, slots: u32, leg: u32) -> u32 {
    cpu.wrapping_mul(slots).wrapping_add(leg)
}

/// What was not sent on for one leg. A record of the `LEG_DROPS` map, which all CPUs add to atomically: drops are rare, and
/// records for each CPU would be most of a leg's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LegDrops {
    /// When the last event about this leg was sent, CLOCK_MONOTONIC_COARSE in nanoseconds; 0 for never.
    pub last_event: u64,
    /// When the last sender was told that its packets are too big, in the same form.
    pub last_answer: u64,
    /// Bytes of the packets that were dropped.
    pub bytes: u64,
    /// Dropped packets, by [`crate::verdict::Drop`].
    pub packets: [u64; crate::verdict::DROPS],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_is_half_a_cache_line() {
        assert_eq!((size_of::<Leg>(), align_of::<Leg>()), (32, 8));
        assert_eq!((size_of::<Admission>(), align_of::<Admission>()), (32, 4));
        assert_eq!((size_of::<Addresses6>(), align_of::<Addresses6>()), (64, 4));
    }

    #[test]
    fn traffic_of_two_cpus_is_counted_apart() {
        assert_eq!((traffic_index(0, 100, 99), traffic_index(1, 100, 0)), (99, 100));
    }

    #[test]
    fn words_that_are_written_atomically_are_aligned() {
        assert_eq!(core::mem::offset_of!(Leg, source) % 8, 0);
        assert_eq!(core::mem::offset_of!(Leg, destination) % 8, 0);
        assert_eq!(size_of::<Destination>(), 8);
    }

    #[test]
    fn a_source_is_never_the_empty_word() {
        assert_ne!(Source::new(Be32::new(0), Be16::new(0)), Source::NONE);
        let source = Source::new(Be32::new(0x0a00_0001), Be16::new(5004));
        assert_eq!(source.get(), Some((Be32::new(0x0a00_0001), Be16::new(5004))));
        assert_eq!(Source::NONE.get(), None);
    }

    #[test]
    fn payload_types_survive_their_packing() {
        for told in [0_u8, 8, 31, 32, 63, 96, 127] {
            assert!(Admission::can_tell(1 << told));
            let admission =
                Admission { payload_types: Admission::payload_type_words(1 << told), ..Admission::default() };
            assert!(
                (0..=u8::MAX).all(|tried| admission.admits_payload_type(tried) == (tried == told)),
                "{told}"
            );
        }
        assert!((64..96).all(|told| !Admission::can_tell(1 << told)));
    }

    #[test]
    fn buckets_are_in_range_and_neighbours_are_near() {
        let mask = (1 << 16) - 1;
        let key = |port| LegKey::new(Be32::new(0x0a4d_0101), Be16::new(port)).bucket(mask);
        assert!((0..=u16::MAX).all(|port| key(port) <= mask));
        assert_eq!(key(30001).wrapping_sub(key(30000)) & mask, 1);
    }

    #[test]
    fn keys_of_different_kinds_differ() {
        let (address, port) = (Be32::new(0x0a4d_0101), Be16::new(30000));
        let v6 = Ipv6([Be32::new(0), Be32::new(0), Be32::new(0), address]);
        let keys = [
            LegKey::new(address, port),
            LegKey::v6(&v6, port),
            LegKey::ssrc(1, address),
            LegKey::ssrc(2, address),
            LegKey::source(1, Source::new(address, port)),
            LegKey::source(1, Source::v6(&v6, port)),
        ];
        assert!((1..keys.len()).all(|at| !keys[..at].contains(&keys[at])), "{keys:?}");
        assert_eq!((keys[3].group(), keys[3].kind()), (2, KeyKind::Ssrc as u8));
    }

    #[test]
    fn a_route_keeps_its_flags_and_its_index_apart() {
        let route = Route::new(65_535, route::MEASURED | route::TO_V6);
        assert_eq!((route.index(), route.flags()), (65_535, route::MEASURED | route::TO_V6));
        assert!(!route.is_plain() && Route::new(7, route::TO_V6).is_plain());
    }
}
