//! The devices that packets travel through: generator, two wires, sink; and every address on the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use testbed::{Namespace, Side, Topology};

use crate::packet::{RtpHeader, Template};
use crate::records::{CPUS, FLOWS_PER_ADDRESS, place};

/// Port of flow 0 on the camera's wire; the flow at `place` (a, p) has the p-th after it.
const CAMERA_PORT: u16 = 10_000;
/// Port of flow 0 on the viewer's wire.
const VIEWER_PORT: u16 = 40_000;
/// Addresses that the relay has on each wire.
const ADDRESSES: u32 = 4;
/// From one of the relay's addresses to the next one.
const ADDRESS_STEP: u32 = 16;
/// Most flows that the relay's addresses and ports tell apart.
pub(crate) const MOST_FLOWS: u32 = ADDRESSES * FLOWS_PER_ADDRESS;

const TIME_TO_LIVE: u8 = 64;

/// MAC addresses of the relay's and the terminal's end of a wire.
#[derive(Clone, Copy)]
struct Macs {
    relay: [u8; 6],
    terminal: [u8; 6],
}

const CAMERA_MACS: Macs = Macs { relay: [2, 0, 0, 0, 1, 1], terminal: [2, 0, 0, 0, 1, 2] };
const VIEWER_MACS: Macs = Macs { relay: [2, 0, 0, 0, 2, 1], terminal: [2, 0, 0, 0, 2, 2] };

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Both ends of a path of media as the relay sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The relay's own address and port.
    pub(crate) relay: SocketAddr,
    /// The terminal's.
    pub(crate) terminal: SocketAddr,
}

/// Makes the namespaces and wires, with a queue for each processor, and neighbours that know each other.
pub(crate) fn lay() -> Result<Topology> {
    let topology = Topology::create().context("the bench takes root, iproute2 and ethtool")?;
    let wires = [
        (&topology.camera, Topology::CAMERA, CAMERA_MACS),
        (&topology.viewer, Topology::VIEWER, VIEWER_MACS),
    ];
    for (terminal, side, macs) in wires {
        let relays = [Family::V4, Family::V6].map(|family| relay_address(side, family, 0));
        let terminals = [side.terminal.into(), side.terminal6.into()];
        prepare(&topology.relay, side.device, macs.relay, (terminals, macs.terminal))?;
        prepare(terminal, Topology::TERMINAL_DEVICE, macs.terminal, (relays, macs.relay))?;
        for address in 1..ADDRESSES {
            let [v4, v6] = [Family::V4, Family::V6].map(|family| relay_address(side, family, address));
            topology.relay.ip(&["address", "add", &format!("{v4}/24"), "dev", side.device])?;
            topology.relay.ip(&["address", "add", &format!("{v6}/64"), "dev", side.device, "nodad"])?;
        }
    }
    Ok(topology)
}

/// One end of a wire.
fn prepare(
    namespace: &Namespace,
    device: &str,
    mac: [u8; 6],
    neighbour: ([IpAddr; 2], [u8; 6]),
) -> Result<()> {
    let queues = CPUS.to_string();
    let output = namespace.command("ethtool").args(["-L", device, "rx", &queues, "tx", &queues]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It says so, and fails, if the numbers are what they were.
    if !output.status.success() && !said.contains("unmodified") {
        anyhow::bail!("giving {device} {queues} queues: {}", said.trim());
    }
    namespace.ip(&["link", "set", device, "address", &text(mac)])?;
    // Never asked for while the wire is full of test packets.
    let (addresses, mac) = (neighbour.0.map(|address| address.to_string()), text(neighbour.1));
    for address in addresses {
        namespace.ip(&[
            "neighbour",
            "replace",
            &address,
            "lladdr",
            &mac,
            "dev",
            device,
            "nud",
            "permanent",
        ])?;
    }
    Ok(())
}

/// What the camera sends to the relay.
pub(crate) fn from_camera(family: Family) -> Template {
    let ends = camera_ends(family, 0);
    Template {
        source_mac: CAMERA_MACS.terminal,
        destination_mac: CAMERA_MACS.relay,
        vlan: None,
        source: ends.terminal,
        destination: ends.relay,
        source_step: 0,
        destination_step: ADDRESS_STEP,
        hops: TIME_TO_LIVE,
        rtp: RtpHeader::SENT,
    }
}

/// What the viewer has to get from the relay.
pub(crate) fn to_viewer(family: Family) -> Template {
    let ends = viewer_ends(family, 0);
    Template {
        source_mac: VIEWER_MACS.relay,
        destination_mac: VIEWER_MACS.terminal,
        vlan: None,
        source: ends.relay,
        destination: ends.terminal,
        source_step: ADDRESS_STEP,
        destination_step: 0,
        hops: TIME_TO_LIVE - 1,
        rtp: RtpHeader::SENT,
    }
}

/// Both ends of a flow on the camera's wire.
pub(crate) fn camera_ends(family: Family, flow: u32) -> Ends {
    ends(Topology::CAMERA, family, CAMERA_PORT, flow)
}

/// Both ends of a flow on the viewer's wire.
pub(crate) fn viewer_ends(family: Family, flow: u32) -> Ends {
    ends(Topology::VIEWER, family, VIEWER_PORT, flow)
}

/// The SSRC of a flow, over that of flow 0.
pub(crate) fn ssrc(flow: u32) -> u32 {
    let (address, port) = place(flow);
    address << 16 | port
}

fn ends(side: Side, family: Family, first_port: u16, flow: u32) -> Ends {
    let (address, port) = place(flow);
    #[expect(clippy::cast_possible_truncation, reason = "below 65,536, as a test of this file shows")]
    let port = first_port + port as u16;
    let terminal: IpAddr = match family {
        Family::V4 => side.terminal.into(),
        Family::V6 => side.terminal6.into(),
    };
    Ends { relay: (relay_address(side, family, address), port).into(), terminal: (terminal, port).into() }
}

/// One of the relay's addresses on a wire.
fn relay_address(side: Side, family: Family, number: u32) -> IpAddr {
    let more = number * ADDRESS_STEP;
    match family {
        Family::V4 => Ipv4Addr::from_bits(side.relay.to_bits() + more).into(),
        Family::V6 => Ipv6Addr::from_bits(side.relay6.to_bits() + u128::from(more)).into(),
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_flow_has_an_address_and_port_of_its_own() {
        let ends: HashSet<_> = (0..MOST_FLOWS).map(|flow| viewer_ends(Family::V4, flow).relay).collect();
        assert_eq!(ends.len(), MOST_FLOWS as usize);
        assert!(ends.iter().all(|end| end.port() >= VIEWER_PORT));
        let addresses: HashSet<_> = ends.iter().map(SocketAddr::ip).collect();
        assert_eq!(addresses.len(), ADDRESSES as usize);
        assert!(!addresses.contains(&Topology::VIEWER.terminal.into()));
    }

    #[test]
    fn places_are_the_quotient_and_the_remainder() {
        for flow in 0..MOST_FLOWS {
            assert_eq!(place(flow), (flow / FLOWS_PER_ADDRESS, flow % FLOWS_PER_ADDRESS));
        }
    }
}
