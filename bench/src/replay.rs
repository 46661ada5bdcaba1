//! What the relay's program costs for the frames of the fixtures, group by group, over a program that passes everything.
//!
//! The frames of all fixtures that share a rule are handed over in turn, again and again (BPF_PROG_TEST_RUN). So a leg that
//! learns has learned, and a limit is exceeded: what is measured is the state that repetition leads to. Answers to packets
//! that are too big are left out, which the program gives once a second.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use aya::programs::{ProgramFd, TestRun, TestRunOptions, Xdp};
use fixtures::{Bed, Fixture, Group, Verdict};
use relay_user::Plan;
use testbed::Topology;

use crate::cost::attached_program;
use crate::figure::Figure;
use crate::machine::{self, CALLING_THREAD, Urgency};
use crate::programs::{Programs, Role};
use crate::records::LONGEST;
use crate::sample::Sample;

/// Runs in one call of the kernel's, some of which are over before a cold start is made up for.
const REPEAT: u32 = 30_000;

/// A rule, and the frames that are about it.
struct Case<'a> {
    plan: &'a Plan,
    frames: Vec<&'a [u8]>,
}

/// Programs, and the relay that the fixtures run in.
struct Stand {
    programs: Programs,
    pass: ProgramFd,
    relay: ProgramFd,
    bed: Bed,
}

/// Measures every group, `rounds` times.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let groups = fixtures::groups()?;
    let bed = Bed::start()?;
    let programs = Programs::load(&[Role::Replay, Role::Pass])?;
    let mut stand = Stand {
        pass: programs.program(Role::Pass)?.fd()?.try_clone()?,
        relay: attached_program(&bed.topology.relay, Topology::CAMERA.device)?,
        programs,
        bed,
    };
    let mut samples = vec![Sample::default(); groups.len()];
    std::thread::scope(|scope| -> Result<()> {
        let measuring = scope.spawn(|| -> Result<()> {
            machine::pin(0)?;
            machine::set_urgency(CALLING_THREAD, Urgency::Sender)?;
            for _ in 0..rounds {
                for (group, sample) in groups.iter().zip(&mut samples) {
                    sample.push(stand.group(group).with_context(|| group.name.clone())?);
                }
            }
            Ok(())
        });
        measuring.join().map_err(|_| anyhow!("the measuring thread panicked"))?
    })?;
    let figure =
        |(group, sample): (&Group, _)| Figure::median(format!("fixtures_{}_ns", group.name), sample, "ns");
    Ok(groups.iter().zip(&samples).map(figure).collect())
}

impl Stand {
    /// Nanoseconds that a frame of the group costs over [`Role::Pass`], the mean of all.
    fn group(&mut self, group: &Group) -> Result<f64> {
        let (mut sum, mut frames) = (0.0, 0.0);
        for case in cases(&group.fixtures) {
            let count = f64::from(self.programs.set_frames(case.frames)?);
            let Self { programs, pass, relay, bed } = self;
            let cost = bed.with_rule(case.plan, || {
                let passed = run(programs, pass)?;
                let before = seen(bed);
                let cost = run(programs, relay)? - passed;
                let seen = seen(bed) - before;
                ensure!(seen == u64::from(REPEAT), "the relay saw {seen} of {REPEAT} frames");
                Ok(cost)
            })?;
            sum += cost * count;
            frames += count;
        }
        Ok(sum / frames)
    }
}

/// Rules in the order of their names, each with its frames.
fn cases(fixtures: &[Fixture]) -> impl Iterator<Item = Case<'_>> {
    let mut cases = BTreeMap::<&str, Case<'_>>::new();
    for fixture in fixtures {
        let steps = fixture.steps.iter().filter(|step| step.verdict != Verdict::Transmit);
        let frames = steps.map(|step| step.frame.as_slice());
        let case = cases.entry(&fixture.rule);
        case.or_insert(Case { plan: &fixture.plan, frames: Vec::new() }).frames.extend(frames);
    }
    cases.into_values().filter(|case| !case.frames.is_empty())
}

/// Nanoseconds of one run.
fn run(programs: &mut Programs, program: &ProgramFd) -> Result<f64> {
    programs.set_measured(program)?;
    programs.rewind(LONGEST)?;
    let start = [0; LONGEST as usize];
    let options = TestRunOptions { data_in: Some(&start), repeat: REPEAT, ..TestRunOptions::default() };
    let replay: &Xdp = programs.program(Role::Replay)?;
    Ok(replay.test_run(options)?.duration.as_secs_f64() * 1e9)
}

/// Frames that the relay has counted, whatever became of them.
fn seen(bed: &Bed) -> u64 {
    bed.relay.counters().iter().map(|(_, count)| count).sum()
}
