//! Copies a second over packets a second of a bare redirect, without loss; and how far apart the copies of one packet are.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{SIZE, copying_threads, give_precedence, join, missing, number, source};
use crate::figure::Figure;
use crate::forwarding::{BATCH, WINDOW};
use crate::lane::{Lane, Traffic};
use crate::programs::Role;
use crate::records::CPUS;
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;

/// Receivers of each group.
const RECEIVERS: [u32; 4] = [8, 64, 512, 1024];
/// Receivers of the group whose copies are timed.
const TIMED: u32 = 64;
/// From one packet of that group to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// A group on each processor, and the wires around them.
struct Groups {
    lane: Lane,
    receivers: u32,
    ratio: Sample,
    copies: Sample,
    lost: u64,
}

/// Measures, in turns with a bare redirect.
pub(super) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let traffic = Traffic { size: SIZE, flows: CPUS, batch: BATCH, interval: Duration::ZERO };
    let mut bare = Lane::counting(Subject::Bare, CPUS)?;
    let mut groups = RECEIVERS.into_iter().map(Groups::lay).collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        for group in &mut groups {
            let bare = bare.rate(traffic, WINDOW)?;
            group.turn(traffic, bare)?;
        }
    }
    let mut figures = Vec::new();
    for group in groups {
        let name = group.receivers;
        figures.push(Figure::median(format!("fanout_{name}"), &group.ratio, "ratio"));
        figures.push(Figure::median(format!("fanout_copies_{name}"), &group.copies, "copies/s"));
        figures.push(Figure::single(format!("fanout_lost_{name}"), number(group.lost), "copies"));
    }
    let spread = spread(rounds)?;
    figures.push(Figure::median("fanout_spread_p50_us", &spread, "us"));
    Ok(figures)
}

impl Groups {
    fn lay(receivers: u32) -> Result<Self> {
        let room = CPUS * (receivers + 1);
        let relay = Subject::Relay(Treatment::Plain);
        let lane = Lane::lay(relay, room, Role::Generate, Role::CountAddressed)?;
        let before = copying_threads()?;
        for flow in 0..CPUS {
            // The generator of each processor sends to the group that this processor copies.
            let source = source(&lane, flow)?;
            join(&lane, source, flow * receivers..(flow + 1) * receivers)?;
        }
        give_precedence(&before)?;
        let (ratio, copies) = (Sample::default(), Sample::default());
        Ok(Self { lane, receivers, ratio, copies, lost: 0 })
    }

    fn turn(&mut self, traffic: Traffic, bare: f64) -> Result<()> {
        let sent = |lane: &Lane| -> Result<u64> { Ok(lane.programs().sent_by_each()?.iter().sum()) };
        let (before, sent_before) = (self.lane.programs().arrivals()?.right, sent(&self.lane)?);
        let copies = self.lane.rate(traffic, WINDOW)?;
        let expected = (sent(&self.lane)? - sent_before) * u64::from(self.receivers);
        self.lost += missing(&self.lane, before, expected)?;
        self.copies.push(copies);
        self.ratio.push(copies / bare);
        Ok(())
    }
}

/// How much later than the first the last copy of a packet arrives, with nothing else to do, in microseconds.
fn spread(rounds: usize) -> Result<Sample> {
    let relay = Subject::Relay(Treatment::Plain);
    let mut lane = Lane::lay(relay, TIMED + 1, Role::GenerateStamped, Role::TimeAddressed)?;
    let (source, before) = (source(&lane, 0)?, copying_threads()?);
    join(&lane, source, 0..TIMED)?;
    give_precedence(&before)?;
    let traffic = Traffic { size: SIZE, flows: 1, batch: 1, interval: PAUSE };
    let delays = lane.delays(traffic, 1, WINDOW * u32::try_from(rounds)?)?;
    let mut spread = Sample::default();
    // A group's copies come one after the other, on one processor.
    let packets = delays.chunks_exact(TIMED as usize);
    ensure!(packets.remainder().is_empty(), "{} copies arrived, for {TIMED} receivers each", delays.len());
    for packet in packets {
        let (first, last) = (packet.iter().min().copied(), packet.iter().max().copied());
        spread.push(f64::from(last.unwrap_or(0) - first.unwrap_or(0)) / 1e3);
    }
    Ok(spread)
}
