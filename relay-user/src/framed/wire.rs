//! The wire by which packets of connections enter: a pair of devices of our own, with the program at its far end, as at any
//! device that media arrives on. It belongs to the process, like the connections.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::InletError;
use super::datagram::Macs;
use crate::attach::Mode;
use crate::kernel::bpf;
use crate::shared::Shared;
use crate::veth::{End, Veth};

/// Largest packets that fit: any datagram.
const MTU: u32 = 65_535;
/// MAC addresses that nobody else has on such a wire (locally administered).
const NEAR: [u8; 6] = [0x02, 0x63, 0x75, 0x6c, 0x76, 0x01];
const FAR: [u8; 6] = [0x02, 0x63, 0x75, 0x6c, 0x76, 0x02];

/// The wire.
pub(crate) struct Wire {
    veth: Veth,
    _link: OwnedFd,
}

impl Wire {
    /// The wire, made if there is none yet; in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel refused something, or the program is gone.
    pub(super) fn ready<'w>(wire: &'w mut Option<Self>, shared: &Shared) -> Result<&'w Self, InletError> {
        let made = match wire.take() {
            Some(made) => made,
            None => {
                let failed =
                    |source| InletError::Kernel { what: "making the wire that connections feed", source };
                Self::make(shared).map_err(failed)?
            }
        };
        Ok(wire.insert(made))
    }

    fn make(shared: &Shared) -> io::Result<Self> {
        let (program, interface, mode) = {
            let mut interfaces = shared.interfaces();
            let devices = interfaces.report();
            // A native program can hand packets only to devices whose drivers take them.
            let is_native = devices.iter().all(|device| device.mode == Mode::Native);
            let interface = devices.iter().map(|device| device.index).min().unwrap_or_default();
            let program = interfaces.program().ok_or(io::ErrorKind::NotFound)?;
            let program = program.xdp().map_err(io::Error::other)?.fd().map_err(io::Error::other)?;
            let mode = if is_native { bpf::NATIVE } else { bpf::GENERIC };
            (program.as_fd().try_clone_to_owned()?, interface, mode)
        };
        // Named after one of the relay's interfaces, which no other relay uses at the same time.
        let (near, far) = (format!("tcp{interface}a"), format!("tcp{interface}b"));
        let ends = [(&near, NEAR), (&far, FAR)].map(|(name, mac)| End { name, mac: Some(mac) });
        let [near, far_end] = ends;
        let (mut veth, far_index) = Veth::make(near, far_end, 1, MTU)?;
        let link = bpf::create_link(program.as_fd(), far_index, mode)?;
        // Fragments go through the network stack there, which would ask why they do not come from where their sender is.
        let filter = format!("/proc/sys/net/ipv4/conf/{far}/rp_filter");
        if let Err(error) = fs::write(&filter, "0") {
            tracing::debug!(filter, %error, "packets of connections that need fragments may be dropped");
        }
        veth.bring_up(far_index)?;
        Ok(Self { veth, _link: link })
    }

    /// Index of the end that packets enter by.
    pub(super) fn near(&self) -> u32 {
        self.veth.near
    }

    /// What its frames are addressed with.
    pub(super) fn macs(&self) -> Macs {
        Macs { to: FAR, from: NEAR }
    }
}
