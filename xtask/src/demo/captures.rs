//! The captures of one run: one for each namespace.

use std::net::Ipv4Addr;

use anyhow::Result;
use testbed::Topology;

use super::capture::Capture;
use super::wires::{CAMERA, VIEWER};

const RELAY_ADDRESSES: &[Ipv4Addr] = &[CAMERA.relay, VIEWER.relay];

/// One for each namespace.
pub(super) struct Captures {
    pub(super) camera: Capture,
    pub(super) relay: Capture,
    pub(super) viewer: Capture,
}

impl Captures {
    /// From now on nothing is missed.
    pub(super) fn start(topology: &Topology) -> Result<Self> {
        Ok(Self {
            camera: Capture::start(&topology.camera, RELAY_ADDRESSES)?,
            relay: Capture::start(&topology.relay, RELAY_ADDRESSES)?,
            viewer: Capture::start(&topology.viewer, RELAY_ADDRESSES)?,
        })
    }

    /// Ends them; fails if they were not complete.
    pub(super) fn finish(self) -> Result<()> {
        self.camera.finish()?;
        self.relay.finish()?;
        self.viewer.finish()
    }
}
