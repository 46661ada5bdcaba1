//! The call itself, from registration to BYE, and the moment at which its packets are counted.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use testbed::Topology;

use super::capture::Seen;
use super::captures::Captures;
use super::gateway::Gateway;
use super::interrupt::{sleep, wait_for};
use super::measurement::{Side, flows};
use super::process::Process;
use super::report::Report;
use super::terminal::Terminal;
use super::wires::{CAMERA, VIEWER};
use super::{PATIENCE, SETTLING};

/// The programs that take part; they end in this order.
pub(super) struct Call {
    pub(super) viewer: Terminal,
    pub(super) camera: Terminal,
    pub(super) gateway: Gateway,
    pub(super) captures: Captures,
    pub(super) topology: Topology,
}

impl Call {
    /// Registers, dials, lets media flow, measures, hangs up.
    pub(super) fn run(&mut self, seconds: u64) -> Result<Report> {
        for (name, capture) in [("camera", &self.captures.camera), ("viewer", &self.captures.viewer)] {
            let registered = |seen: &Seen| seen.first(false, |sip| sip.status_for("REGISTER") == Some(200));
            wait_for(&format!("the {name} to register"), PATIENCE, || Ok(capture.look(registered)))?;
        }
        let address = format!("sip:{}@{}", CAMERA.name, VIEWER.relay);
        eprintln!("demo: both are registered; the viewer calls {address} for {seconds} s");
        self.viewer.dial(&self.topology.viewer, &address)?;
        let setup_ms = self.wait_for_answer()?;
        sleep(Duration::from_secs(seconds))?;
        let report = self.measure(seconds, setup_ms)?;
        self.viewer.hang_up(&self.topology.viewer)?;
        wait_for("the call to end", PATIENCE, || Ok(self.is_over().then_some(())))?;
        Ok(report)
    }

    /// Ends everything; fails if the captures were not complete.
    pub(super) fn finish(self) -> Result<()> {
        self.captures.finish()
    }

    /// Whether the camera was told, and culvert has forgotten the call.
    fn is_over(&self) -> bool {
        let bye = self.captures.camera.look(|seen| seen.first(false, |sip| sip.is_request("BYE")));
        bye.is_some() && self.gateway.status().is_some_and(|status| status.calls() == 0)
    }

    /// Milliseconds from the viewer's first INVITE to its 200.
    fn wait_for_answer(&self) -> Result<f64> {
        let wire = &self.captures.viewer;
        let final_status = |seen: &Seen| {
            seen.sip
                .iter()
                .filter(|message| !message.is_outgoing)
                .filter_map(|message| message.sip.status_for("INVITE"))
                .find(|status| *status >= 200 && !matches!(status, 401 | 407))
        };
        let status = wait_for("an answer to the call", PATIENCE, || Ok(wire.look(final_status)))?;
        if status != 200 {
            bail!("the call was answered with {status}");
        }
        let asked = wire.look(|seen| seen.first(true, |sip| sip.is_request("INVITE")));
        let answered = wire.look(|seen| seen.first(false, |sip| sip.status_for("INVITE") == Some(200)));
        let (asked, answered) = asked.zip(answered).context("the call's messages were not captured")?;
        Ok((answered - asked) * 1000.0)
    }

    /// Halts both terminals, so that nothing is on its way while wires and counters are read.
    fn measure(&self, seconds: u64, setup_ms: f64) -> Result<Report> {
        self.camera.process.pause();
        self.viewer.process.pause();
        sleep(SETTLING)?;
        let status = self.gateway.status();
        let camera = self.captures.camera.look(Seen::clone);
        let viewer = self.captures.viewer.look(Seen::clone);
        let in_network_stack = self.captures.relay.look(Seen::received);
        self.camera.process.resume();
        self.viewer.process.resume();
        let status = status.context("culvert does not answer any more")?;
        let formats: Vec<_> = viewer.sip.iter().flat_map(|message| message.sip.payload_formats()).collect();
        let (camera, viewer) =
            (Side { name: CAMERA.name, seen: &camera }, Side { name: VIEWER.name, seen: &viewer });
        let mut both = flows(&camera, &viewer, &formats);
        both.extend(flows(&viewer, &camera, &formats));
        Ok(Report {
            call_mode: status.call_mode(),
            seconds,
            setup_ms,
            interfaces: status.interfaces(),
            flows: both,
            legs: status.legs(),
            in_network_stack,
        })
    }

    /// The ends of everybody's logs.
    pub(super) fn logs(&self) -> String {
        let processes = [&self.gateway.process, &self.camera.process, &self.viewer.process];
        processes.map(Process::log).join("\n")
    }
}
