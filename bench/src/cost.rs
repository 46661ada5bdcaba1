//! What the relay's program costs for one packet, over a program that passes everything (BPF_PROG_TEST_RUN).
//!
//! A run of the kernel's gives a program its own output again, so each of the programs is run through one that first
//! writes the same headers anew and then jumps to it. That costs the same for all, and only differences are reported.

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramFd, TestRun, TestRunOptions, Xdp, loaded_programs};
use testbed::{Namespace, Topology};

use crate::machine::{self, CALLING_THREAD, Urgency};
use crate::programs::{Programs, Role};
use crate::records::Load;
use crate::sample::Sample;
use crate::subject::{self, RunningRelay};
use crate::wire;

/// Runs in one call of the kernel's: 10 ms, so that a cold start does not count.
const REPEAT: u32 = 100_000;
const SIZE: usize = 214;

/// Costs over those of a program that passes everything, measured just before; nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// The relay.
    pub(crate) relay: Sample,
    /// A program that only redirects.
    pub(crate) bare: Sample,
}

/// Measures all in turn, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Cost> {
    let topology = wire::lay()?;
    let running = RunningRelay::start(&topology, 2)?;
    running.install(&subject::calls(0..1))?;
    let mut programs = Programs::load(&[Role::Again, Role::Pass, Role::Bare])?;
    let from_camera = wire::from_camera();
    let payload = SIZE - from_camera.overhead();
    let headers = from_camera.headers(payload)?;
    programs.set_load(Load { headers, flows: 1, ..Load::default() }, headers)?;
    let frame = from_camera.frame(payload)?;

    let pass = programs.program(Role::Pass)?.fd()?.try_clone()?;
    let bare = programs.program(Role::Bare)?.fd()?.try_clone()?;
    let relay = attached_program(&topology.relay, Topology::CAMERA.device)?;
    let mut cost = Cost::default();
    let mut run = |program: &ProgramFd| -> Result<f64> {
        programs.set_measured(program)?;
        nanoseconds(programs.program(Role::Again)?, &frame)
    };
    std::thread::scope(|scope| -> Result<()> {
        let measuring = scope.spawn(|| -> Result<()> {
            machine::pin(0)?;
            machine::set_urgency(CALLING_THREAD, Urgency::Sender)?;
            for _ in 0..rounds {
                let passed = run(&pass)?;
                cost.relay.push(run(&relay)? - passed);
                cost.bare.push(run(&bare)? - passed);
            }
            Ok(())
        });
        measuring.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    })?;
    let expected = u64::from(REPEAT) * u64::try_from(rounds)?;
    let forwarded = running.relay.counters().into_iter().find(|(name, _)| *name == "forwarded");
    ensure!(
        forwarded.is_some_and(|(_, count)| count == expected),
        "the relay did not forward every one of {expected} packets: {:?}",
        running.relay.counters()
    );
    Ok(cost)
}

/// The very program that a device runs.
fn attached_program(namespace: &Namespace, device: &str) -> Result<ProgramFd> {
    let output = namespace.command("ip").args(["-json", "link", "show", "dev", device]).output()?;
    let links: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading what `ip` says")?;
    let id = links.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64);
    let id = id.with_context(|| format!("`ip` names no XDP program of {device}: {links}"))?;
    for program in loaded_programs() {
        let program = program?;
        if u64::from(program.id()) == id {
            return Ok(program.fd()?);
        }
    }
    anyhow::bail!("XDP program {id} of {device} is gone")
}

fn nanoseconds(program: &Xdp, frame: &[u8]) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::default() };
    Ok(program.test_run(options)?.duration.as_secs_f64() * 1e9)
}
