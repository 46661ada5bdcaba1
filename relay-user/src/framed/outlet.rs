//! Where packets of a connection enter the relay: as frames on a wire of our own, at whose far end the program runs, or as
//! datagrams to the socket of their leg.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::Counts;
use super::datagram::Template;
use crate::sockets::{Frames, PacketOutput};

/// Such a place.
pub(super) enum Outlet {
    /// The wire.
    Wire {
        /// The headers of each packet.
        template: Template,
        output: PacketOutput,
        waiting: Frames,
    },
    /// A socket that sends to the leg's.
    Socket {
        socket: UdpSocket,
        /// The leg's address and port.
        leg: SocketAddr,
    },
}

impl Outlet {
    /// One more packet, which may wait for [`Outlet::flush`].
    pub(super) fn push(&mut self, payload: &[u8], counts: &Counts) {
        counts.received(payload.len());
        match self {
            Self::Wire { template, waiting, .. } => {
                let start = waiting.bytes.len();
                match template.write(payload, &mut waiting.bytes) {
                    Some(()) => waiting.frames.push(start..waiting.bytes.len()),
                    None => counts.lost(1),
                }
            }
            Self::Socket { socket, leg } => {
                if send(socket, payload, *leg).is_err() {
                    counts.lost(1);
                }
            }
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, counts: &Counts) {
        let Self::Wire { output, waiting, .. } = self else { return };
        let sent = output.send(waiting).unwrap_or_default();
        counts.lost(waiting.frames.len() - sent);
        waiting.bytes.clear();
        waiting.frames.clear();
    }
}

/// Never waits: over the loopback device only a full socket of the leg refuses a datagram, and counts it itself.
fn send(socket: &UdpSocket, payload: &[u8], leg: SocketAddr) -> io::Result<()> {
    socket.send_to(payload, leg).map(|_| ())
}
