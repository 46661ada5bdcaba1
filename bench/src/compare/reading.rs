//! What the instruments and the processors counted up to a moment.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::machine;
use crate::programs::Programs;

/// A subject keeps up if this share of what is sent meanwhile arrives meanwhile.
const KEPT_UP: f64 = 0.97;

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Packets a second that were sent: no more than were asked for, and fewer if the generator cannot.
    pub(crate) rate: f64,
    /// Packets a second that arrived.
    pub(crate) goodput: f64,
    /// Packets that were sent and did not arrive, from the first to the last one.
    pub(crate) lost: u64,
    /// Time that the subject's threads had a processor, for each packet that arrived, in nanoseconds.
    pub(crate) processor_ns: f64,
}

impl Outcome {
    /// Whether every packet arrived, and arrived meanwhile: queues that grow only put loss off.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.goodput > KEPT_UP * self.rate
    }
}

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
