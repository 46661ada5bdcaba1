//! What copies of XDP cost, against those of AF_XDP workers and those of a plain relay with `sendmmsg`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_user::{LegId, Path};

use super::sendmmsg_relay::SendmmsgRelay;
use super::{SIZE, copying_threads, give_precedence, join, number, source};
use crate::figure::Figure;
use crate::forwarding::{BATCH, WINDOW};
use crate::lane::{Lane, Traffic};
use crate::machine;
use crate::programs::Role;
use crate::records::CPUS;
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;

/// Receivers of each group that XDP and AF_XDP copy for.
const RECEIVERS: [u32; 2] = [1, MANY];
/// Those that a plain relay sends to, too.
const MANY: u32 = 64;
/// The plain relay has this processor, and the generator the other.
const CPU: u32 = 1;
/// How long the plain relay is measured in its turn; until its rate is steady.
const PLAIN_WINDOW: Duration = Duration::from_millis(300);
const SETTLE: Duration = Duration::from_millis(50);
/// How often, and for how long at most, the last copies are waited for.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(3);

/// A relay with a group for each processor.
struct Groups {
    lane: Lane,
    receivers: Vec<LegId>,
}

/// XDP and AF_XDP with as many receivers.
struct Pair {
    size: u32,
    xdp: Groups,
    af_xdp: Groups,
    ratio: Sample,
    by_xdp: Sample,
    by_af_xdp: Sample,
}

/// Measures all in turns.
pub(super) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut pairs = RECEIVERS.into_iter().map(Pair::lay).collect::<Result<Vec<_>>>()?;
    let mut plain_lane = Lane::lay(Subject::Elsewhere, MANY, Role::Generate, Role::CountFromOne)?;
    let _plain = SendmmsgRelay::start(&plain_lane.topology().relay, MANY, CPU)?;
    let (mut plain, mut xdp, mut ratio) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..rounds {
        for pair in &mut pairs {
            let copies = pair.turn()?;
            if pair.size == MANY {
                // Every processor is busy all the time, the generators included: that much at most they cost.
                let a_core = copies / f64::from(CPUS);
                let plain_a_core = for_each_processor_second(&mut plain_lane)?;
                xdp.push(a_core);
                plain.push(plain_a_core);
                ratio.push(a_core / plain_a_core);
            }
        }
    }
    let mut figures = Vec::new();
    for pair in pairs {
        pair.xdp.check(Path::Xdp)?;
        pair.af_xdp.check(Path::AfXdp)?;
        let suffix = if pair.size == MANY { String::new() } else { format!("_{}", pair.size) };
        figures.push(Figure::median(format!("fanout_over_af_xdp{suffix}"), &pair.ratio, "ratio"));
        figures.push(Figure::median(format!("fanout_xdp_copies{suffix}"), &pair.by_xdp, "copies/s"));
        figures.push(Figure::median(format!("fanout_af_xdp_copies{suffix}"), &pair.by_af_xdp, "copies/s"));
    }
    figures.push(Figure::median("fanout_over_sendmmsg", &ratio, "ratio"));
    figures.push(Figure::median("fanout_copies_a_core", &xdp, "copies/s"));
    figures.push(Figure::median("fanout_sendmmsg_copies_a_core", &plain, "copies/s"));
    Ok(figures)
}

impl Pair {
    fn lay(size: u32) -> Result<Self> {
        Ok(Self {
            size,
            xdp: Groups::lay(Subject::Relay(Treatment::Plain), size)?,
            af_xdp: Groups::lay(Subject::Workers, size)?,
            ratio: Sample::default(),
            by_xdp: Sample::default(),
            by_af_xdp: Sample::default(),
        })
    }

    /// Copies a second of both; returns those of XDP.
    fn turn(&mut self) -> Result<f64> {
        let traffic = Traffic { size: SIZE, flows: CPUS, batch: BATCH, interval: Duration::ZERO };
        let xdp = self.xdp.lane.rate(traffic, WINDOW)?;
        let af_xdp = self.af_xdp.lane.rate(traffic, WINDOW)?;
        ensure!(af_xdp > 0.0, "no copy of AF_XDP arrived");
        self.by_xdp.push(xdp);
        self.by_af_xdp.push(af_xdp);
        self.ratio.push(xdp / af_xdp);
        Ok(xdp)
    }
}

impl Groups {
    fn lay(subject: Subject, size: u32) -> Result<Self> {
        let before = copying_threads()?;
        let lane = Lane::lay(subject, CPUS * (size + 1), Role::Generate, Role::CountAddressed)?;
        let mut receivers = Vec::new();
        for flow in 0..CPUS {
            let source = source(&lane, flow)?;
            receivers.extend(join(&lane, source, flow * size..(flow + 1) * size)?);
        }
        give_precedence(&before)?;
        Ok(Self { lane, receivers })
    }

    /// Fails unless the copies were made where they should have been, every one had the headers of its receiver, and those that
    /// arrived are those that were sent, less those that the device refused.
    fn check(&self, path: Path) -> Result<()> {
        let relay = &self.lane.relay()?.relay;
        let first = self.receivers.first().copied().context("there are receivers")?;
        let group = relay
            .legs()
            .into_iter()
            .find_map(|(leg, _)| relay.receivers(leg).contains(&first).then(|| relay.group(leg)).flatten());
        let found = group.context("the receivers have a group")?.path;
        ensure!(found == path, "copies were made by {found}, not by {path}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let arrivals = self.lane.programs().arrivals()?;
            ensure!(arrivals.wrong == 0, "{} copies arrived with wrong headers", arrivals.wrong);
            let counted = self.receivers.iter().filter_map(|leg| relay.statistics(*leg));
            let left: u64 = counted
                .map(|leg| {
                    let refused = leg.lost.iter().find(|(loss, _)| *loss == "refused");
                    leg.sent - refused.map_or(0, |(_, count)| *count)
                })
                .sum();
            if left == arrivals.right {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{path}: {left} copies left, and {} arrived", arrivals.right);
            thread::sleep(LOOK);
        }
    }
}

/// Copies that arrive for each second that the plain relay had a processor, with all that the kernel does in its name: this
/// kernel does not account softirqs apart.
fn for_each_processor_second(lane: &mut Lane) -> Result<f64> {
    let traffic = Traffic { size: SIZE, flows: 1, batch: BATCH, interval: Duration::ZERO };
    lane.while_sending(traffic, 1, |lane, senders| {
        thread::sleep(SETTLE);
        let now = || -> Result<(u64, Duration)> {
            let arrivals = lane.programs().arrivals()?;
            ensure!(arrivals.wrong == 0, "{} copies arrived with wrong headers", arrivals.wrong);
            Ok((arrivals.right, machine::processor_time()?.saturating_sub(senders.processor_time()?)))
        };
        let (first, start) = now()?;
        thread::sleep(PLAIN_WINDOW);
        let (last, end) = now()?;
        ensure!(last > first, "no copy of the plain relay arrived");
        Ok(number(last - first) / end.saturating_sub(start).as_secs_f64())
    })
}
