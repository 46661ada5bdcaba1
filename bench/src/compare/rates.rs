//! The highest rate without loss of every subject, in turns.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::cameras;
use super::course::Course;
use super::offer::{Offer, Packets};
use super::reading::Outcome;
use super::search::{self, Ceiling, Search, Trial};
use super::subject::Subject;
use crate::figure::Figure;
use crate::sample::Sample;

/// Where the first search of a subject begins, in packets a second: every subject takes that.
const FIRST: f64 = 25_000.0;
/// From one rate of the first search to the next, and of later ones, which begin near the last result.
const GROWTH: (f64, f64) = (2.0, 1.1);

/// The packets that ratios are about: video of a monitoring centre.
pub(crate) const USUAL: Packets = Packets::Steady { size: 1200, streams: 100 };

/// How finely it is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effort {
    /// Turns of each subject.
    pub(crate) rounds: usize,
    /// The results are at most this share below a rate with loss.
    pub(crate) resolution: f64,
    /// How long each rate is tried.
    pub(crate) window: Duration,
}

/// What was found for a subject and a kind of packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Packets a second without loss.
    pub(crate) rate: Sample,
    /// Processor time of the subject's threads for a packet at that rate, in nanoseconds.
    pub(crate) processor_ns: Sample,
    /// The last result.
    pub(crate) ceiling: Ceiling,
    /// By round, for ratios of one round.
    each: Vec<f64>,
}

/// Everything that was found.
#[derive(Default)]
pub(crate) struct Rates(BTreeMap<(Packets, Subject), Found>);

impl Rates {
    /// One more turn of every subject.
    pub(crate) fn round(&mut self, courses: &mut [Course], packets: Packets, effort: Effort) -> Result<()> {
        for course in courses.iter_mut().filter(|course| course.has(packets.streams())) {
            let found = self.0.entry((packets, course.subject)).or_default();
            found.search(course, packets, effort)?;
        }
        Ok(())
    }

    /// What was found for a subject.
    pub(crate) fn of(&self, packets: Packets, subject: Subject) -> Option<&Found> {
        self.0.get(&(packets, subject))
    }

    /// The rates of two subjects in the same round, one over the other.
    pub(crate) fn ratio(&self, packets: Packets, subject: Subject, other: Subject) -> Option<Sample> {
        let (subject, other) = (self.of(packets, subject)?, self.of(packets, other)?);
        Some(subject.each.iter().zip(&other.each).map(|(subject, other)| subject / other).collect())
    }

    /// Nanoseconds of one processor for a packet. What the kernel does for programs before they receive is not in it.
    pub(crate) fn cost_ns(&self, packets: Packets, subject: Subject) -> Option<f64> {
        let found = self.of(packets, subject)?;
        if !subject.is_kernel() {
            return Some(found.processor_ns.median());
        }
        // Both processors do nothing else; the instruments' share is known from their measurement without a subject.
        let instruments = self.of(packets, Subject::Instruments)?;
        let for_each =
            |found: &Found| f64::from(subject.senders(packets.streams())) * 1e9 / found.rate.median();
        Some(for_each(found) - for_each(instruments))
    }

    /// Every rate and cost.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for ((packets, subject), found) in &self.0 {
            let name = subject.name();
            let Packets::Steady { size, streams } = packets else {
                let cameras = Figure::median(format!("compare_{name}_cameras"), &cameras(found), "cameras");
                figures.push(cameras);
                continue;
            };
            let suffix = format!("{size}_{streams}");
            figures.push(Figure::median(format!("compare_{name}_pps_{suffix}"), &found.rate, "packets/s"));
            let cost = self.cost_ns(*packets, *subject).filter(|_| *subject != Subject::Instruments);
            figures
                .extend(cost.map(|cost| Figure::single(format!("compare_{name}_ns_{suffix}"), cost, "ns")));
        }
        figures
    }
}

/// As many cameras as send so many packets.
pub(crate) fn cameras(found: &Found) -> Sample {
    found.each.iter().map(|rate| rate / f64::from(cameras::PACKETS_A_SECOND)).collect()
}

impl Found {
    /// One more search.
    fn search(&mut self, course: &mut Course, packets: Packets, effort: Effort) -> Result<()> {
        let Ceiling { rate, is_held_back } = self.ceiling;
        let (first, growth) = match (rate, is_held_back) {
            (0.0, _) => (FIRST, GROWTH.0),
            // More than can be sent, so that it is held back at once.
            (rate, true) => (2.0 * rate, GROWTH.1),
            (rate, false) => (rate / GROWTH.1, GROWTH.1),
        };
        let mut processor_ns = f64::NAN;
        let search = Search { first, growth, resolution: effort.resolution };
        self.ceiling = search::ceiling(search, |rate| {
            let outcome = offer_twice(course, packets, rate, effort.window)?;
            let is_whole = outcome.is_whole();
            if is_whole {
                processor_ns = outcome.processor_ns;
            }
            Ok(Trial { rate: outcome.rate.min(outcome.goodput), is_whole })
        })?;
        self.rate.push(self.ceiling.rate);
        self.each.push(self.ceiling.rate);
        self.processor_ns.push(processor_ns);
        Ok(())
    }
}

/// A rate with loss is tried once more: the machine may have been to blame.
fn offer_twice(course: &mut Course, packets: Packets, rate: f64, window: Duration) -> Result<Outcome> {
    let offer = Offer { packets, rate, window };
    let first = course.offer(offer)?;
    if first.is_whole() {
        return Ok(first);
    }
    course.recover()?;
    let second = course.offer(offer)?;
    if !second.is_whole() {
        course.recover()?;
    }
    Ok(second)
}
