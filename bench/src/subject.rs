//! What is compared: the real relay, and a program that only redirects.

use std::ops::Range;

use anyhow::{Context, Result};
use relay_user::{LegId, LegSpec, ModeChoice, Options, Plan, Relay, StreamSpec};
use testbed::Topology;
use tokio::runtime::Runtime;

use crate::packet::Template;
use crate::programs::Role;
use crate::treatment::Treatment;

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A bare redirect to the other wire.
    Bare,
    /// The relay as the daemon runs it, and how its legs treat packets.
    Relay(Treatment),
    /// The same with plain legs, and AF_XDP workers that make the copies for groups.
    Workers,
    /// A relay in a process of its own, which the lane does not start.
    Elsewhere,
}

/// The running data plane, with the legs of every flow.
pub(crate) struct RunningRelay {
    pub(crate) relay: Relay,
    runtime: Runtime,
}

impl RunningRelay {
    /// Starts it in the relay's namespace, with XDP.
    pub(crate) fn start(topology: &Topology, legs: u32) -> Result<Self> {
        Self::start_with(topology, &options(legs))
    }

    /// Starts it in the relay's namespace, as the options say.
    pub(crate) fn start_with(topology: &Topology, options: &Options) -> Result<Self> {
        topology.relay.run(|| {
            // One worker, made by this thread, so that its sockets are in this thread's namespace.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let relay = runtime.block_on(Relay::start(options)).context("starting the relay")?;
            Ok(Self { relay, runtime })
        })?
    }

    /// Installs legs and streams.
    pub(crate) fn install(&self, plan: &Plan) -> Result<Vec<LegId>> {
        Ok(self.runtime.block_on(self.relay.install(plan))?)
    }

    /// Lets receivers join the group of a leg.
    pub(crate) fn join(&self, source: LegId, receivers: &[LegSpec]) -> Result<Vec<LegId>> {
        Ok(self.runtime.block_on(self.relay.join(source, receivers))?)
    }
}

/// A relay between both wires, with room for so many legs.
pub(crate) fn options(legs: u32) -> Options {
    let interfaces = vec![Topology::CAMERA.device.into(), Topology::VIEWER.device.into()];
    Options { interfaces, mode: ModeChoice::Native, legs, ..Options::default() }
}

/// A call between camera and viewer for each of these flows, both directions.
pub(crate) fn calls(treatment: Treatment, flows: Range<u32>) -> Plan {
    let mut plan = Plan::default();
    for flow in flows {
        let ingress = plan.legs.len();
        plan.legs.extend(treatment.legs(flow));
        plan.streams.push(StreamSpec { ingress, egress: ingress + 1 });
        plan.streams.push(StreamSpec { ingress: ingress + 1, egress: ingress });
    }
    plan
}

impl Subject {
    /// What the camera sends.
    pub(crate) fn sends(self) -> Template {
        match self {
            Self::Bare | Self::Workers | Self::Elsewhere => Treatment::Plain.sends(),
            Self::Relay(treatment) => treatment.sends(),
        }
    }

    /// What has to arrive then.
    pub(crate) fn delivers(self) -> Template {
        match self {
            Self::Bare => self.sends(),
            Self::Relay(treatment) => treatment.delivers(),
            Self::Workers | Self::Elsewhere => Treatment::Plain.delivers(),
        }
    }

    /// The generator and the sink for its packets.
    pub(crate) fn instruments(self) -> [Role; 2] {
        let treatment = match self {
            Self::Bare | Self::Workers | Self::Elsewhere => Treatment::Plain,
            Self::Relay(treatment) => treatment,
        };
        [treatment.generator(), treatment.sink()]
    }
}
