//! How subjects behave at a share of their own highest rate, and beyond it.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::course::Course;
use super::offer::Offer;
use super::rates::{Rates, USUAL};
use super::subject::Subject;
use crate::figure::Figure;

/// How long each is measured.
const WINDOW: Duration = Duration::from_millis(150);
/// Beyond the highest rate: so many times.
const OVERLOAD: f64 = 2.0;
/// An overload that the generator reaches by less than this share is none.
const REACHED: f64 = 0.9;
/// The longest delay that the histogram tells from longer ones, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;
/// Significant digits of the histogram.
const DIGITS: u8 = 3;
/// Quantiles that are told.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)];

/// Delays of a subject at a share of its highest rate, and of a bare redirect at the same rate.
pub(crate) struct Delays {
    pub(crate) subject: Subject,
    /// Percent of the subject's highest rate.
    pub(crate) percent: u32,
    pub(crate) with_subject: Histogram<u64>,
    bare: Histogram<u64>,
}

impl Delays {
    /// What the subject adds, in microseconds.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let figure = |(name, quantile): (&str, f64)| {
            let at = |histogram: &Histogram<u64>| {
                #[expect(clippy::cast_precision_loss, reason = "at most a second in nanoseconds")]
                let delay = histogram.value_at_quantile(quantile) as f64;
                delay
            };
            let added = (at(&self.with_subject) - at(&self.bare)) / 1e3;
            let name = format!("compare_{}_added_{name}_us_{}", self.subject.name(), self.percent);
            Figure::single(name, added, "us")
        };
        QUANTILES.map(figure).into()
    }
}

/// Measures the delays of every subject at these percents of its highest rate, in turns with a bare redirect.
pub(crate) fn delays(
    courses: &mut [Course],
    rates: &Rates,
    percents: &[u32],
    turns: usize,
) -> Result<Vec<Delays>> {
    let mut all = Vec::new();
    let Some(bare) = courses.iter().position(|course| course.subject == Subject::Bare) else {
        return Ok(all);
    };
    for at in 0..courses.len() {
        let subject = courses.get(at).context("a course of each number")?.subject;
        let Some(found) = rates.of(USUAL, subject) else { continue };
        if matches!(subject, Subject::Bare | Subject::Instruments) {
            continue;
        }
        for percent in percents {
            let rate = found.rate.median() * f64::from(*percent) / 100.0;
            let mut histograms =
                [Histogram::new_with_max(LONGEST, DIGITS)?, Histogram::new_with_max(LONGEST, DIGITS)?];
            for _ in 0..turns {
                for (which, histogram) in [at, bare].into_iter().zip(&mut histograms) {
                    let course = courses.get_mut(which).context("a course of each number")?;
                    let (outcome, delays) = course.delays(offer(rate))?;
                    delays.iter().for_each(|delay| histogram.saturating_record(u64::from(*delay)));
                    if outcome.lost > 0 {
                        course.recover()?;
                    }
                }
            }
            let [with_subject, bare] = histograms;
            all.push(Delays { subject, percent: *percent, with_subject, bare });
        }
    }
    Ok(all)
}

/// What arrives of twice the highest rate, over that rate; `None` where the generator shares the processors with the subject,
/// so that it cannot send as much.
pub(crate) fn overload(course: &mut Course, rates: &Rates) -> Result<Option<f64>> {
    let Some(found) = rates.of(USUAL, course.subject) else { return Ok(None) };
    let most = found.rate.median();
    if found.ceiling.is_held_back || most <= 0.0 {
        return Ok(None);
    }
    let outcome = course.offer(offer(OVERLOAD * most))?;
    course.recover()?;
    Ok((outcome.rate >= REACHED * OVERLOAD * most).then(|| outcome.goodput / most))
}

fn offer(rate: f64) -> Offer {
    Offer { packets: USUAL, rate, window: WINDOW }
}
