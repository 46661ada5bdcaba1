//! Loss, order and jitter of an RTP stream as it arrives (RFC 3550 section 6.4.1 and appendix A), one record for each leg
//! and CPU. The user half puts the CPUs together: receive queues give a stream to one CPU, but not for ever.
#![expect(
    clippy::cast_possible_truncation,
    reason = "the tick is checked before it is cut; tests make numbers wrap"
)]

use crate::byte_order::Be32;

/// A step forward by more than this is a new start of the sequence, not loss (RFC 3550 appendix A.1, MAX_DROPOUT).
pub const MAX_DROPOUT: u16 = 3000;
/// A step back by more than this is a new start of the sequence, not a late packet (MAX_MISORDER).
pub const MAX_MISORDER: u16 = 100;
/// [`Quality::tick`] counts parts of a nanosecond: so many to one.
pub const TICK_UNIT: u64 = 1 << 14;

/// What one CPU has seen of a leg's stream. A record of the `QUALITY` map, at [`crate::leg::traffic_index`].
///
/// Expected packets are `expected_before + cycles * 65536 + highest - first + 1`, lost ones are the expected less
/// `packets - duplicates`; across CPUs see the user half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Quality {
    /// The stream's SSRC.
    pub ssrc: Be32,
    /// First sequence number since the last start.
    pub first: u16,
    /// Highest sequence number.
    pub highest: u16,
    /// RTP packets, of all starts; 0 says that nothing else of the record means anything.
    pub packets: u64,
    /// Packets that came later than a packet with a higher sequence number.
    pub reordered: u32,
    /// Packets that had come before.
    pub duplicates: u32,
    /// Interarrival jitter in nanoseconds, times 16.
    pub jitter: u64,
    /// When the first packet of the newest RTP timestamp arrived, CLOCK_MONOTONIC in nanoseconds.
    pub arrival: u64,
    /// The newest RTP timestamp.
    pub timestamp: u32,
    /// Length of one tick of the RTP clock in [`TICK_UNIT`] parts of a nanosecond; 0 while it is not known, and then
    /// there is no jitter. Written by the user half.
    pub tick: u32,
    /// Bit n says that the packet n before the highest has come; 0 while the record is being given to a new start, and then
    /// its members do not belong together.
    pub window: u64,
    /// Packets that were expected before the last start.
    pub expected_before: u32,
    /// How often [`Quality::highest`] has wrapped since the last start.
    pub cycles: u16,
    /// How often the sequence or the SSRC started anew, after the first time.
    pub restarts: u16,
}

impl Quality {
    /// Length of a tick of a clock of `hertz`, for [`Quality::tick`]; 0 (not known) where it cannot be told, below 3,815
    /// hertz.
    pub const fn tick_of(hertz: u32) -> u32 {
        if hertz == 0 {
            return 0;
        }
        let tick = 1_000_000_000 * TICK_UNIT / hertz as u64;
        if tick > u32::MAX as u64 { 0 } else { tick as u32 }
    }

    /// Packets expected since the first, as far as this CPU has seen.
    pub const fn expected(&self) -> u64 {
        if self.packets == 0 {
            return 0;
        }
        let highest = (self.cycles as u64) << 16 | self.highest as u64;
        self.expected_before as u64 + highest - self.first as u64 + 1
    }

    /// Counts one RTP packet. `now` reads CLOCK_MONOTONIC in nanoseconds; it is asked only for the first packet of each
    /// RTP timestamp, because the packets of one picture share it.
    #[inline(always)]
    pub fn count(&mut self, ssrc: Be32, sequence: u16, timestamp: u32, now: impl FnOnce() -> u64) {
        let known = self.packets != 0;
        if known && self.ssrc == ssrc {
            self.go_on(sequence, timestamp, now);
        } else {
            self.start(known, ssrc, sequence, timestamp, now());
        }
        // Last, because the first packet makes the record mean something to who reads it meanwhile.
        // SAFETY: a member of this record.
        unsafe { (&raw mut self.packets).write_volatile(self.packets + 1) };
    }

