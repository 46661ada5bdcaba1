//! A relay between two terminals, each behind a veth pair of its own.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

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
    /// The relay's IPv6 address.
    pub relay6: Ipv6Addr,
    /// The terminal's IPv6 address.
    pub terminal6: Ipv6Addr,
}

impl Side {
    /// The wire of this number: 10.78.n.0/24 and fd78:n::/64, the relay being 1 and the terminal 2.
    const fn new(device: &'static str, number: u8) -> Self {
        Self {
            device,
            relay: Ipv4Addr::new(10, 78, number, 1),
            terminal: Ipv4Addr::new(10, 78, number, 2),
            relay6: Ipv6Addr::new(0xfd78, number as u16, 0, 0, 0, 0, 0, 1),
            terminal6: Ipv6Addr::new(0xfd78, number as u16, 0, 0, 0, 0, 0, 2),
        }
    }
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
    pub const CAMERA: Side = Side::new("camera", 1);
    /// The wire between relay and viewer.
    pub const VIEWER: Side = Side::new("viewer", 2);
    /// The terminals' device.
    pub const TERMINAL_DEVICE: &str = TERMINAL_DEVICE;

    /// Makes the namespaces and the wires, with addresses of both families; each side's default route is the relay.
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
            let ends = [
                (&topology.relay, side.device, side.relay, side.relay6),
                (terminal, TERMINAL_DEVICE, side.terminal, side.terminal6),
            ];
            for (namespace, device, address, address6) in ends {
                namespace.ip(&["address", "add", &format!("{address}/24"), "dev", device])?;
                namespace.ip(&["address", "add", &format!("{address6}/64"), "dev", device])?;
            }
            terminal.ip(&["route", "add", "default", "via", &side.relay.to_string()])?;
            terminal.ip(&["-6", "route", "add", "default", "via", &side.relay6.to_string()])?;
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
