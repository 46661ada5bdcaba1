//! How long a rule takes to work: from the call of `install` to the first packet that arrives through the new legs, while
//! packets for them come all the time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::clock;
use crate::forwarding::USUAL_SIZE;
use crate::lane::{Lane, Traffic};
use crate::programs::Role;
use crate::sample::Sample;
use crate::subject::{self, Subject};
use crate::treatment::Treatment;

/// From one packet for the legs to the next.
const INTERVAL: Duration = Duration::from_micros(20);
/// How often the first packet is looked for; its arrival is noted by the sink, not when it is seen.
const LOOK: Duration = Duration::from_micros(200);
/// Until no packet is on its way through legs that were removed, and the kernel rests between two installations.
const REST: Duration = Duration::from_millis(4);
/// After this time a rule does not work at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Calls that there is room for: removed legs rest for a while.
const ROOM: u32 = 512;

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// From the call to the first packet, milliseconds.
    pub(crate) until_first_packet: Sample,
    /// How long the call itself took, milliseconds.
    pub(crate) call: Sample,
}

/// Installs two legs and removes them again, so many times.
pub(crate) fn measure(repetitions: usize) -> Result<Effect> {
    let mut lane = Lane::lay(Subject::Relay(Treatment::Plain), ROOM, Role::GenerateStamped, Role::NoteFirst)?;
    let traffic = Traffic { size: USUAL_SIZE, flows: 1, batch: 1, interval: INTERVAL };
    let mut effect = Effect::default();
    lane.while_sending(traffic, 1, |lane, senders| {
        for _ in 0..repetitions {
            thread::sleep(REST);
            senders.undisturbed(|| repeat(lane, &mut effect))?;
        }
        Ok(())
    })?;
    lane.account()?;
    Ok(effect)
}

fn repeat(lane: &Lane, effect: &mut Effect) -> Result<()> {
    let (running, programs) = (lane.relay()?, lane.programs());
    programs.forget_first()?;
    let plan = subject::calls(Treatment::Plain, 0..1);
    let start = clock::monotonic();
    let legs = running.install(&plan).context("installing two legs")?;
    let returned = clock::monotonic();
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        match programs.arrivals()?.first {
            0 => ensure!(
                Instant::now() < deadline,
                "no packet arrived {PATIENCE:?} after its legs were installed"
            ),
            first => break first,
        }
        thread::sleep(LOOK);
    };
    running.relay.remove(&legs);
    ensure!(first >= start, "a packet arrived before its legs were installed");
    effect.until_first_packet.push(milliseconds(start, first));
    effect.call.push(milliseconds(start, returned));
    Ok(())
}

fn milliseconds(start: u64, end: u64) -> f64 {
    Duration::from_nanos(end - start).as_secs_f64() * 1e3
}
