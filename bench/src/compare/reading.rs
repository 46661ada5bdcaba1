//! What the instruments and the processors counted up to a moment.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::course::Outcome;
use crate::machine;
use crate::programs::Programs;

/// What was counted up to a moment.
pub(crate) struct Reading {
    at: Instant,
    sent: u64,
    arrived: u64,
    processor: Duration,
}

impl Reading {
    /// Now; the threads are those of the subject.
    pub(crate) fn take(programs: &Programs, threads: &[i32]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            sent: programs.sent_by_each()?.iter().sum(),
            arrived: programs.arrivals()?.right,
            processor: threads.iter().map(|thread| machine::processor_time_of_any(*thread)).sum(),
        })
    }

    /// What became of packets since then; how many were lost is known only when all have come.
    #[expect(clippy::cast_precision_loss, reason = "counts of packets within seconds are far below 2^52")]
    pub(crate) fn since(&self, start: &Self) -> Outcome {
        let seconds = (self.at - start.at).as_secs_f64();
        let arrived = (self.arrived - start.arrived) as f64;
        let processor = self.processor.saturating_sub(start.processor).as_secs_f64();
        Outcome {
            rate: (self.sent - start.sent) as f64 / seconds,
            goodput: arrived / seconds,
            lost: 0,
            processor_ns: processor * 1e9 / arrived.max(1.0),
        }
    }
}
