//! Whether a worker is in the middle of something: who changed what it reads can wait until it has seen it.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_micros(200);
/// No turn takes so long: the worker has ended in the middle of one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts beginnings and ends of a worker's turns: odd while one goes on.
#[derive(Debug, Default)]
pub(crate) struct Turns(AtomicU64);

impl Turns {
    /// A turn begins.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        // What the worker reads from here on is what was there when the turn began, or newer.
        fence(Ordering::SeqCst);
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until a turn that goes on now has ended: then the worker reads nothing that is older than the call.
    pub(crate) fn wait(&self) {
        fence(Ordering::SeqCst);
        let (seen, start) = (self.0.load(Ordering::SeqCst), Instant::now());
        let goes_on = || seen % 2 == 1 && self.0.load(Ordering::SeqCst) == seen;
        while goes_on() && start.elapsed() < PATIENCE {
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn who_waits_goes_on_when_the_turn_has_ended() {
        let (turns, has_ended) = (Arc::new(Turns::default()), AtomicBool::new(false));
        turns.wait();
        turns.begin();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                has_ended.store(true, Ordering::SeqCst);
                turns.end();
                // The next turn is nobody's business.
                turns.begin();
            });
            turns.wait();
            assert!(has_ended.load(Ordering::SeqCst));
        });
    }
}
