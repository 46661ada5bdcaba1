//! The backend without XDP: packets that one processor relays through sockets in a second, over those of a plain relay.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use relay_user::{ModeChoice, Options};

use crate::figure::Figure;
use crate::lane::{Lane, Traffic};
use crate::machine;
use crate::plain_relay::PlainRelay;
use crate::programs::Role;
use crate::sample::Sample;
use crate::subject::{self, RunningRelay, Subject};
use crate::treatment::Treatment;

/// Flows, each in bursts as a camera's frames are.
const FLOWS: u32 = 100;
/// Packets of video.
const SIZE: usize = 1242;
const BATCH: u32 = 64;
/// The generator has processor 0.
const CPU: u32 = 1;
/// How long each relay is measured in its turn.
const WINDOW: Duration = Duration::from_millis(400);
/// Until the rate is steady.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures both in turn, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let lane = || Lane::lay(Subject::Elsewhere, FLOWS, Role::GenerateBursts, Role::CountAddressed);
    let (mut plain_lane, mut user_lane) = (lane()?, lane()?);
    let _plain = PlainRelay::start(&plain_lane.topology().relay, FLOWS, CPU)?;
    let options = Options { mode: ModeChoice::User, ..subject::options(2 * FLOWS) };
    let topology = user_lane.topology();
    // Its threads inherit the processor of the thread that starts it.
    let user = thread::scope(|scope| {
        let start = scope.spawn(|| -> Result<RunningRelay> {
            machine::pin(CPU)?;
            RunningRelay::start_with(topology, &options)
        });
        start.join().map_err(|_| anyhow!("the thread that starts the relay panicked"))?
    })?;
    user.install(&subject::calls(Treatment::Plain, 0..FLOWS))?;
    let (mut plain, mut backend, mut ratio) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..rounds {
        let before = for_each_processor_second(&mut plain_lane)?;
        let with_backend = for_each_processor_second(&mut user_lane)?;
        plain.push(before);
        backend.push(with_backend);
        ratio.push(with_backend / before);
    }
    Ok(vec![
        Figure::median("user_over_plain", &ratio, "ratio"),
        Figure::median("user_pps_a_core", &backend, "packets/s"),
        Figure::median("user_plain_pps_a_core", &plain, "packets/s"),
    ])
}

/// Packets that arrive for each second that the relay had a processor.
fn for_each_processor_second(lane: &mut Lane) -> Result<f64> {
    let traffic = Traffic { size: SIZE, flows: FLOWS, batch: BATCH, interval: Duration::ZERO };
    let per_second = lane.while_sending(traffic, 1, |lane, senders| {
        thread::sleep(SETTLE);
        let now = || -> Result<(u64, Duration)> {
            let arrivals = lane.programs().arrivals()?;
            ensure!(arrivals.wrong == 0, "{} packets arrived with wrong headers", arrivals.wrong);
            Ok((arrivals.right, machine::processor_time()?.saturating_sub(senders.processor_time()?)))
        };
        let (first, start) = now()?;
        thread::sleep(WINDOW);
        let (last, end) = now()?;
        ensure!(last > first, "no packet arrived");
        #[expect(clippy::cast_precision_loss, reason = "a count of packets within seconds is far below 2^52")]
        let packets = (last - first) as f64;
        Ok(packets / end.saturating_sub(start).as_secs_f64())
    })?;
    Ok(per_second)
}
