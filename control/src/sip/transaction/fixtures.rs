//! What the tests of the four machines share: the timers of RFC 3261 over both kinds of transport.

use std::time::Duration;

use super::Timing;
use crate::config::Timers;

/// Retransmits.
pub(super) const UDP: Timing = Timing {
    timers: Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) },
    reliable: false,
};

/// Does not.
pub(super) const TCP: Timing = Timing { reliable: true, ..UDP };

/// Milliseconds.
pub(super) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
