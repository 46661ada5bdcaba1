//! From what was counted of a source to what a report says of it (RFC 3550 appendix A.3).

use super::report::ReportBlock;

/// What was counted of a leg's sources until now, the present one and those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The source that sends now.
    pub ssrc: u32,
    /// Changes whenever a source starts anew.
    pub start: u64,
    /// Packets that there should have been, by their sequence numbers.
    pub expected: u64,
    /// Packets that arrived, late and duplicate ones too.
    pub packets: u64,
    /// Highest sequence number of the present source, extended by the number of its cycles.
    pub highest: u32,
    /// Interarrival jitter, in units of the RTP timestamp.
    pub jitter: u32,
}

/// What the last report on a source said, so that the next can say what was lost since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    last: Option<Received>,
    /// Expected and arrived before the present source.
    before: (u64, u64),
}

impl Reception {
    /// The block that reports on the present source. Another source, or counters that began anew, begin a new account.
    ///
    /// `sender_report` is the [`super::middle_of_ntp`] of the last sender report, and the time since it arrived in
    /// units of 2^-16 s.
    pub fn report(&mut self, now: Received, sender_report: Option<(u32, u32)>) -> ReportBlock {
        let went_on = self.last.filter(|last| last.packets <= now.packets);
        let same = went_on.filter(|last| last.ssrc == now.ssrc && last.start == now.start);
        if same.is_none() {
            self.before = went_on.map_or((0, 0), |last| (last.expected, last.packets));
        }
        let (expected_before, received_before) =
            same.map_or(self.before, |last| (last.expected, last.packets));
        self.last = Some(now);
        let expected_since = now.expected.saturating_sub(expected_before);
        let received_since = now.packets.saturating_sub(received_before);
        let lost_since = expected_since.saturating_sub(received_since);
        // All of it is 255/256, because a byte holds no more.
        let fraction = (lost_since << 8).checked_div(expected_since).unwrap_or(0);
        let (last_sender_report, delay) = sender_report.unwrap_or_default();
        let (expected, packets) =
            (now.expected.saturating_sub(self.before.0), now.packets.saturating_sub(self.before.1));
        ReportBlock {
            ssrc: now.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: lost(expected, packets),
            extended_highest: now.highest,
            jitter: now.jitter,
            last_sender_report,
            delay,
        }
    }
}

/// Packets lost, negative where more arrived than were expected. The report clamps it to 24 bits.
fn lost(expected: u64, received: u64) -> i32 {
    if expected >= received {
        i32::try_from(expected - received).unwrap_or(i32::MAX)
    } else {
        i32::try_from(received - expected).map_or(i32::MIN, |more| -more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose first packet had number 100.
    fn received(highest: u32, packets: u64) -> Received {
        Received { ssrc: 7, start: 0, expected: u64::from(highest) - 99, packets, highest, jitter: 3 }
    }

    #[test]
    fn losses_are_counted_since_the_last_report_and_since_the_beginning() {
        let mut reception = Reception::default();
        let first = reception.report(received(199, 90), None);
        assert_eq!((first.fraction_lost, first.cumulative_lost, first.extended_highest), (25, 10, 199));
        let second = reception.report(received(299, 190), Some((5, 6)));
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 10), "nothing was lost since");
        assert_eq!((second.last_sender_report, second.delay, second.jitter), (5, 6, 3));
        let third = reception.report(received(399, 240), None);
        assert_eq!((third.fraction_lost, third.cumulative_lost), (128, 60));
    }

    #[test]
    fn duplicates_make_losses_negative_but_no_fraction() {
        let block = Reception::default().report(received(109, 15), None);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -5));
    }

    #[test]
    fn a_silent_source_lost_nothing_since() {
        let mut reception = Reception::default();
        reception.report(received(199, 90), None);
        assert_eq!(reception.report(received(199, 90), None).fraction_lost, 0);
    }

    #[test]
    fn another_source_begins_a_new_account() {
        let mut reception = Reception::default();
        reception.report(received(199, 90), None);
        // Ten more were expected, and five of them came.
        let other = Received { ssrc: 8, start: 1, expected: 110, packets: 95, highest: 65_009, jitter: 0 };
        let block = reception.report(other, None);
        assert_eq!((block.ssrc, block.fraction_lost, block.cumulative_lost), (8, 128, 5));
        let later = Received { expected: 120, packets: 105, highest: 65_019, ..other };
        assert_eq!(reception.report(later, None).cumulative_lost, 5);
    }

    #[test]
    fn counters_that_began_anew_begin_a_new_account() {
        let mut reception = Reception::default();
        reception.report(received(199, 90), None);
        let block = reception.report(received(109, 8), None);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 2));
    }

    #[test]
    fn a_stream_of_which_all_was_lost_says_255() {
        let mut reception = Reception::default();
        reception.report(received(199, 100), None);
        assert_eq!(reception.report(received(299, 100), None).fraction_lost, 255);
    }
}
