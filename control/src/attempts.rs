//! What somebody tries too often: failed proofs by source address, so that passwords cannot be guessed fast.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long attempts are counted together, and how long who made too many is refused.
const WINDOW: Duration = Duration::from_secs(60);

/// Who is remembered. Over the limit the oldest are forgotten: an attacker with that many addresses cannot be slowed down
/// by address.
const REMEMBERED: usize = 65_536;

/// Counts attempts in windows of a minute, by who makes them.
#[derive(Debug)]
pub struct Attempts<K> {
    limit: u32,
    by_source: HashMap<K, Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    count: u32,
}

impl<K: Hash + Eq> Attempts<K> {
    /// At most so many in a minute.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, by_source: HashMap::new() }
    }

    /// Whether there were too many within the last minute.
    pub fn is_over_limit(&self, now: Instant, source: &K) -> bool {
        self.by_source
            .get(source)
            .is_some_and(|window| window.count >= self.limit && now.duration_since(window.since) < WINDOW)
    }

    /// One more.
    pub fn note(&mut self, now: Instant, source: K) {
        if self.by_source.len() >= REMEMBERED {
            self.by_source.retain(|_, window| now.duration_since(window.since) < WINDOW);
        }
        if self.by_source.len() >= REMEMBERED {
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
        let (start, mut attempts) = (Instant::now(), Attempts::new(3));
        let (bad, good) = ("192.0.2.66", "192.0.2.7");
        for second in 0..3 {
            assert!(!attempts.is_over_limit(start, &bad));
            attempts.note(start + Duration::from_secs(second), bad);
        }
        assert!(attempts.is_over_limit(start + Duration::from_secs(61), &bad));
        assert!(!attempts.is_over_limit(start, &good));
        assert!(!attempts.is_over_limit(start + Duration::from_secs(62), &bad));
    }
}
