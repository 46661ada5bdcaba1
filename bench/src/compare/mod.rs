//! The relay beside what a person would use instead: same wires, same packets, in turns.

mod cameras;
mod charts;
mod course;
mod culvert;
mod load;
mod nat;
mod ng;
mod offer;
mod peers;
mod precedence;
mod processes;
mod rates;
mod reading;
mod rtpengine;
mod scale;
mod search;
mod socat;
mod sockets;
mod stream;
mod subject;
mod words;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figure::Figure;
use crate::measured::Measured;
use crate::progress::Progress;
use crate::sample::Sample;
use course::Course;
use load::Delays;
use offer::Packets;
use rates::{Rates, USUAL};
use scale::Scale;
use subject::Subject;

pub(crate) use peers::install;

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effort {
    rates: rates::Effort,
    /// Kinds of packets.
    packets: &'static [Packets],
    /// Percents of each subject's highest rate at which delays are measured, and how often.
    percents: &'static [u32],
    delays: usize,
}

impl Effort {
    /// For continuous integration.
    pub(crate) const QUICK: Self = Self {
        rates: rates::Effort { rounds: 5, resolution: 0.02, window: Duration::from_millis(50) },
        packets: &[USUAL],
        percents: &[50],
        delays: 1,
    };
    /// For figures that are published.
    pub(crate) const FULL: Self = Self {
        rates: rates::Effort { rounds: 7, resolution: 0.001, window: Duration::from_millis(100) },
        packets: &[
            USUAL,
            Packets::OfCameras,
            Packets::Steady { size: 1200, streams: 1 },
            Packets::Steady { size: 1200, streams: 10_000 },
            Packets::Steady { size: 200, streams: 1 },
            Packets::Steady { size: 200, streams: 100 },
            Packets::Steady { size: 200, streams: 10_000 },
        ],
        percents: &[10, 50, 90],
        delays: 5,
    };

    /// For a figure that missed its bar.
    pub(crate) fn twice(self) -> Self {
        Self { rates: rates::Effort { rounds: 2 * self.rates.rounds, ..self.rates }, ..self }
    }

    /// Most streams of one kind of packets.
    fn streams(self) -> u32 {
        self.packets.iter().map(|packets| packets.streams()).max().unwrap_or_default()
    }
}

/// Everything that was compared.
struct Comparison {
    rates: Rates,
    delays: Vec<Delays>,
    overload: Vec<(Subject, f64)>,
    late: Vec<(Subject, u64)>,
    scale: Scale,
}

/// Compares all subjects that are there.
pub(crate) fn measure(effort: Effort) -> Result<Measured> {
    let mut notes = words::scope();
    let mut courses = Vec::new();
    for subject in Subject::ALL {
        if let Some(package) = subject.missing_package() {
            notes.push(words::missing(subject, package));
            continue;
        }
        match Course::lay(subject, effort.streams()) {
            Ok(course) => courses.push(course),
            // Only some kernels have it, and it is no part of any bar.
            Err(error) if subject == Subject::Flowtable => notes.push(words::refused(subject, &error)),
            Err(error) => return Err(error),
        }
    }
    let mut rates = Rates::default();
    let progress = Progress::of(effort.rates.rounds);
    for round in 0..effort.rates.rounds {
        progress.tell(round);
        for packets in effort.packets {
            rates.round(&mut courses, *packets, effort.rates)?;
        }
    }
    let delays = load::delays(&mut courses, &rates, effort.percents, effort.delays)?;
    let (mut overload, mut late) = (Vec::new(), Vec::new());
    for course in &mut courses {
        overload.extend(load::overload(course, &rates)?.map(|share| (course.subject, share)));
        late.push((course.subject, course.late()?));
    }
    drop(courses);
    let scale = scale::measure(effort.rates)?;
    let comparison = Comparison { rates, delays, overload, late, scale };
    notes.extend(words::of(&comparison, effort));
    Ok(Measured {
        figures: figures(&comparison)?,
        charts: charts::of(&comparison, effort),
        notes,
        behind: words::behind(&comparison),
    })
}

fn figures(comparison: &Comparison) -> Result<Vec<Figure>> {
    let Comparison { rates, delays, overload, late, scale } = comparison;
    let ratio = |subject, other| rates.ratio(USUAL, subject, other);
    let over = [
        ("over_rtpengine", ratio(Subject::Native, Subject::Rtpengine)),
        ("over_nftables", ratio(Subject::Native, Subject::Nftables)),
        ("compare_native_over_bare", ratio(Subject::Native, Subject::Bare)),
        ("compare_generic_over_rtpengine", ratio(Subject::Generic, Subject::Rtpengine)),
        ("compare_generic_over_nftables", ratio(Subject::Generic, Subject::Nftables)),
        ("compare_user_over_rtpengine", ratio(Subject::User, Subject::Rtpengine)),
    ];
    let over = over.into_iter().filter_map(|(name, sample)| Some(Figure::median(name, &sample?, "ratio")));
    let mut figures: Vec<_> = over.collect();
    if let (Some(others), Some(ours)) =
        (rates.cost_ns(USUAL, Subject::Nftables), rates.cost_ns(USUAL, Subject::Native))
    {
        figures.push(Figure::single("compare_nftables_cost_over_native", others / ours, "ratio"));
    }
    figures.extend(rates.of(USUAL, Subject::Bare).map(|bare| noise(&bare.rate)));
    figures.extend(rates.figures());
    figures.extend(delays.iter().flat_map(Delays::figures));
    let overload = overload.iter();
    figures.extend(overload.map(|(subject, share)| {
        Figure::single(format!("compare_{}_overload", subject.name()), *share, "share")
    }));
    #[expect(clippy::cast_precision_loss, reason = "counts of packets are far below 2^52")]
    let late = late.iter().map(|(subject, late)| {
        Figure::single(format!("compare_{}_late", subject.name()), *late as f64, "packets")
    });
    figures.extend(late);
    figures.extend(scale.figures());
    ensure!(!figures.is_empty(), "nothing was compared");
    Ok(figures)
}

/// How much the machine disturbs: the spread of what should always be the same.
fn noise(bare: &Sample) -> Figure {
    let (low, high) = bare.quartiles();
    Figure::single("compare_noise_percent", 100.0 * (high - low) / bare.median(), "percent")
}
