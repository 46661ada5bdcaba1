//! How long it takes to install 100,000 legs, to remove them again, and to adopt those of a predecessor.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_user::{LegSpec, Options, Plan, StreamSpec};
use testbed::{Namespace, Topology};

use crate::sample::Sample;
use crate::state_folder::StateFolder;
use crate::subject::{self, RunningRelay};
use crate::wire;

/// Legs that are installed: two for each call.
const LEGS: u32 = 100_000;
const CALLS: u32 = LEGS / 2;
/// Cameras, each with an address of its own, whose MAC address the kernel knows.
const CAMERAS: u32 = 1000;
/// The relay's address towards them, and the first of theirs.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
const FIRST_CAMERA: Ipv4Addr = Ipv4Addr::new(10, 80, 1, 0);
const FIRST_PORT: u32 = 10_000;
/// Removed legs rest for a while before their place is used again.
const REST: Duration = Duration::from_millis(200);

/// What was measured, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bulk {
    /// One call of `install`.
    pub(crate) install: Sample,
    /// One call of `remove`.
    pub(crate) remove: Sample,
    /// The start of a relay that adopts them from one that left.
    pub(crate) adopt: Sample,
}

/// Installs and removes, so many times.
pub(crate) fn measure(rounds: usize) -> Result<Bulk> {
    let topology = wire::lay()?;
    meet_cameras(&topology.relay)?;
    let running = RunningRelay::start(&topology, LEGS)?;
    let plan = plan()?;
    let mut bulk = Bulk::default();
    for _ in 0..rounds {
        let start = Instant::now();
        let legs = running.install(&plan).context("installing 100,000 legs")?;
        bulk.install.push(start.elapsed().as_secs_f64());
        ensure!(running.relay.occupancy() == (LEGS as usize, 0), "not every leg is there");
        let start = Instant::now();
        let last = running.relay.remove(&legs);
        bulk.remove.push(start.elapsed().as_secs_f64());
        ensure!(last.len() == LEGS as usize && running.relay.occupancy().0 == 0, "not every leg is gone");
        thread::sleep(REST);
    }
    drop(running);
    adopt(&topology, &plan, rounds, &mut bulk.adopt)?;
    Ok(bulk)
}

/// Installs once, and lets one relay after the other take over.
fn adopt(topology: &Topology, plan: &Plan, rounds: usize, times: &mut Sample) -> Result<()> {
    let state = StateFolder::new("bulk");
    let options = Options { state: Some(state.path().to_owned()), ..subject::options(LEGS) };
    let mut running = RunningRelay::start_with(topology, &options)?;
    running.install(plan)?;
    for _ in 0..rounds {
        running.relay.leave();
        drop(running);
        let start = Instant::now();
        running = RunningRelay::start_with(topology, &options)?;
        times.push(start.elapsed().as_secs_f64());
        let adopted = running.relay.occupancy().0;
        ensure!(adopted == LEGS as usize, "{adopted} of {LEGS} legs were adopted");
    }
    Ok(running.relay.stop()?)
}

/// Calls between the cameras and the viewer, both directions.
fn plan() -> Result<Plan> {
    let mut plan = Plan::default();
    for call in 0..CALLS {
        let port = u16::try_from(FIRST_PORT + call)?;
        let camera = Ipv4Addr::from_bits(FIRST_CAMERA.to_bits() + call % CAMERAS);
        let viewer = Topology::VIEWER;
        let leg = |local: Ipv4Addr, remote: Ipv4Addr| {
            LegSpec::new(SocketAddr::from((local, port))).remote(SocketAddr::from((remote, port)))
        };
        let ingress = plan.legs.len();
        plan.legs.extend([leg(RELAY, camera), leg(viewer.relay, viewer.terminal)]);
        plan.streams.push(StreamSpec { ingress, egress: ingress + 1 });
        plan.streams.push(StreamSpec { ingress: ingress + 1, egress: ingress });
    }
    Ok(plan)
}

/// Gives the relay an address in the cameras' network, and every camera a MAC address.
fn meet_cameras(relay: &Namespace) -> Result<()> {
    let device = Topology::CAMERA.device;
    relay.ip(&["address", "add", &format!("{RELAY}/16"), "dev", device])?;
    let mut batch = String::new();
    for camera in 0..CAMERAS {
        let address = Ipv4Addr::from_bits(FIRST_CAMERA.to_bits() + camera);
        let mac = format!("02:00:00:01:{:02x}:{:02x}", camera / 256, camera % 256);
        batch += &format!("neighbour replace {address} lladdr {mac} dev {device} nud permanent\n");
    }
    let mut ip = relay.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    ip.stdin.take().context("standard input of `ip`")?.write_all(batch.as_bytes())?;
    ensure!(ip.wait()?.success(), "`ip` did not take the cameras' MAC addresses");
    Ok(())
}
