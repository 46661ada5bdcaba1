//! A relay between two terminals, each behind a veth pair of its own.

use std::io;
use std::net::Ipv4Addr;

use crate::namespace::Namespace;

/// Name of a terminal's only device.
const TERMINAL_DEVICE: &str = "eth0";

/// One of the two wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The relay's device on this wire.
    pub device: &'static str,
    /// The relay's address.
    pub relay: Ipv4Addr,
    /// The terminal's address.
    pub terminal: Ipv4Addr,
}

/// Three namespaces and two wires.
#[derive(Debug)]
pub struct Topology {
    /// The terminal that sends.
    pub camera: Namespace,
    /// The machine between.
    pub relay: Namespace,
    /// The terminal that watches.
    pub viewer: Namespace,
}

impl Topology {
    /// The wire between relay and camera.
    pub const CAMERA: Side =
        Side { device: "camera", relay: Ipv4Addr::new(10, 78, 1, 1), terminal: Ipv4Addr::new(10, 78, 1, 2) };
    /// The wire between relay and viewer.
    pub const VIEWER: Side =
        Side { device: "viewer", relay: Ipv4Addr::new(10, 78, 2, 1), terminal: Ipv4Addr::new(10, 78, 2, 2) };
    /// The terminals' device.
    pub const TERMINAL_DEVICE: &str = TERMINAL_DEVICE;

    /// Makes the namespaces and the wires; each side's default route is the relay.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn create() -> io::Result<Self> {
        let topology = Self {
            camera: Namespace::create("camera")?,
            relay: Namespace::create("relay")?,
            viewer: Namespace::create("viewer")?,
        };
        for (terminal, side) in [(&topology.camera, Self::CAMERA), (&topology.viewer, Self::VIEWER)] {
            connect(&topology.relay, side.device, terminal, TERMINAL_DEVICE)?;
            topology.relay.ip(&["address", "add", &format!("{}/24", side.relay), "dev", side.device])?;
            terminal.ip(&["address", "add", &format!("{}/24", side.terminal), "dev", TERMINAL_DEVICE])?;
            terminal.ip(&["route", "add", "default", "via", &side.relay.to_string()])?;
        }
        Ok(topology)
    }
}

/// Joins two namespaces by a veth pair that takes and gives frames as a card would: whole checksums, and redirected
/// frames accepted at both ends.
///
/// # Errors
/// With what `ip` or `ethtool` said.
pub fn connect(near: &Namespace, near_device: &str, far: &Namespace, far_device: &str) -> io::Result<()> {
    let peer = ["type", "veth", "peer", "name", far_device, "netns", far.name()];
    near.ip(&[&["link", "add", near_device], peer.as_slice()].concat())?;
    // A veth leaves checksums to a card that does not exist; and it takes redirected frames only if its far end has
    // GRO, or an XDP program, at the moment when it goes up.
    let ends = [(near, near_device), (far, far_device)];
    for (namespace, device) in ends {
        namespace.offload(device, &["tx", "off", "gro", "on"])?;
    }
    for (namespace, device) in ends {
        namespace.ip(&["link", "set", device, "up"])?;
    }
    Ok(())
}
