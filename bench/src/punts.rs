//! Packets that an AF_XDP worker sends on, over those that a bare redirect does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::figure::Figure;
use crate::forwarding::{BATCH, USUAL_SIZE};
use crate::lane::{Lane, Traffic};
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;

const FLOWS: u32 = 1000;
/// Generators: one processor sends, and the worker has the other.
const SENDERS: u32 = 1;
/// How long each subject is measured in its turn.
const WINDOW: Duration = Duration::from_millis(300);
/// Until the rate is steady.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures both in turn, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut bare_lane = Lane::counting(Subject::Bare, FLOWS)?;
    let mut punt_lane = Lane::counting(Subject::Relay(Treatment::Punt), FLOWS)?;
    let (mut bare, mut punt, mut ratio) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..rounds {
        let redirected = rate(&mut bare_lane)?;
        let sent = rate(&mut punt_lane)?;
        bare.push(redirected);
        punt.push(sent);
        ratio.push(sent / redirected);
    }
    let path = punt_lane.relay()?.relay.punt_path();
    ensure!(path.is_some_and(|path| path.problem.is_none()), "the path af_xdp does not run");
    Ok(vec![
        Figure::median("punt_over_bare", &ratio, "ratio"),
        Figure::median("punt_pps", &punt, "packets/s"),
        Figure::median("punt_bare_pps", &bare, "packets/s"),
    ])
}

/// Packets a second that arrive.
fn rate(lane: &mut Lane) -> Result<f64> {
    let traffic = Traffic { size: USUAL_SIZE, flows: FLOWS, batch: BATCH, interval: Duration::ZERO };
    lane.while_sending(traffic, SENDERS, |lane, _| {
        thread::sleep(SETTLE);
        let now = || -> Result<(u64, Instant)> {
            let arrivals = lane.programs().arrivals()?;
            ensure!(arrivals.wrong == 0, "{} packets arrived with wrong headers", arrivals.wrong);
            Ok((arrivals.right, Instant::now()))
        };
        let (first, start) = now()?;
        thread::sleep(WINDOW);
        let (last, end) = now()?;
        ensure!(last > first, "no packet arrived");
        #[expect(clippy::cast_precision_loss, reason = "a count of packets within seconds is far below 2^52")]
        let packets = (last - first) as f64;
        Ok(packets / end.duration_since(start).as_secs_f64())
    })
}
