//! Jitter of one RTP source at its receiver, as RFC 3550 defines it.

/// One source (one SSRC) as a receiver sees it.
#[derive(Debug)]
pub(super) struct RtpStream {
    clock_rate: f64,
    /// Arrival in seconds and RTP timestamp of the packet before.
    previous: Option<(f64, u32)>,
    /// In ticks of the RTP clock.
    jitter: f64,
}

impl RtpStream {
    /// `clock_rate` is in ticks of the RTP timestamp per second.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { clock_rate: f64::from(clock_rate), previous: None, jitter: 0.0 }
    }

    /// A packet arrived; `time` is in seconds of any clock that runs steadily.
    pub(super) fn arrived(&mut self, timestamp: u32, time: f64) {
        if let Some((previous_time, previous_timestamp)) = self.previous {
            // RFC 3550 appendix A.8; the difference of timestamps is signed and may wrap.
            let sent = f64::from(timestamp.wrapping_sub(previous_timestamp).cast_signed());
            let deviation = ((time - previous_time) * self.clock_rate - sent).abs();
            self.jitter += (deviation - self.jitter) / 16.0;
        }
        self.previous = Some((time, timestamp));
    }

    /// Interarrival jitter in milliseconds (section 6.4.1).
    pub(super) fn jitter_ms(&self) -> f64 {
        self.jitter / self.clock_rate * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter_ms(packets: impl IntoIterator<Item = (u32, f64)>) -> f64 {
        let mut stream = RtpStream::new(8000);
        for (timestamp, time) in packets {
            stream.arrived(timestamp, time);
        }
        stream.jitter_ms()
    }

    #[test]
    fn packets_in_step_with_their_timestamps_have_no_jitter() {
        assert!(jitter_ms((0..50).map(|n| (n * 160, f64::from(n) * 0.02))) < 1e-6);
    }

    #[test]
    fn jitter_moves_a_sixteenth_towards_each_deviation() {
        assert!((jitter_ms([(0, 0.0), (160, 0.020 + 0.016)]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_timestamp_that_wraps_is_no_jitter() {
        assert!(jitter_ms([(u32::MAX - 79, 0.0), (80, 0.02)]) < 1e-6);
    }

    #[test]
    fn a_packet_that_overtook_another_deviates_both_ways() {
        assert!(jitter_ms([(160, 0.0), (0, 0.02)]) > 2.0);
    }
}
