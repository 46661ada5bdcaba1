//! Copies of packets for whoever wants to look at them: what one record of the `TAPS` ring is.
//!
//! A packet that the program forwards never reaches the network stack, so a capture tool on this machine does not see
//! it. A leg whose route says so has its packets copied here, as they arrive, as they leave, or both.

/// Bytes of a packet that are copied at most: more than any frame of an Ethernet network without jumbo frames.
pub const LONGEST: usize = 2_048;

/// Packets up to this length, audio for one, take a smaller record, so that a burst of them fits the ring.
pub const SHORT: usize = 256;

/// Legs and directions that may be tapped at the same time.
pub const TAPS: u32 = 64;

/// Bytes of the ring, shared by all taps.
pub const RING_BYTES: u32 = 4 << 20;

/// Which side of the relay a copy was taken at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// As it arrived for the leg.
    In = 0,
    /// As it leaves, after every rewrite; the record names the leg that the packet arrived for.
    Out = 1,
    /// As it leaves for one receiver of a group, after every rewrite; the record names that receiver's leg.
    Copied = 2,
}

impl Direction {
    /// From [`TapHeader::direction`].
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::In),
            1 => Some(Self::Out),
            2 => Some(Self::Copied),
            _ => None,
        }
    }
}

/// The key of the `TAPPED` map for packets that arrive, or are copied, for the leg in slot `leg`.
#[inline(always)]
pub const fn tap_key(leg: u32, direction: Direction) -> u32 {
    leg << 2 | direction as u32
}

/// One record of the `TAPPED` map: whether packets are copied, and what became of the copies. The kernel half adds to
/// the counters, each as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tapped {
    /// Copies that went into the ring.
    pub copied: u64,
    /// Packets that were not copied, because the ring was full.
    pub lost: u64,
}

/// What precedes the bytes of a packet in one record of the ring. The record itself has one of two lengths, [`SHORT`]
/// or [`LONGEST`] bytes behind this header; [`TapHeader::captured`] says how many of them are the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TapHeader {
    /// When the copy was taken, nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// Slot of the leg that the packet arrived, or was copied, for.
    pub leg: u32,
    /// The leg's generation ([`crate::leg::Admission::generation`]).
    pub generation: u32,
    /// A [`Direction`].
    pub direction: u32,
    /// Bytes of the frame, from its Ethernet header to its end.
    pub length: u32,
    /// Bytes of it that follow, [`LONGEST`] at most.
    pub captured: u32,
    /// Index of the interface that the packet arrived on; 0 where that is not known.
    pub interface: u32,
}

/// A record with room for `N` bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TapRecord<const N: usize> {
    /// What it is a copy of.
    pub header: TapHeader,
    /// The first [`TapHeader::captured`] bytes of the frame.
    pub bytes: [u8; N],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_no_padding_and_keep_the_ring_aligned() {
        assert_eq!(size_of::<TapHeader>(), 32);
        assert_eq!(size_of::<TapRecord<SHORT>>(), 32 + SHORT);
        assert_eq!(size_of::<TapRecord<LONGEST>>() % 8, 0);
    }

    #[test]
    fn legs_and_directions_have_keys_of_their_own() {
        let directions = [Direction::In, Direction::Out, Direction::Copied];
        assert_eq!(directions.map(|direction| tap_key(1, direction)), [4, 5, 6]);
        assert_eq!(tap_key(2, Direction::In), 8);
        assert_eq!(directions.map(|direction| Direction::from_word(direction as u32)), directions.map(Some));
        assert_eq!(Direction::from_word(3), None);
    }
}
