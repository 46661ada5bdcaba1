//! The highest rate that a subject takes without loss, approached from below: some subjects do not recover from a flood.

use anyhow::Result;

/// A sender that reaches less than this share of what it is asked for can no more: the subject, which works on the same
/// processors, holds it back.
const REACHED: f64 = 0.9;
/// Steps down before it is said that nothing is without loss.
const STEPS_DOWN: usize = 12;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Search {
    /// The first rate.
    pub(crate) first: f64,
    /// Each rate is so many times the one before until there is loss; above 1.
    pub(crate) growth: f64,
    /// The result is at most this share below a rate with loss.
    pub(crate) resolution: f64,
}

/// What came of one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trial {
    /// What was really sent.
    pub(crate) rate: f64,
    /// Whether every packet arrived.
    pub(crate) is_whole: bool,
}

/// The result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ceiling {
    /// Packets a second; 0 if there is no rate without loss.
    pub(crate) rate: f64,
    /// Whether more could not be sent, rather than was lost.
    pub(crate) is_held_back: bool,
}

/// Searches.
pub(crate) fn ceiling(search: Search, mut attempt: impl FnMut(f64) -> Result<Trial>) -> Result<Ceiling> {
    let (mut asked, mut best, mut spoilt) = (search.first, 0.0_f64, f64::INFINITY);
    for _ in 0..STEPS_DOWN {
        let trial = attempt(asked)?;
        if trial.is_whole {
            best = trial.rate;
            if trial.rate < REACHED * asked {
                return held_back(best, attempt);
            }
            break;
        }
        spoilt = asked;
        asked /= search.growth;
    }
    while best > 0.0 && spoilt.is_infinite() {
        asked *= search.growth;
        let trial = attempt(asked)?;
        if !trial.is_whole {
            spoilt = asked;
        } else if trial.rate < REACHED * asked {
            return held_back(best.max(trial.rate), attempt);
        } else {
            best = trial.rate;
        }
    }
    while best > 0.0 && spoilt > best * (1.0 + search.resolution) {
        let asked = f64::midpoint(best, spoilt);
        let trial = attempt(asked)?;
        // Progress even if somewhat less is sent than was asked for.
        if trial.is_whole && trial.rate > best {
            best = trial.rate;
        } else {
            spoilt = asked;
        }
    }
    Ok(Ceiling { rate: best, is_held_back: false })
}

/// Asks for all that can be sent, which takes no look at the clock.
fn held_back(best: f64, mut attempt: impl FnMut(f64) -> Result<Trial>) -> Result<Ceiling> {
    let trial = attempt(f64::INFINITY)?;
    let rate = if trial.is_whole { best.max(trial.rate) } else { best };
    Ok(Ceiling { rate, is_held_back: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Search = Search { first: 1000.0, growth: 2.0, resolution: 0.001 };

    fn loses_above(limit: f64) -> impl FnMut(f64) -> Result<Trial> {
        move |rate| Ok(Trial { rate, is_whole: rate <= limit })
    }

    #[test]
    fn the_ceiling_is_found_within_the_resolution() {
        for limit in [3.0, 1000.0, 54_321.0, 7e6] {
            let found = ceiling(SEARCH, loses_above(limit)).unwrap();
            assert!(found.rate <= limit && found.rate > limit * 0.998, "{found:?} for {limit}");
            assert!(!found.is_held_back);
        }
    }

    #[test]
    fn a_sender_that_is_held_back_ends_the_search() {
        let found = ceiling(SEARCH, |rate| Ok(Trial { rate: rate.min(50_000.0), is_whole: true })).unwrap();
        assert_eq!(found, Ceiling { rate: 50_000.0, is_held_back: true });
    }

    #[test]
    fn what_always_loses_has_none() {
        assert_eq!(ceiling(SEARCH, loses_above(-1.0)).unwrap().rate, 0.0);
    }
}
