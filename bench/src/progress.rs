//! How far a part of the bench is, and how long it still takes.

use std::time::Instant;

/// Rounds of a part, told on standard error.
pub(crate) struct Progress {
    start: Instant,
    rounds: usize,
}

impl Progress {
    /// The first of so many rounds begins.
    pub(crate) fn of(rounds: usize) -> Self {
        Self { start: Instant::now(), rounds }
    }

    /// So many rounds are through.
    pub(crate) fn tell(&self, done: usize) {
        let Some(left) = self.left(done, self.start.elapsed().as_secs_f64()) else {
            eprintln!("bench: round 1 of {}", self.rounds);
            return;
        };
        eprintln!("bench: round {} of {}, {left:.0} s left", done + 1, self.rounds);
    }

    /// Seconds that the others take if they are like those that are through; `None` before the first one is.
    fn left(&self, done: usize, elapsed: f64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a part has a few dozen rounds")]
        let (done, all) = (done as f64, self.rounds as f64);
        (done > 0.0).then(|| elapsed / done * (all - done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_through() {
        let progress = Progress::of(10);
        assert_eq!(progress.left(0, 1.0), None);
        assert_eq!(progress.left(4, 8.0), Some(12.0));
    }
}
