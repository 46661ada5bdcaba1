//! How a report leaves.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// Sends UDP datagrams from addresses and ports of ours that belong to legs.
pub(crate) trait Transmit: Send + Sync {
    /// Sends one datagram.
    ///
    /// # Errors
    /// What the system said.
    fn transmit(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()>;
}

/// An ordinary socket for each datagram, bound to the leg's own port: nobody else on this machine uses it, because XDP
/// takes what arrives there. That takes no privilege, and three system calls for a report every five seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketEach;

impl Transmit for SocketEach {
    fn transmit(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let socket = UdpSocket::bind(from)?;
        socket.set_nonblocking(true)?;
        socket.send_to(payload, to).map(|_| ())
    }
}
