//! sipp (Debian package `sip-tester`) with the scenarios of the daemon's own tests.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use testbed::{Namespace, Side, Topology};

/// The processor that sipp runs on; the daemon has the other one.
const CPU: &str = "1";
const PORT: &str = "5070";
const CALLED: &str = "camera";

const CALLER: &str = include_str!("../../control/tests/sipp/caller_calls.xml");
const ANSWERER: &str = include_str!("../../control/tests/sipp/called_answers.xml");
const REGISTRATION: &str = include_str!("../../control/tests/sipp/register_open.xml");

/// How a run of calls went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Calls that were to be made.
    pub(crate) asked: u64,
    /// Calls whose every message came.
    pub(crate) succeeded: u64,
    /// All others.
    pub(crate) failed: u64,
    /// Messages that had to be sent again.
    pub(crate) retransmissions: u64,
    /// Calls begun in a second.
    pub(crate) rate: f64,
}

/// A running sipp; ended when it is dropped.
pub(crate) struct Sipp {
    process: Child,
    _folder: TempDir,
}

impl Sipp {
    /// Starts the terminal that is called. It answers every call.
    pub(crate) fn answering(topology: &Topology) -> Result<Self> {
        let (mut command, folder) = command(&topology.camera, Topology::CAMERA.terminal, PORT, ANSWERER)?;
        Ok(Self { process: command.spawn().context("starting sipp")?, _folder: folder })
    }

    /// Registers the terminal that is called, from the port where it will answer: terminals behind address translation
    /// are called where they registered from. Says whether the daemon agreed.
    pub(crate) fn register(topology: &Topology) -> Result<bool> {
        let Side { terminal, relay, .. } = Topology::CAMERA;
        let (mut command, _folder) = command(&topology.camera, terminal, PORT, REGISTRATION)?;
        let status = command
            .args([&format!("{relay}:5060"), "-s", CALLED, "-m", "1", "-timeout", "3s", "-timeout_error"])
            .status()?;
        Ok(status.success())
    }

    /// Makes calls at a rate for a while.
    pub(crate) fn call(topology: &Topology, rate: u32, time: Duration) -> Result<Outcome> {
        let Side { terminal, relay, .. } = Topology::VIEWER;
        let (mut command, folder) = command(&topology.viewer, terminal, PORT, CALLER)?;
        let statistics = folder.path().join("statistics");
        let calls = u64::from(rate) * time.as_secs();
        // Calls that hang are given up by sipp only after half a minute; this bounds the whole run.
        let patience = format!("{}s", 2 * time.as_secs() + 5);
        command
            .args([&format!("{relay}:5060"), "-s", CALLED, "-r", &rate.to_string(), "-m", &calls.to_string()])
            .args(["-l", &calls.to_string(), "-timeout", &patience, "-timeout_error"])
            .args(["-trace_stat", "-fd", "1", "-stf"])
            .arg(&statistics);
        // Its exit status only says whether a call failed; so do the statistics.
        command.status().context("starting sipp")?;
        outcome(calls, &fs::read_to_string(&statistics).context("sipp wrote no statistics")?)
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// sipp with a scenario, from this address and port, over UDP; its folder holds what it writes.
fn command(namespace: &Namespace, local: Ipv4Addr, port: &str, scenario: &str) -> Result<(Command, TempDir)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scenario.xml");
    fs::write(&file, scenario)?;
    let mut command = namespace.command("taskset");
    command.args(["--cpu-list", CPU, "sipp", "-sf"]).arg(file);
    command.args(["-i", &local.to_string(), "-p", port, "-nostdin"]).current_dir(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command, folder))
}

/// Reads the last line of sipp's statistics.
fn outcome(asked: u64, statistics: &str) -> Result<Outcome> {
    let mut lines = statistics.lines();
    let (Some(names), Some(values)) = (lines.next(), lines.next_back()) else {
        bail!("sipp's statistics are empty");
    };
    let field = |name: &str| {
        let at = names.split(';').position(|found| found == name)?;
        values.split(';').nth(at)
    };
    let field = |name: &str| field(name).with_context(|| format!("sipp's statistics have no `{name}`"));
    Ok(Outcome {
        asked,
        succeeded: field("SuccessfulCall(C)")?.parse()?,
        failed: field("FailedCall(C)")?.parse()?,
        retransmissions: field("Retransmissions(C)")?.parse()?,
        rate: field("CallRate(C)")?.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATISTICS: &str = "StartTime;CallRate(C);SuccessfulCall(C);FailedCall(C);Retransmissions(C)\n\
        a;0;0;0;0\n\
        a;299.6;900;2;3\n";

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        let expected = Outcome { asked: 902, succeeded: 900, failed: 2, retransmissions: 3, rate: 299.6 };
        assert_eq!(outcome(902, STATISTICS).unwrap(), expected);
    }

    #[test]
    fn statistics_without_what_is_needed_are_an_error() {
        assert!(outcome(1, "").is_err());
        assert!(outcome(1, "StartTime\na").is_err());
    }
}
