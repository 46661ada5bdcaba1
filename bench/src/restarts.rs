//! Whether media and its statistics run on while the process that owns the data plane is killed and started again, and
//! while it gives way to another build.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figure::Figure;
use crate::forwarding::USUAL_SIZE;
use crate::holder::{Build, Holder};
use crate::lane::{Lane, Traffic};
use crate::programs::Role;
use crate::records::Arrivals;
use crate::state_folder::StateFolder;
use crate::subject::Subject;
use crate::wire::{self, Family};

const FLOWS: u32 = 1000;
const LEGS: u32 = 2 * FLOWS;
/// From one packet to the next: 200,000 packets a second.
const INTERVAL: Duration = Duration::from_micros(5);
/// How long nobody owns the data plane, and how long its new owner works before the next change.
const PAUSE: Duration = Duration::from_millis(300);

/// What was sent and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    sent: u64,
    arrivals: Arrivals,
}

/// Kills the owner, and replaces it by another build, so many times each.
pub(crate) fn measure(times: usize) -> Result<Vec<Figure>> {
    let mut lane = Lane::lay(Subject::Elsewhere, FLOWS, Role::GenerateNumbered, Role::Follow)?;
    let state = StateFolder::new("restarts");
    let (mut holder, _) = Holder::start(Build::Release, lane.topology(), state.path(), LEGS)?;
    for flow in 0..FLOWS {
        holder.call(wire::camera_ends(Family::V4, flow), wire::viewer_ends(Family::V4, flow))?;
    }
    let traffic = Traffic { size: USUAL_SIZE, flows: FLOWS, batch: 8, interval: INTERVAL };
    let adopt = |lane: &Lane, build| -> Result<Holder> {
        let (holder, adopted) = Holder::start(build, lane.topology(), state.path(), LEGS)?;
        ensure!(adopted == LEGS as usize, "{adopted} of {LEGS} legs were adopted by {build:?}");
        thread::sleep(PAUSE);
        Ok(holder)
    };
    let mut current = Some(holder);
    let restarted = phase(&mut lane, traffic, |lane| {
        for _ in 0..times {
            if let Some(holder) = current.take() {
                holder.kill()?;
            }
            thread::sleep(PAUSE);
            current = Some(adopt(lane, Build::Release)?);
        }
        Ok(())
    })?;
    let upgraded = phase(&mut lane, traffic, |lane| {
        for turn in 0..times {
            if let Some(holder) = current.take() {
                holder.leave()?;
            }
            current = Some(adopt(lane, if turn % 2 == 0 { Build::Debug } else { Build::Release })?);
        }
        Ok(())
    })?;
    let total = count(&lane)?;
    let mut figures = Vec::new();
    for (name, before, after) in [("restart", Count::default(), restarted), ("upgrade", restarted, upgraded)]
    {
        figures.extend(after.figures(&before, name));
    }
    let silence = Duration::from_nanos(total.arrivals.longest_silence).as_secs_f64() * 1e3;
    figures.push(Figure::single("restart_longest_silence_ms", silence, "ms"));
    if let Some(mut holder) = current.take() {
        let counted = holder.counts()?;
        let difference = total.arrivals.right.abs_diff(counted.forwarded);
        figures.push(packets("restart_statistics_difference", difference));
        holder.stop()?;
    }
    Ok(figures)
}

/// Sends while `change` changes owners; returns the count since the start.
fn phase(lane: &mut Lane, traffic: Traffic, change: impl FnOnce(&Lane) -> Result<()>) -> Result<Count> {
    lane.while_sending(traffic, 1, |lane, _| {
        thread::sleep(PAUSE);
        change(lane)
    })?;
    count(lane)
}

fn count(lane: &Lane) -> Result<Count> {
    let account = lane.account()?;
    Ok(Count { sent: account.sent, arrivals: lane.programs().arrivals()? })
}

impl Count {
    /// What happened since an earlier count.
    fn figures(&self, before: &Self, name: &str) -> Vec<Figure> {
        let sent = self.sent - before.sent;
        let lost = sent.saturating_sub(self.arrivals.right - before.arrivals.right);
        let missing = self.arrivals.missing - before.arrivals.missing;
        vec![packets(&format!("{name}_lost"), lost.max(missing)), packets(&format!("{name}_sent"), sent)]
    }
}

fn packets(name: &str, count: u64) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "counts of packets are far below 2^52")]
    let count = count as f64;
    Figure::single(name, count, "packets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(sent: u64, right: u64, missing: u64) -> Count {
        Count { sent, arrivals: Arrivals { right, missing, ..Arrivals::default() } }
    }

    #[test]
    fn a_packet_that_is_missing_is_lost_even_if_another_came_twice() {
        let value = |before: Count, after: Count| after.figures(&before, "restart")[0].value;
        assert_eq!(value(count(0, 0, 0), count(100, 100, 0)), 0.0);
        assert_eq!(value(count(100, 99, 0), count(300, 297, 0)), 2.0);
        assert_eq!(value(count(0, 0, 0), count(100, 100, 1)), 1.0);
    }
}
