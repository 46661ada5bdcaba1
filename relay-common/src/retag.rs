//! What is changed in the RTP header and in the DSCP of packets that are sent on, so that a source may be switched under a
//! running receiver without a visible jump.
#![expect(
    clippy::cast_possible_truncation,
    reason = "words are packed and unpacked on purpose, field by field"
)]

use crate::byte_order::Be32;

/// The SSRC is replaced by [`Retag::ssrc`].
pub const SSRC: u16 = 1;
/// The payload type is replaced by what [`Retag::payload_map`] says.
pub const PAYLOAD_TYPE: u16 = 1 << 1;
/// Sequence number and timestamp are shifted by [`Retag::offsets`].
pub const OFFSETS: u16 = 1 << 2;
/// The DSCP is replaced by [`Retag::dscp`].
pub const DSCP: u16 = 1 << 3;

/// Payload types of one table of the `PAYLOAD_MAPS` map.
pub const PAYLOAD_TYPES: usize = 128;

/// One record of the `PAYLOAD_MAPS` map: the new payload type for each.
pub type PayloadMap = [u8; PAYLOAD_TYPES];

/// How packets of a leg are retagged. A record of the `RETAGS` map, by the index of the leg that they arrive on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Retag {
    /// An [`Offsets`] word. While it is [`Offsets::NONE`], the first packet decides: it continues from the base below.
    pub offsets: u64,
    /// The new SSRC.
    pub ssrc: Be32,
    /// With [`Offsets::NONE`]: the RTP timestamp that the receiver saw last.
    pub base_timestamp: u32,
    /// With [`Offsets::NONE`]: when it was sent, CLOCK_MONOTONIC in milliseconds, the low 32 bits.
    pub base_time: u32,
    /// With [`Offsets::NONE`]: rate of the RTP clock in hertz.
    pub clock: u32,
    /// With [`Offsets::NONE`]: the sequence number that the receiver saw last.
    pub base_sequence: u16,
    /// Index of the table of payload types.
    pub payload_map: u16,
    /// The constants of this module.
    pub flags: u16,
    /// The new DSCP, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// Zero.
    pub reserved: u8,
}

/// What is added to sequence numbers and timestamps, in one word that is compared and exchanged atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Offsets(u64);

impl Offsets {
    /// Not decided yet.
    pub const NONE: Self = Self(0);

    /// These offsets.
    #[inline(always)]
    pub const fn new(sequence: u16, timestamp: u32) -> Self {
        Self(1 << 63 | (sequence as u64) << 32 | timestamp as u64)
    }

    /// From the word of the record.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As the word of the record.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What is added to sequence numbers.
    #[inline(always)]
    pub const fn sequence(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// What is added to timestamps.
    #[inline(always)]
    pub const fn timestamp(self) -> u32 {
        self.0 as u32
    }
}

impl Retag {
    /// The offsets with which a packet of this sequence number and timestamp follows the base without a jump: the next
    /// sequence number, and a timestamp that is as much later as time has passed, by one tick at least. `now` is
    /// CLOCK_MONOTONIC in nanoseconds.
    #[inline(always)]
    pub fn align(&self, sequence: u16, timestamp: u32, now: u64) -> Offsets {
        let passed = ((now / 1_000_000) as u32).wrapping_sub(self.base_time);
        // The coarse clock that packets are aligned by may be behind the one that they are measured by.
        let passed = if passed > i32::MAX as u32 { 0 } else { passed };
        let ticks = (passed as u64 * self.clock as u64 / 1_000) as u32;
        let next = self.base_timestamp.wrapping_add(if ticks == 0 { 1 } else { ticks });
        Offsets::new(self.base_sequence.wrapping_add(1).wrapping_sub(sequence), next.wrapping_sub(timestamp))
    }
}

/// What an RTP header gets instead of what it has; `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewHeader {
    /// Payload type, 0 to 127.
    pub payload_type: Option<u8>,
    /// What is added to sequence number and timestamp.
    pub offsets: Option<Offsets>,
    /// Synchronisation source.
    pub ssrc: Option<Be32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_half_a_cache_line() {
        assert_eq!(size_of::<Retag>(), 32);
    }

    #[test]
    fn the_next_source_continues_where_the_last_one_stopped() {
        let retag = Retag {
            base_sequence: 65_535,
            base_timestamp: 1_000,
            base_time: 5_000,
            clock: 90_000,
            ..Retag::default()
        };
        // 40 ms later, from a camera with numbers of its own.
        let offsets = retag.align(77, 123_456, 5_040_000_000);
        assert_eq!(77_u16.wrapping_add(offsets.sequence()), 0);
        assert_eq!(123_456_u32.wrapping_add(offsets.timestamp()), 1_000 + 3_600);
        let at_once = retag.align(77, 123_456, 5_000_000_000);
        assert_eq!(123_456_u32.wrapping_add(at_once.timestamp()), 1_001);
        let by_a_clock_behind = retag.align(77, 123_456, 4_997_000_000);
        assert_eq!(123_456_u32.wrapping_add(by_a_clock_behind.timestamp()), 1_001);
    }
}
