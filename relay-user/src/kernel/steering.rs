//! The second program: it steers what the network stack receives for a leg to a socket of ours
//! (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9).

use std::fs::File;
use std::io;

use aya::Ebpf;
use aya::maps::{MapData, MapError, SockMap};
use aya::programs::sk_lookup::SkLookupLink;
use aya::programs::{ProgramError, SkLookup};
use relay_common::kernel_path::{SOCKET_V4, SOCKET_V6};

use super::{LoadError, map, program};
use crate::sockets::UdpSocket;

/// Name of the program.
const STEER: &str = "steer";
/// The calling thread's network namespace.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Why nothing can be steered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SteeringError {
    #[error(transparent)]
    Object(#[from] LoadError),
    #[error("the network namespace cannot be opened at {NAMESPACE}; is /proc mounted?")]
    Namespace(#[source] io::Error),
    #[error(
        "the kernel does not take a program that chooses sockets (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9): {0}"
    )]
    Refused(Box<ProgramError>),
    #[error("the kernel does not take UDP sockets into a map (CONFIG_BPF_STREAM_PARSER, Linux 5.7): {0}")]
    Socket(Box<MapError>),
}

/// The map of sockets that the program steers to; what it holds is gone from it when the sockets are closed.
pub(crate) struct SteeredSockets(SockMap<MapData>);

impl SteeredSockets {
    /// Names the sockets that are steered to.
    pub(crate) fn set(&mut self, v4: &UdpSocket, v6: Option<&UdpSocket>) -> Result<(), SteeringError> {
        let sockets = [(SOCKET_V4, Some(v4)), (SOCKET_V6, v6)];
        for (slot, socket) in sockets.into_iter().filter_map(|(slot, socket)| Some((slot, socket?))) {
            self.0.set(slot, socket, 0).map_err(|error| SteeringError::Socket(error.into()))?;
        }
        Ok(())
    }
}

/// Loads the program while the object has its maps; without it the relay still works, but for the kernel path.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<SteeredSockets, SteeringError> {
    let sockets = map(ebpf, "KERNEL_PATH")?;
    program::<SkLookup>(ebpf, STEER)?.load().map_err(|error| SteeringError::Refused(error.into()))?;
    Ok(SteeredSockets(sockets))
}

/// Attaches the program to the network namespace of the calling thread, for as long as the link lives.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<SkLookupLink, SteeringError> {
    let program = program::<SkLookup>(ebpf, STEER)?;
    let refused = |error: ProgramError| SteeringError::Refused(error.into());
    let namespace = File::open(NAMESPACE).map_err(SteeringError::Namespace)?;
    let link = program.attach(namespace).map_err(refused)?;
    program.take_link(link).map_err(refused)
}
