//! What is compared: the real relay, and a program that only redirects.

use std::ops::Range;

use anyhow::{Context, Result};
use relay_user::{LegId, LegSpec, ModeChoice, Options, Plan, Relay, StreamSpec};
use testbed::Topology;
use tokio::runtime::Runtime;

use crate::packet::Template;
use crate::wire::{self, Ends};

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A bare redirect to the other wire.
    Bare,
    /// The relay as the daemon runs it.
    Relay,
}

/// The running data plane, with the legs of every flow.
pub(crate) struct RunningRelay {
    pub(crate) relay: Relay,
    runtime: Runtime,
}

impl RunningRelay {
    /// Starts it in the relay's namespace.
    pub(crate) fn start(topology: &Topology, legs: u32) -> Result<Self> {
        topology.relay.run(|| {
            // One worker, made by this thread, so that its sockets are in this thread's namespace.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let interfaces = vec![Topology::CAMERA.device.into(), Topology::VIEWER.device.into()];
            let options = Options { interfaces, mode: ModeChoice::Native, legs, ..Options::default() };
            let relay = runtime.block_on(Relay::start(&options)).context("starting the relay")?;
            Ok(Self { relay, runtime })
        })?
    }

    /// Installs legs and streams.
    pub(crate) fn install(&self, plan: &Plan) -> Result<Vec<LegId>> {
        Ok(self.runtime.block_on(self.relay.install(plan))?)
    }
}

/// A call between camera and viewer for each of these flows, both directions.
pub(crate) fn calls(flows: Range<u32>) -> Plan {
    let mut plan = Plan::default();
    for flow in flows {
        let ingress = plan.legs.len();
        plan.legs.push(leg(wire::camera_ends(flow)));
        plan.legs.push(leg(wire::viewer_ends(flow)));
        plan.streams.push(StreamSpec { ingress, egress: ingress + 1 });
        plan.streams.push(StreamSpec { ingress: ingress + 1, egress: ingress });
    }
    plan
}

impl Subject {
    /// What has to arrive when the camera's packets were sent.
    pub(crate) fn delivers(self) -> Template {
        match self {
            Self::Bare => wire::from_camera(),
            Self::Relay => wire::to_viewer(),
        }
    }
}

/// A leg that admits exactly its remote side.
fn leg(ends: Ends) -> LegSpec {
    LegSpec::new(ends.relay).remote(ends.terminal)
}
