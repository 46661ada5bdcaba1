//! One camera, many receivers: how many copies a second, against other engines, too; whether bursts fit, and what those notice
//! who stay while others come and go.

mod bursts;
mod engines;
mod members;
mod rates;
pub(crate) mod restarts;
mod sendmmsg_relay;

use std::fs;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_user::{LegId, LegSpec, Plan, RetagSpec};

use crate::figure::Figure;
use crate::lane::Lane;
use crate::machine::{self, Urgency};
use crate::packet::RtpHeader;
use crate::wire::{self, Family};

/// Packets of video.
const SIZE: usize = 1242;
/// How often counters are looked at while the last copies come.
const LOOK: Duration = Duration::from_millis(5);
/// Copies that have not come after this time do not come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Measures everything; `rounds` is how often rates are compared.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = rates::measure(rounds)?;
    figures.push(bursts::measure(rounds)?);
    figures.extend(members::measure(rounds)?);
    Ok(figures)
}

/// Compares engines so often.
pub(crate) fn compare(rounds: usize) -> Result<Vec<Figure>> {
    engines::measure(rounds)
}

/// Installs the camera's leg of a flow, which feeds nobody yet.
fn source(lane: &Lane, flow: u32) -> Result<LegId> {
    let ends = wire::camera_ends(Family::V4, flow);
    let leg = LegSpec::new(ends.relay).remote(ends.terminal);
    let legs = lane.relay()?.install(&Plan { legs: vec![leg], streams: Vec::new() })?;
    legs.first().copied().context("a leg was installed")
}

/// Lets the viewers of these flows join; what they get names their flow, so that the sink knows whose it is.
fn join(lane: &Lane, source: LegId, receivers: Range<u32>) -> Result<Vec<LegId>> {
    let receiver = |flow| {
        let ends = wire::viewer_ends(Family::V4, flow);
        let ssrc = RtpHeader::SENT.ssrc.wrapping_add(wire::ssrc(flow));
        LegSpec::new(ends.relay).remote(ends.terminal).retag(RetagSpec::default().ssrc(ssrc))
    };
    let receivers: Vec<LegSpec> = receivers.map(receiver).collect();
    lane.relay()?.join(source, &receivers).context("letting receivers join")
}

/// Waits for the last copies; returns how many of `expected` since the sink had counted `before` did not come.
fn missing(lane: &Lane, before: u64, expected: u64) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let arrivals = lane.programs().arrivals()?;
        ensure!(arrivals.wrong == 0, "{} copies arrived with wrong headers", arrivals.wrong);
        let arrived = arrivals.right - before;
        ensure!(arrived <= expected, "{arrived} copies arrived, and {expected} should have");
        if arrived == expected || Instant::now() > deadline {
            return Ok(expected - arrived);
        }
        thread::sleep(LOOK);
    }
}

/// Threads that copy packets, the kernel's and workers of this process, by their numbers.
fn copying_threads() -> Result<Vec<i32>> {
    let mut threads = Vec::new();
    for (folder, prefix) in [("/proc", "cpumap/"), ("/proc/self/task", "af-xdp-")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number: Option<i32> = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // Processes may end meanwhile.
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            threads.extend(number.filter(|_| name.starts_with(prefix)));
        }
    }
    Ok(threads)
}

/// Has the threads that copy for a relay whose first receiver has just joined go before the generators, so that they leave no
/// packet waiting. `before` are those that there were already.
fn give_precedence(before: &[i32]) -> Result<()> {
    for thread in copying_threads()?.into_iter().filter(|thread| !before.contains(thread)) {
        machine::set_urgency(thread, Urgency::AboveSenders).context("giving copies precedence")?;
    }
    Ok(())
}

/// A count as a figure has it.
#[expect(clippy::cast_precision_loss, reason = "counts of packets are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
