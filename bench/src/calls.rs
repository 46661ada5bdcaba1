//! How many calls a second one processor sets up and tears down: sipp calls sipp through the real daemon in relay mode.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::Topology;

use crate::gateway::Gateway;
use crate::sipp::{Outcome, Sipp};

/// Where the ramp begins.
const FIRST_RATE: u32 = 320;
/// Each step of the ramp is so many times the last one: 4/3.
const STEP: (u32, u32) = (4, 3);
/// Where the ramp ends, whatever happens.
const STEPS: usize = 16;
/// A step counts if its calls were begun at this share of the rate that was asked for.
const REACHED: f64 = 0.95;
/// How often a step is tried before it counts as failed.
const TRIES: usize = 2;

/// The best step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Calls {
    /// Calls a second, each set up and torn down, none failed.
    pub(crate) per_second: f64,
    /// Calls of this step.
    pub(crate) count: u64,
    /// Messages that had to be sent again.
    pub(crate) retransmissions: u64,
}

/// Raises the rate until calls fail; a step lasts for `step`.
pub(crate) fn measure(step: Duration) -> Result<Calls> {
    let topology = Topology::create().context("the bench takes root, iproute2 and ethtool")?;
    let gateway = Gateway::start(&topology)?;
    gateway.register(&topology)?;
    let _called = Sipp::answering(&topology)?;
    let mut best = Calls::default();
    let mut rate = FIRST_RATE;
    let mut falling = false;
    for _ in 0..STEPS {
        let reached = attempt(&topology, rate, step)?;
        match reached {
            Some(calls) if falling => return Ok(calls),
            Some(calls) => {
                best = calls;
                rate = rate * STEP.0 / STEP.1;
            }
            None if best.count > 0 => return Ok(best),
            None => {
                falling = true;
                rate = rate * STEP.1 / STEP.0;
            }
        }
        ensure!(rate > 0, "no call succeeds");
    }
    Ok(best)
}

/// Tries one rate; `None` if it is too much.
fn attempt(topology: &Topology, rate: u32, step: Duration) -> Result<Option<Calls>> {
    for _ in 0..TRIES {
        let outcome = Sipp::call(topology, rate, step)?;
        eprintln!("bench: {rate} calls/s asked for: {outcome:?}");
        if is_good(&outcome, rate) {
            return Ok(Some(Calls {
                per_second: outcome.rate,
                count: outcome.succeeded,
                retransmissions: outcome.retransmissions,
            }));
        }
    }
    Ok(None)
}

fn is_good(outcome: &Outcome, rate: u32) -> bool {
    outcome.failed == 0 && outcome.succeeded == outcome.asked && outcome.rate >= REACHED * f64::from(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Outcome = Outcome { asked: 900, succeeded: 900, failed: 0, retransmissions: 0, rate: 299.0 };

    #[test]
    fn one_failed_call_spoils_a_step() {
        assert!(is_good(&GOOD, 300));
        assert!(!is_good(&Outcome { failed: 1, ..GOOD }, 300));
    }

    #[test]
    fn a_step_without_its_rate_or_all_its_calls_does_not_count() {
        assert!(!is_good(&GOOD, 400));
        assert!(!is_good(&Outcome { succeeded: 899, ..GOOD }, 300));
    }
}
