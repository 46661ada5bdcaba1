//! What became of RTCP that ends here, or is translated.

use std::sync::atomic::{AtomicU64, Ordering};

/// RTCP of all legs whose RTCP ends at the relay or is translated, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtcpCounters {
    /// Packets that arrived and were read.
    pub received: u64,
    /// Packets that arrived and were no RTCP.
    pub malformed: u64,
    /// Packets that arrived faster than they could be read.
    pub lost: u64,
    /// Reports that were sent.
    pub reports: u64,
    /// Requests of receivers that were passed on to the source.
    pub feedback: u64,
    /// Requests that were not passed on: their source was asked too often. A hundred may come at once, and as many in a second.
    pub held_back: u64,
    /// Reports and requests that the system did not take.
    pub unsent: u64,
    /// Packets of retagged streams that were translated, to be sent on.
    pub translated: u64,
}

/// The same, as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) received: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) reports: AtomicU64,
    pub(super) feedback: AtomicU64,
    pub(super) held_back: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) translated: AtomicU64,
}

impl Counts {
    /// One more.
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub(crate) fn read(&self) -> RtcpCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RtcpCounters {
            received: read(&self.received),
            malformed: read(&self.malformed),
            lost: read(&self.lost),
            reports: read(&self.reports),
            feedback: read(&self.feedback),
            held_back: read(&self.held_back),
            unsent: read(&self.unsent),
            translated: read(&self.translated),
        }
    }
}

impl RtcpCounters {
    /// Each count with its name.
    pub const fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("rtcp_received", self.received),
            ("rtcp_malformed", self.malformed),
            ("rtcp_lost", self.lost),
            ("rtcp_reports", self.reports),
            ("rtcp_feedback", self.feedback),
            ("rtcp_held_back", self.held_back),
            ("rtcp_unsent", self.unsent),
            ("rtcp_translated", self.translated),
        ]
    }
}
