//! What the relay's program costs for one packet, over a program that passes everything (BPF_PROG_TEST_RUN).
//!
//! A run of the kernel's gives a program its own output again, so each of the programs is run through one that first
//! writes the same headers anew and then jumps to it. That costs the same for all, and only differences are reported.
//! Options that change the length of a packet cannot be measured so.

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramFd, TestRun, TestRunOptions, Xdp, loaded_programs};
use testbed::{Namespace, Topology};

use crate::machine::{self, CALLING_THREAD, Urgency};
use crate::programs::{Programs, Role};
use crate::records::Load;
use crate::sample::Sample;
use crate::subject::{self, RunningRelay};
use crate::treatment::Treatment;
use crate::wire;

/// Runs in one call of the kernel's: 10 ms, so that a cold start does not count.
const REPEAT: u32 = 100_000;
const SIZE: usize = 214;
/// What is measured beside plain forwarding.
const OPTIONS: [Treatment; 4] = [Treatment::Ipv6, Treatment::Retag, Treatment::Quality, Treatment::Police];

/// Costs in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// The relay, over a program that passes everything.
    pub(crate) relay: Sample,
    /// A program that only redirects, over the same.
    pub(crate) bare: Sample,
    /// What each option adds to the relay.
    pub(crate) options: Vec<(Treatment, Sample)>,
}

/// Measures all in turn, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Cost> {
    let mut plain = Stand::set_up(Treatment::Plain)?;
    let mut stands = OPTIONS.map(Stand::set_up).into_iter().collect::<Result<Vec<_>>>()?;
    let mut cost =
        Cost { options: OPTIONS.map(|option| (option, Sample::default())).into(), ..Cost::default() };
    std::thread::scope(|scope| -> Result<()> {
        let measuring = scope.spawn(|| -> Result<()> {
            machine::pin(0)?;
            machine::set_urgency(CALLING_THREAD, Urgency::Sender)?;
            for _ in 0..rounds {
                let relay = plain.relay_over_pass()?;
                cost.relay.push(relay);
                cost.bare.push(plain.bare_over_pass()?);
                for (stand, (_, sample)) in stands.iter_mut().zip(&mut cost.options) {
                    sample.push(stand.relay_over_pass()? - relay);
                }
            }
            Ok(())
        });
        measuring.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    })?;
    let expected = u64::from(REPEAT) * u64::try_from(rounds)?;
    for stand in stands.iter().chain([&plain]) {
        stand.check(expected)?;
    }
    Ok(cost)
}

/// A relay with one call, and the programs that its own is compared with.
struct Stand {
    treatment: Treatment,
    programs: Programs,
    frame: Vec<u8>,
    pass: ProgramFd,
    bare: ProgramFd,
    relay: ProgramFd,
    running: RunningRelay,
    /// Last, because the devices must outlive what is attached to them.
    _topology: Topology,
}

impl Stand {
    fn set_up(treatment: Treatment) -> Result<Self> {
        let topology = wire::lay()?;
        let running = RunningRelay::start(&topology, 2)?;
        running.install(&subject::calls(treatment, 0..1))?;
        let mut programs = Programs::load(&[treatment.repeater(), Role::Pass, Role::Bare])?;
        let sends = treatment.sends();
        let payload = SIZE - sends.overhead();
        let headers = sends.headers(payload)?;
        programs.set_load(Load { headers, flows: 1, ..Load::default() }, headers)?;
        Ok(Self {
            treatment,
            frame: sends.frame(payload)?,
            pass: programs.program(Role::Pass)?.fd()?.try_clone()?,
            bare: programs.program(Role::Bare)?.fd()?.try_clone()?,
            relay: attached_program(&topology.relay, Topology::CAMERA.device)?,
            programs,
            running,
            _topology: topology,
        })
    }

    fn relay_over_pass(&mut self) -> Result<f64> {
        let (pass, relay) = (self.pass.try_clone()?, self.relay.try_clone()?);
        let passed = self.run(&pass)?;
        Ok(self.run(&relay)? - passed)
    }

    fn bare_over_pass(&mut self) -> Result<f64> {
        let (pass, bare) = (self.pass.try_clone()?, self.bare.try_clone()?);
        let passed = self.run(&pass)?;
        Ok(self.run(&bare)? - passed)
    }

    /// Nanoseconds of one run.
    fn run(&mut self, program: &ProgramFd) -> Result<f64> {
        self.programs.set_measured(program)?;
        let repeater: &Xdp = self.programs.program(self.treatment.repeater())?;
        let options =
            TestRunOptions { data_in: Some(&self.frame), repeat: REPEAT, ..TestRunOptions::default() };
        Ok(repeater.test_run(options)?.duration.as_secs_f64() * 1e9)
    }

    /// Fails unless the relay forwarded every packet.
    fn check(&self, expected: u64) -> Result<()> {
        let counters = self.running.relay.counters();
        let forwarded = counters.iter().find(|(name, _)| *name == "forwarded");
        ensure!(
            forwarded.is_some_and(|(_, count)| *count == expected),
            "{:?}: the relay did not forward every one of {expected} packets: {counters:?}",
            self.treatment
        );
        Ok(())
    }
}

/// The very program that a device runs.
pub(crate) fn attached_program(namespace: &Namespace, device: &str) -> Result<ProgramFd> {
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
