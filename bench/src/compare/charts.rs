//! What is drawn of the comparison.

use super::offer::Packets;
use super::rates::{self, USUAL};
use super::subject::Subject;
use super::{Comparison, Effort};
use crate::report::{Axis, Bar, Chart, Line, Scale, Whose};

/// The charts, the most telling first.
pub(super) fn of(comparison: &Comparison, effort: Effort) -> Vec<Chart> {
    let mut charts = Vec::new();
    for packets in effort.packets {
        let bar = |subject: Subject| {
            let found = comparison.rates.of(*packets, subject)?;
            let sample = match packets {
                Packets::Steady { .. } => found.rate.clone(),
                Packets::OfCameras => rates::cameras(found),
            };
            Some(Bar::median(subject.title(), &sample, whose(subject)))
        };
        let bars = Subject::ALL.into_iter().filter_map(bar).collect();
        let (title, unit) = match packets {
            Packets::Steady { size, streams } => {
                (format!("Packets a second without loss, {size} bytes, streams: {streams}"), "packets/s")
            }
            Packets::OfCameras => {
                ("Cameras without loss: 4 Mbit/s each in bursts, with sound and jitter".to_owned(), "cameras")
            }
        };
        charts.push(Chart::Bars { title, unit, bars });
    }
    charts.push(costs(comparison));
    charts.extend(effort.percents.iter().map(|percent| delays(comparison, *percent)));
    let bar = |(subject, share): &(Subject, f64)| Bar {
        label: subject.title().into(),
        value: 100.0 * share,
        spread: None,
        whose: whose(*subject),
    };
    charts.push(Chart::Bars {
        title: "What still arrives at twice the highest rate, of that rate".into(),
        unit: "percent",
        bars: comparison.overload.iter().map(bar).collect(),
    });
    charts.push(scaling(comparison));
    charts
}

fn whose(subject: Subject) -> Whose {
    match subject {
        Subject::Instruments | Subject::Bare => Whose::Limit,
        subject if subject.is_ours() => Whose::Ours,
        _ => Whose::Theirs,
    }
}

fn costs(comparison: &Comparison) -> Chart {
    let bar = |subject: Subject| {
        let value = comparison.rates.cost_ns(USUAL, subject)?;
        Some(Bar { label: subject.title().into(), value, spread: None, whose: whose(subject) })
    };
    let subjects = Subject::ALL.into_iter().filter(|subject| *subject != Subject::Instruments);
    Chart::Bars {
        title: "Cost of a packet on one processor, without the instruments, 1200 bytes, 100 streams".into(),
        unit: "ns",
        bars: subjects.filter_map(bar).collect(),
    }
}

fn delays(comparison: &Comparison, percent: u32) -> Chart {
    let of_percent = comparison.delays.iter().filter(|delays| delays.percent == percent);
    let line = |delays: &super::Delays| Line {
        label: delays.subject.title().into(),
        points: (1..1000)
            .map(|permille| {
                let share = f64::from(permille) / 1000.0;
                #[expect(clippy::cast_precision_loss, reason = "at most a second in nanoseconds")]
                let delay = delays.with_subject.value_at_quantile(share) as f64;
                (delay / 1e3, 100.0 * share)
            })
            .collect(),
        whose: whose(delays.subject),
    };
    Chart::Lines {
        title: format!(
            "Delay from generator to sink at {percent} % of each subject's own highest rate, 1200 bytes, 100 streams"
        ),
        x: Axis { title: "microseconds", scale: Scale::Logarithmic },
        y: Axis { title: "percent of packets that were at least so quick", scale: Scale::Linear },
        lines: of_percent.map(line).collect(),
    }
}

fn scaling(comparison: &Comparison) -> Chart {
    let points = comparison.scale.relay.iter();
    let points = points.map(|(streams, sample)| (f64::from(*streams), sample.median() / 1e6)).collect();
    Chart::Lines {
        title: "Culvert, native XDP: rate by the number of streams that take turns, 100,000 installed".into(),
        x: Axis { title: "streams", scale: Scale::Logarithmic },
        y: Axis { title: "million packets/s", scale: Scale::Linear },
        lines: vec![Line { label: Subject::Native.title().into(), points, whose: Whose::Ours }],
    }
}