    /// One more packet of the same source.
    #[inline(always)]
    fn go_on(&mut self, sequence: u16, timestamp: u32, now: impl FnOnce() -> u64) {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead == 0 {
            self.duplicates += 1;
        } else if ahead <= MAX_DROPOUT {
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1);
            }
            self.highest = sequence;
            self.window = if ahead < 64 { self.window << ahead | 1 } else { 1 };
            if timestamp != self.timestamp {
                self.measure(timestamp, now());
            }
        } else if ahead >= MAX_MISORDER.wrapping_neg() {
            let bit = 1_u64 << (ahead.wrapping_neg() & 63);
            if ahead.wrapping_neg() < 64 && self.window & bit != 0 {
                self.duplicates += 1;
            } else {
                self.reordered += 1;
                if ahead.wrapping_neg() < 64 {
                    self.window |= bit;
                }
            }
        } else {
            self.start(true, self.ssrc, sequence, timestamp, now());
        }
    }

    #[inline(always)]
    fn start(&mut self, known: bool, ssrc: Be32, sequence: u16, timestamp: u32, now: u64) {
        // SAFETY: a member of this record, here and below.
        unsafe { (&raw mut self.window).write_volatile(0) };
        if known {
            let highest = (self.cycles as u32) << 16 | self.highest as u32;
            self.expected_before =
                self.expected_before.wrapping_add(highest.wrapping_sub(self.first as u32)).wrapping_add(1);
            self.restarts = self.restarts.wrapping_add(1);
        }
        self.ssrc = ssrc;
        self.first = sequence;
        self.highest = sequence;
        self.cycles = 0;
        self.timestamp = timestamp;
        self.arrival = now;
        // SAFETY: as above.
        unsafe { (&raw mut self.window).write_volatile(1) };
    }

    /// Interarrival jitter: J += (|D| - J) / 16 (RFC 3550 section 6.4.1).
    #[inline(always)]
    fn measure(&mut self, timestamp: u32, now: u64) {
        let ticks = timestamp.wrapping_sub(self.timestamp);
        let elapsed = now.wrapping_sub(self.arrival);
        self.timestamp = timestamp;
        self.arrival = now;
        // A timestamp that goes back (pictures in another order than they are shown) says nothing about the network.
        if self.tick == 0 || ticks >= 1 << 31 {
            return;
        }
        let played = ticks as u64 * self.tick as u64 / TICK_UNIT;
        let difference = elapsed.abs_diff(played);
        self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Be32 = Be32::new(7);

    fn fed(sequences: &[u16]) -> Quality {
        let mut quality = Quality::default();
        for sequence in sequences {
            quality.count(SSRC, *sequence, 0, || 0);
        }
        quality
    }

    fn lost(quality: &Quality) -> i64 {
        let arrived = quality.packets - u64::from(quality.duplicates);
        i64::try_from(quality.expected()).unwrap() - i64::try_from(arrived).unwrap()
    }

    #[test]
    fn a_record_is_a_cache_line() {
        assert_eq!((size_of::<Quality>(), align_of::<Quality>()), (64, 8));
    }

    #[test]
    fn a_record_means_nothing_before_its_first_packet_is_in_it() {
        let mut quality = Quality::default();
        let interrupted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            quality.count(SSRC, 100, 0, || panic!("the clock"));
        }));
        assert!(interrupted.is_err());
        assert_eq!(quality.packets, 0, "{quality:?}");
    }

    #[test]
    fn an_even_stream_loses_nothing_over_the_wrap() {
        let sequences: Vec<u16> = (0..70_000_u32).map(|at| (at + 65_000) as u16).collect();
        let quality = fed(&sequences);
        assert_eq!((quality.expected(), lost(&quality), quality.reordered), (70_000, 0, 0));
    }

    #[test]
    fn gaps_are_lost_until_they_are_filled() {
        assert_eq!(lost(&fed(&[1, 2, 5])), 2);
        let filled = fed(&[1, 2, 5, 3, 4]);
        assert_eq!((lost(&filled), filled.reordered, filled.duplicates), (0, 2, 0));
    }

    #[test]
    fn duplicates_are_not_late_packets() {
        let quality = fed(&[1, 2, 2, 3, 1, 5, 4, 4]);
        assert_eq!((quality.duplicates, quality.reordered, lost(&quality)), (3, 1, 0));
    }

    #[test]
    fn a_late_packet_before_the_wrap_is_late() {
        let quality = fed(&[65_534, 0, 65_535, 1]);
        assert_eq!((quality.reordered, lost(&quality), quality.expected()), (1, 0, 4));
    }

    #[test]
    fn a_new_start_keeps_what_was_lost() {
        let mut quality = fed(&[10, 12, 40_000, 40_001]);
        assert_eq!((quality.restarts, lost(&quality)), (1, 1));
        quality.count(Be32::new(8), 3, 0, || 0);
        assert_eq!((quality.restarts, quality.ssrc, lost(&quality)), (2, Be32::new(8), 1));
    }

    #[test]
    fn jitter_is_that_of_the_standard() {
        // 90 kHz, a picture each 40 ms, each second one 8 ms late: the standard's formula in floating point.
        let mut quality = Quality { tick: Quality::tick_of(90_000), ..Quality::default() };
        let (mut expected, mut before) = (0.0_f64, None);
        for picture in 0..200_u32 {
            let late = if picture % 2 == 0 { 0 } else { 8_000_000 };
            let arrival = 1_000_000_000 + u64::from(picture) * 40_000_000 + late;
            for packet in 0..3 {
                let sequence = (picture * 3 + packet) as u16;
                quality.count(SSRC, sequence, picture * 3600, || arrival);
            }
            if let Some(before) = before.replace(late) {
                expected += ((late as f64 - before as f64).abs() - expected) / 16.0;
            }
        }
        let measured = quality.jitter as f64 / 16.0;
        assert!((measured - expected).abs() < 1_000.0, "{measured} {expected}");
    }

    #[test]
    fn a_clock_without_a_tick_has_no_jitter() {
        assert_eq!((Quality::tick_of(0), Quality::tick_of(1_000)), (0, 0));
        assert_eq!(Quality::tick_of(8_000), 2_048_000_000);
    }
}
