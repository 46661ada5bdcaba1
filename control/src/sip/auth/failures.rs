//! Failed proofs by source address, so that passwords cannot be guessed fast.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long failures are counted together, and how long the address is refused after too many.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered. Over the limit the oldest are forgotten: an attacker with that many addresses cannot
/// be slowed down by address.
const ADDRESSES: usize = 65_536;

/// Counts failures in windows of a minute.
#[derive(Debug)]
pub(super) struct Failures {
    limit: u32,
    by_source: HashMap<IpAddr, Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    count: u32,
}

impl Failures {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, by_source: HashMap::new() }
    }

    /// Whether the address has failed too often within the last minute.
    pub(super) fn is_over_limit(&self, now: Instant, source: IpAddr) -> bool {
        self.by_source
            .get(&source)
            .is_some_and(|window| window.count >= self.limit && now.duration_since(window.since) < WINDOW)
    }

    /// One more failure.
    pub(super) fn note(&mut self, now: Instant, source: IpAddr) {
        if self.by_source.len() >= ADDRESSES {
            self.by_source.retain(|_, window| now.duration_since(window.since) < WINDOW);
        }
        if self.by_source.len() >= ADDRESSES {
            self.by_source.clear();
        }
        let window = self.by_source.entry(source).or_insert(Window { since: now, count: 0 });
        if now.duration_since(window.since) >= WINDOW {
            *window = Window { since: now, count: 0 };
        }
        window.count += 1;
        if window.count == self.limit {
            window.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_refused_for_a_minute_after_too_many_failures_and_others_are_not() {
        let (start, mut failures) = (Instant::now(), Failures::new(3));
        let (bad, good) = ("192.0.2.66".parse().unwrap(), "192.0.2.7".parse().unwrap());
        for second in 0..3 {
            assert!(!failures.is_over_limit(start, bad));
            failures.note(start + Duration::from_secs(second), bad);
        }
        assert!(failures.is_over_limit(start + Duration::from_secs(61), bad));
        assert!(!failures.is_over_limit(start, good));
        assert!(!failures.is_over_limit(start + Duration::from_secs(62), bad));
    }
}
