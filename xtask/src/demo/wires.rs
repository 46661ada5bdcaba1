//! Who sits at which wire of the topology: names and addresses.

use std::net::Ipv4Addr;

use testbed::Topology;

/// A terminal and its wire to the relay.
pub(super) struct Wire {
    /// Name of the terminal, and of the network.
    pub(super) name: &'static str,
    /// The relay's interface.
    pub(super) interface: &'static str,
    /// The relay's address.
    pub(super) relay: Ipv4Addr,
    /// The terminal's address.
    pub(super) terminal: Ipv4Addr,
}

pub(super) const CAMERA: Wire = Wire {
    name: "camera",
    interface: Topology::CAMERA.device,
    relay: Topology::CAMERA.relay,
    terminal: Topology::CAMERA.terminal,
};

pub(super) const VIEWER: Wire = Wire {
    name: "viewer",
    interface: Topology::VIEWER.device,
    relay: Topology::VIEWER.relay,
    terminal: Topology::VIEWER.terminal,
};
