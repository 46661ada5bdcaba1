//! Deadlines in order: one queue instead of one task or one sleep per timer. It must not know what it times.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names one running timer, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerHandle {
    at: Instant,
    number: u64,
}

/// Keys, each with the time at which it is due. Setting, cancelling and popping take logarithmic time.
#[derive(Debug)]
pub struct TimerQueue<K> {
    due: BTreeMap<TimerHandle, K>,
    next: u64,
}

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), next: 0 }
    }
}

impl<K> TimerQueue<K> {
    /// Starts a timer. Timers due at the same instant fire in the order in which they were set.
    pub fn set(&mut self, at: Instant, key: K) -> TimerHandle {
        let handle = TimerHandle { at, number: self.next };
        self.next += 1;
        self.due.insert(handle, key);
        handle
    }

    /// Stops a timer; nothing happens if it has fired already.
    pub fn cancel(&mut self, handle: TimerHandle) {
        self.due.remove(&handle);
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|handle| handle.at)
    }

    /// Takes the first timer that is due.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let entry = self.due.first_entry()?;
        (entry.key().at <= now).then(|| entry.remove())
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_fire_in_order_of_time_then_of_setting_unless_cancelled() {
        let start = Instant::now();
        let mut timers = TimerQueue::default();
        timers.set(start + Duration::from_secs(2), "late");
        let cancelled = timers.set(start + Duration::from_secs(1), "cancelled");
        timers.set(start + Duration::from_secs(1), "first");
        timers.set(start + Duration::from_secs(1), "second");
        timers.cancel(cancelled);
        assert_eq!(timers.next_due(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.pop(start), None);
        let now = start + Duration::from_secs(2);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop(now)).collect();
        assert_eq!(fired, ["first", "second", "late"]);
        assert!(timers.is_empty());
    }
}
