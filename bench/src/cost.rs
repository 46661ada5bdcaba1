//! What the relay's program costs for one packet, over a program that passes everything (BPF_PROG_TEST_RUN).

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use relay_user::{Plan, Relay, StreamSpec};

use crate::machine;
use crate::packet::{self, Addresses};
use crate::programs::{Programs, Role};
use crate::sample::Sample;
use crate::subject::{self, RunningRelay};
use crate::wire;

/// Runs in one call. Each takes a hop from the packet's time to live, and at 1 it would be dropped.
const REPEAT: u32 = 250;
/// Time to live after that many.
const LEFT: u8 = 5;
const SIZE: usize = 214;
const REDIRECT: u32 = 4;

/// Costs in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// A program that passes everything.
    pub(crate) pass: Sample,
    /// A program that only redirects.
    pub(crate) bare: Sample,
    /// The relay, one flow.
    pub(crate) relay: Sample,
    /// The relay over the pass that was measured just before.
    pub(crate) over_pass: Sample,
}

/// Measures all in turn, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Cost> {
    let topology = wire::lay()?;
    let running = RunningRelay::start(&topology, 2)?;
    let addresses = install_circle(&running)?;
    let frame = packet::frame(&addresses, SIZE)?;
    let programs = Programs::load(&[Role::Pass, Role::Bare])?;
    let (pass, bare) = (programs.program(Role::Pass)?, programs.program(Role::Bare)?);
    topology.relay.run(|| -> Result<Cost> {
        machine::pin(0)?;
        let mut cost = Cost::default();
        for _ in 0..rounds {
            let passed = run(pass, &frame)?;
            let relayed = run_relay(&running.relay, &frame)?;
            cost.bare.push(run(bare, &frame)?);
            cost.pass.push(passed);
            cost.relay.push(relayed);
            cost.over_pass.push(relayed - passed);
        }
        Ok(cost)
    })?
}

/// A leg whose packets leave exactly as they came, so that the program meets its own output again: the viewer's own
/// address is the leg's, and our other leg's is its source.
fn install_circle(running: &RunningRelay) -> Result<Addresses> {
    let to_viewer = wire::to_viewer();
    let (ours, theirs): (SocketAddrV4, SocketAddrV4) = (to_viewer.source, to_viewer.destination);
    let plan = Plan {
        legs: vec![subject::leg(theirs, ours), subject::leg(ours, theirs)],
        streams: vec![StreamSpec { ingress: 0, egress: 1 }],
    };
    running.runtime.block_on(running.relay.install(&plan))?;
    Ok(Addresses { time_to_live: u8::MAX, ..to_viewer })
}

fn run(program: &Xdp, frame: &[u8]) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::default() };
    Ok(program.test_run(options)?.duration.as_secs_f64() * 1e9)
}

fn run_relay(relay: &Relay, frame: &[u8]) -> Result<f64> {
    let trial = relay.try_frame(frame, REPEAT)?;
    ensure!(
        trial.action == REDIRECT && trial.frame.get(22) == Some(&(LEFT)),
        "the relay did not forward every one of {REPEAT} packets: action {}, counters {:?}",
        trial.action,
        relay.counters()
    );
    Ok(trial.duration.as_secs_f64() * 1e9)
}
