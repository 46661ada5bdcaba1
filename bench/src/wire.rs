//! The devices that packets travel through: generator, two wires, sink; and every address on the way.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use testbed::{Namespace, Side, Topology};

use crate::packet::Addresses;
use crate::records::CPUS;

/// Port of flow 0 on the camera's wire; flow n has the n-th after it.
pub(crate) const CAMERA_PORT: u16 = 10_000;
/// Port of flow 0 on the viewer's wire.
pub(crate) const VIEWER_PORT: u16 = 40_000;
/// Most flows that fit between the ports and into the sum of the test packets.
pub(crate) const MOST_FLOWS: u16 = 16_384;

const TIME_TO_LIVE: u8 = 64;

/// MAC addresses of the relay's and the terminal's end of a wire.
#[derive(Clone, Copy)]
struct Macs {
    relay: [u8; 6],
    terminal: [u8; 6],
}

const CAMERA_MACS: Macs = Macs { relay: [2, 0, 0, 0, 1, 1], terminal: [2, 0, 0, 0, 1, 2] };
const VIEWER_MACS: Macs = Macs { relay: [2, 0, 0, 0, 2, 1], terminal: [2, 0, 0, 0, 2, 2] };

/// Makes the namespaces and wires, with a queue for each processor, and neighbours that know each other.
pub(crate) fn lay() -> Result<Topology> {
    let topology = Topology::create().context("the bench takes root, iproute2 and ethtool")?;
    let wires = [
        (&topology.camera, Topology::CAMERA, CAMERA_MACS),
        (&topology.viewer, Topology::VIEWER, VIEWER_MACS),
    ];
    for (terminal, side, macs) in wires {
        prepare(&topology.relay, side.device, macs.relay, (side.terminal, macs.terminal))?;
        prepare(terminal, Topology::TERMINAL_DEVICE, macs.terminal, (side.relay, macs.relay))?;
    }
    Ok(topology)
}

/// One end of a wire.
fn prepare(namespace: &Namespace, device: &str, mac: [u8; 6], neighbour: (Ipv4Addr, [u8; 6])) -> Result<()> {
    let queues = CPUS.to_string();
    let output = namespace.command("ethtool").args(["-L", device, "rx", &queues, "tx", &queues]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It says so, and fails, if the numbers are what they were.
    if !output.status.success() && !said.contains("unmodified") {
        anyhow::bail!("giving {device} {queues} queues: {}", said.trim());
    }
    namespace.ip(&["link", "set", device, "address", &text(mac)])?;
    // Never asked for while the wire is full of test packets.
    let (address, mac) = (neighbour.0.to_string(), text(neighbour.1));
    namespace.ip(&["neighbour", "replace", &address, "lladdr", &mac, "dev", device, "nud", "permanent"])?;
    Ok(())
}

/// What the camera sends to the relay.
pub(crate) fn from_camera() -> Addresses {
    let Side { relay, terminal, .. } = Topology::CAMERA;
    Addresses {
        source_mac: CAMERA_MACS.terminal,
        destination_mac: CAMERA_MACS.relay,
        source: SocketAddrV4::new(terminal, CAMERA_PORT),
        destination: SocketAddrV4::new(relay, CAMERA_PORT),
        time_to_live: TIME_TO_LIVE,
    }
}

/// What the viewer has to get from the relay.
pub(crate) fn to_viewer() -> Addresses {
    let Side { relay, terminal, .. } = Topology::VIEWER;
    Addresses {
        source_mac: VIEWER_MACS.relay,
        destination_mac: VIEWER_MACS.terminal,
        source: SocketAddrV4::new(relay, VIEWER_PORT),
        destination: SocketAddrV4::new(terminal, VIEWER_PORT),
        time_to_live: TIME_TO_LIVE - 1,
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
