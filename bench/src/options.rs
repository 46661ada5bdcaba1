//! What the options of a leg cost: rates of relays that differ in one option, in turns with one that has none.

use std::time::Duration;

use anyhow::Result;

use crate::figure::Figure;
use crate::forwarding::{BATCH, USUAL_SIZE, WINDOW};
use crate::lane::{Lane, Traffic};
use crate::progress::Progress;
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;

/// Calls that each relay has.
const CALLS: u32 = 16_384;
/// Flows that every option is measured with.
const FLOWS: u32 = 1000;

/// One option.
struct Measured {
    treatment: Treatment,
    lane: Lane,
    /// Its rate over that of the plain relay, [`FLOWS`] flows.
    ratio: Sample,
    /// The same with as many flows as there are calls; empty if it is not measured.
    ratio_of_all: Sample,
}

impl Measured {
    /// Whether it is measured with many flows, too: those whose records of a leg are the largest.
    fn is_measured_with_all(&self) -> bool {
        matches!(self.treatment, Treatment::Ipv6 | Treatment::Retag)
    }

    fn figures(&self) -> Vec<Figure> {
        let name = match self.treatment {
            Treatment::Ipv6 => "ipv6_over_ipv4".into(),
            other => format!("{}_over_plain", other.name()),
        };
        let mut figures = vec![Figure::median(name.clone(), &self.ratio, "ratio")];
        if self.is_measured_with_all() {
            figures.push(Figure::median(format!("{name}_{CALLS}"), &self.ratio_of_all, "ratio"));
        }
        figures
    }
}

/// Measures every option, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let lane = |treatment| Lane::counting(Subject::Relay(treatment), CALLS);
    let mut plain = lane(Treatment::Plain)?;
    let mut options = Vec::new();
    for treatment in Treatment::OPTIONS {
        let (ratio, ratio_of_all) = (Sample::default(), Sample::default());
        options.push(Measured { treatment, lane: lane(treatment)?, ratio, ratio_of_all });
    }
    let progress = Progress::of(rounds);
    for round in 0..rounds {
        progress.tell(round);
        // Every option between two turns of the plain relay, whose mean it is compared with.
        let mut before = rate(&mut plain, FLOWS)?;
        for pair in options.chunks_mut(2) {
            let rates = pair.iter_mut().map(|option| rate(&mut option.lane, FLOWS));
            let rates = rates.collect::<Result<Vec<_>>>()?;
            let after = rate(&mut plain, FLOWS)?;
            for (option, rate) in pair.iter_mut().zip(rates) {
                option.ratio.push(2.0 * rate / (before + after));
            }
            before = after;
        }
        let before = rate(&mut plain, CALLS)?;
        let mut large: Vec<_> = options.iter_mut().filter(|option| option.is_measured_with_all()).collect();
        let rates = large.iter_mut().map(|option| rate(&mut option.lane, CALLS));
        let rates = rates.collect::<Result<Vec<_>>>()?;
        let after = rate(&mut plain, CALLS)?;
        for (option, rate) in large.iter_mut().zip(rates) {
            option.ratio_of_all.push(2.0 * rate / (before + after));
        }
    }
    for lane in options.iter().map(|option| &option.lane).chain([&plain]) {
        lane.account()?;
    }
    Ok(options.iter().flat_map(Measured::figures).collect())
}

fn rate(lane: &mut Lane, flows: u32) -> Result<f64> {
    lane.rate(Traffic { size: USUAL_SIZE, flows, batch: BATCH, interval: Duration::ZERO }, WINDOW)
}
