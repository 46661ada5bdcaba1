//! Receivers that come and go: how soon they get packets, and what the others notice.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use relay_user::LegId;

use super::{SIZE, copying_threads, give_precedence, join, number, source};
use crate::clock;
use crate::figure::Figure;
use crate::lane::{Lane, Traffic};
use crate::programs::Role;
use crate::records::{Arrivals, FOLLOWED_FLOWS};
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;

/// Receivers that there are already, in groups of so many.
const THERE: u32 = 10_000;
const GROUP: u32 = 500;
/// Removed legs rest for a while.
const ROOM: u32 = 12_000;
/// From one packet to the next.
const INTERVAL: Duration = Duration::from_micros(20);
/// How often the first packet is looked for; its arrival is noted by the sink.
const LOOK: Duration = Duration::from_micros(200);
/// Between two who join.
const REST: Duration = Duration::from_millis(4);
/// Whoever has no packet after this time has none at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Receivers that stay.
const STEADY: u32 = 8;
/// From one packet for those to the next.
const STEADY_INTERVAL: Duration = Duration::from_micros(100);
/// Comings and goings.
const CHURN: u32 = 100_000;
/// From one who comes and goes to the next: places of legs rest for a while, and packets are to meet many changes.
const CHURN_INTERVAL: Duration = Duration::from_micros(100);

/// Measures both.
pub(super) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let joined = joins(20 * rounds)?;
    let damage = churn()?;
    Ok(vec![
        Figure::single("join_p99_ms", joined.quantile(0.99), "ms"),
        Figure::median("join_p50_ms", &joined, "ms"),
        Figure::single("churn_damage", number(damage), "copies"),
        Figure::single("churn_changes", number(CHURN.into()), "joins and leaves"),
    ])
}

/// From the call to the first packet of who joins, in milliseconds.
fn joins(repetitions: usize) -> Result<Sample> {
    let relay = Subject::Relay(Treatment::Plain);
    let mut lane = Lane::lay(relay, ROOM, Role::GenerateStamped, Role::NoteFirst)?;
    let before = copying_threads()?;
    for group in 0..THERE / GROUP {
        let source = source(&lane, group + 1)?;
        join(&lane, source, 1 + group * GROUP..1 + (group + 1) * GROUP)?;
    }
    give_precedence(&before)?;
    let watched = source(&lane, 0)?;
    let mut joined = Sample::default();
    let traffic = Traffic { size: SIZE, flows: 1, batch: 1, interval: INTERVAL };
    lane.while_sending(traffic, 1, |lane, senders| {
        for _ in 0..repetitions {
            thread::sleep(REST);
            joined.push(senders.undisturbed(|| join_once(lane, watched))?);
        }
        Ok(())
    })?;
    Ok(joined)
}

/// The same once.
fn join_once(lane: &Lane, source: LegId) -> Result<f64> {
    lane.programs().forget_first()?;
    let start = clock::monotonic();
    let legs = join(lane, source, 0..1)?;
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        match lane.programs().arrivals()?.first {
            0 => ensure!(Instant::now() < deadline, "no packet {PATIENCE:?} after the call"),
            first => break first,
        }
        thread::sleep(LOOK);
    };
    lane.relay()?.relay.remove(&legs);
    ensure!(first >= start, "a packet arrived before its receiver had joined");
    Ok(Duration::from_nanos(first - start).as_secs_f64() * 1e3)
}

/// How many packets those who stayed did not get, got again, or got after a later one. The sink follows the numbers that the
/// sender gave them, for each receiver.
fn churn() -> Result<u64> {
    let relay = Subject::Relay(Treatment::Plain);
    let mut lane = Lane::lay(relay, ROOM, Role::GenerateNumbered, Role::FollowEach)?;
    let source = source(&lane, 0)?;
    join(&lane, source, 0..STEADY)?;
    let traffic = Traffic { size: SIZE, flows: 1, batch: 1, interval: STEADY_INTERVAL };
    lane.while_sending(traffic, 1, |lane, _| {
        let start = Instant::now();
        for change in 0..CHURN / 2 {
            while start.elapsed() < CHURN_INTERVAL * change {
                std::hint::spin_loop();
            }
            let flow = FOLLOWED_FLOWS + change % 2_000;
            let legs = join(lane, source, flow..flow + 1)?;
            lane.relay()?.relay.remove(&legs);
        }
        Ok(())
    })?;
    let packets: u64 = lane.programs().sent_by_each()?.iter().sum();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let followed = (0..STEADY).map(|flow| lane.programs().followed(flow)).collect::<Result<Vec<_>>>()?;
        let damage = |seen: &Arrivals| seen.missing + seen.late + packets.abs_diff(seen.expected);
        let damage: u64 = followed.iter().map(damage).sum();
        if damage == 0 || Instant::now() > deadline {
            let wrong = lane.programs().arrivals()?.wrong;
            ensure!(wrong == 0, "{wrong} copies arrived with wrong headers");
            return Ok(damage);
        }
        thread::sleep(LOOK);
    }
}
