//! How much one leg may receive, so that one sender cannot take the capacity of all.

use std::time::Duration;

use relay_common::limits::LEAST_BURST_NS;

/// The lowest rate that can be told, in bits a second.
pub const LEAST_BITS_PER_SECOND: u64 = 512;
/// The largest rate that can be told, in bits a second.
pub const MOST_BITS_PER_SECOND: u64 = 100_000_000_000;
/// The largest rate that can be told, in packets a second.
pub const MOST_PACKETS_PER_SECOND: u32 = 100_000_000;
/// The shortest burst that can be told: the kernel half reads a coarse clock.
pub const SHORTEST_BURST: Duration = Duration::from_nanos(LEAST_BURST_NS);
/// The longest burst that can be told.
pub const LONGEST_BURST: Duration = Duration::from_secs(10);

/// A limit of what is admitted on a leg. What is beyond it is dropped and counted as `rate_exceeded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Bits a second, of whole IP packets; `None` for no limit. [`LEAST_BITS_PER_SECOND`] to
    /// [`MOST_BITS_PER_SECOND`].
    pub bits_per_second: Option<u64>,
    /// Packets a second; `None` for no limit. 1 to [`MOST_PACKETS_PER_SECOND`].
    pub packets_per_second: Option<u32>,
    /// How much may come at once after silence: what the rates allow in this time. An I-frame is sent in one burst, so
    /// this is rather a second than a millisecond. [`SHORTEST_BURST`] to [`LONGEST_BURST`].
    pub burst: Duration,
}

impl RateLimit {
    /// The burst where the caller names no other.
    pub const DEFAULT_BURST: Duration = Duration::from_secs(1);

    /// A limit of bits a second.
    pub const fn bits(bits_per_second: u64) -> Self {
        let bits_per_second = Some(bits_per_second);
        Self { bits_per_second, packets_per_second: None, burst: Self::DEFAULT_BURST }
    }

    /// A limit of packets a second.
    pub const fn packets(packets_per_second: u32) -> Self {
        let packets_per_second = Some(packets_per_second);
        Self { bits_per_second: None, packets_per_second, burst: Self::DEFAULT_BURST }
    }

    /// How much may come at once.
    #[must_use]
    pub const fn burst(self, burst: Duration) -> Self {
        Self { burst, ..self }
    }

    /// What is out of range, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { bits_per_second, packets_per_second, burst } = self;
        if bits_per_second.is_none() && packets_per_second.is_none() {
            return Some("it limits neither bits nor packets; leave it out instead".into());
        }
        let bits_told = LEAST_BITS_PER_SECOND..=MOST_BITS_PER_SECOND;
        if let Some(bits) = bits_per_second.filter(|bits| !bits_told.contains(bits)) {
            return Some(format!(
                "{bits} bits/s; {LEAST_BITS_PER_SECOND} to {MOST_BITS_PER_SECOND} can be told"
            ));
        }
        let wrong_packets = |packets: &u32| *packets == 0 || *packets > MOST_PACKETS_PER_SECOND;
        if let Some(packets) = packets_per_second.filter(wrong_packets) {
            return Some(format!("{packets} packets/s; 1 to {MOST_PACKETS_PER_SECOND} can be told"));
        }
        if *burst < SHORTEST_BURST || *burst > LONGEST_BURST {
            return Some(format!(
                "a burst of {burst:?}; {SHORTEST_BURST:?} to {LONGEST_BURST:?} can be told"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_range() {
        assert_eq!(RateLimit::bits(4_000_000).problem(), None);
        assert_eq!(RateLimit::packets(1).burst(SHORTEST_BURST).problem(), None);
        for wrong in [
            RateLimit { bits_per_second: None, packets_per_second: None, burst: RateLimit::DEFAULT_BURST },
            RateLimit::bits(LEAST_BITS_PER_SECOND - 1),
            RateLimit::bits(MOST_BITS_PER_SECOND + 1),
            RateLimit::packets(0),
            RateLimit::packets(MOST_PACKETS_PER_SECOND + 1),
            RateLimit::bits(1000).burst(Duration::ZERO),
            RateLimit::bits(1000).burst(LONGEST_BURST + Duration::from_nanos(1)),
        ] {
            assert!(wrong.problem().is_some(), "{wrong:?}");
        }
    }
}
