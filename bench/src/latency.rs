//! One-way delay: from the moment when the generator writes a packet's time stamp to the moment when the sink reads it,
//! by the kernel's monotonic clock. What the relay adds is the difference to a bare redirect.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::figure::Figure;
use crate::forwarding::USUAL_SIZE;
use crate::lane::{Lane, Traffic};
use crate::records::CPUS;
use crate::subject::Subject;
use crate::treatment::Treatment;

const FLOWS: u32 = 1000;
/// Calls that the relay has.
const CALLS: u32 = 16_384;
/// How long each subject is measured in its turn.
const WINDOW: Duration = Duration::from_millis(300);
/// The longest delay that the histogram tells from longer ones, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;
/// Significant digits of the histogram.
const DIGITS: u8 = 3;

/// How densely packets follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// One processor sends single packets, 10,000 a second: no packet waits for another.
    Low,
    /// Both processors send all they can, in batches of 64: packets wait for those before them.
    High,
}

impl Rate {
    fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }

    fn traffic(self) -> (Traffic, u32) {
        let (batch, interval, cpus) = match self {
            Self::Low => (1, Duration::from_micros(100), 1),
            Self::High => (64, Duration::ZERO, CPUS),
        };
        (Traffic { size: USUAL_SIZE, flows: FLOWS, batch, interval }, cpus)
    }
}

/// Both subjects, ready to take turns.
pub(crate) struct Latency {
    bare: Lane,
    relay: Lane,
}

impl Latency {
    /// Lays both lanes.
    pub(crate) fn prepare() -> Result<Self> {
        Ok(Self {
            bare: Lane::timing(Subject::Bare, CALLS)?,
            relay: Lane::timing(Subject::Relay(Treatment::Plain), CALLS)?,
        })
    }

    /// Measures both in turn, `rounds` times.
    pub(crate) fn measure(&mut self, rate: Rate, rounds: usize) -> Result<Vec<Figure>> {
        let (traffic, cpus) = rate.traffic();
        let mut bare = Histogram::new_with_max(LONGEST, DIGITS)?;
        let mut relay = bare.clone();
        for _ in 0..rounds {
            record(&mut bare, &self.bare.delays(traffic, cpus, WINDOW)?);
            record(&mut relay, &self.relay.delays(traffic, cpus, WINDOW)?);
        }
        ensure!(!bare.is_empty() && !relay.is_empty(), "no packet arrived");
        self.bare.account()?;
        self.relay.account()?;
        Ok(figures(rate, &bare, &relay))
    }
}

fn record(histogram: &mut Histogram<u64>, delays: &[u32]) {
    for delay in delays {
        histogram.saturating_record(u64::from(*delay));
    }
}

fn figures(rate: Rate, bare: &Histogram<u64>, relay: &Histogram<u64>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)] {
        let of = |histogram: &Histogram<u64>| {
            #[expect(clippy::cast_precision_loss, reason = "at most a second in nanoseconds")]
            let delay = histogram.value_at_quantile(quantile) as f64;
            delay
        };
        let figure = |subject: &str, value| {
            Figure::single(format!("latency_{}_{subject}_{name}_ns", rate.name()), value, "ns")
        };
        figures.extend([
            figure("added", of(relay) - of(bare)),
            figure("relay", of(relay)),
            figure("bare", of(bare)),
        ]);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_relay_adds_is_the_difference_at_each_quantile() {
        let mut bare = Histogram::new_with_max(LONGEST, DIGITS).unwrap();
        let mut relay = bare.clone();
        record(&mut bare, &[1000, 1000, 1000]);
        record(&mut relay, &[1500, 1500, 1900]);
        let figures = figures(Rate::Low, &bare, &relay);
        let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
        assert_eq!(value("latency_low_added_p50_ns"), Some(500.0));
        assert_eq!(value("latency_low_bare_max_ns"), Some(1000.0));
        assert!(value("latency_low_added_max_ns").is_some_and(|added| (899.0..=901.0).contains(&added)));
    }
}
