//! RTP over TCP: what a connection carries arrives for a leg as if it had come by UDP, so that everything that can be done with
//! a leg can be done with it.

mod datagram;
mod deframer;
mod outlet;
mod reader;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::relay::Relay;
use crate::sockets::{Frames, PacketOutput};
use datagram::Template;
pub use deframer::Framing;
#[cfg(fuzzing)]
pub(crate) use deframer::play;
use outlet::Outlet;
pub(crate) use wire::Wire;

/// Why what a connection carries cannot enter the relay.
#[derive(Debug, thiserror::Error)]
pub enum InletError {
    /// The data plane was left or stopped.
    #[error("the data plane has ended")]
    Closed,
    /// The connection and the leg are of two families.
    #[error(
        "a connection from {peer} cannot feed a leg at {local}: one has an address of IPv4 and the other one of IPv6; give the \
         leg an address of the connection's family"
    )]
    Families {
        /// The other side of the connection.
        peer: SocketAddr,
        /// The leg's address.
        local: SocketAddr,
    },
    /// The connection has no other side any more.
    #[error("the connection has ended: {0}")]
    Ended(#[source] io::Error),
    /// The kernel refused something.
    #[error("{what} failed: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What came by one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedStatistics {
    /// How its packets are told apart, once one has come.
    pub framing: Option<Framing>,
    /// Packets, RTP and RTCP.
    pub packets: u64,
    /// Bytes of these, without what tells them apart.
    pub bytes: u64,
    /// Bytes that were no packet.
    pub skipped: u64,
    /// Packets that did not enter the relay: longer than a datagram may be, or not taken by the kernel.
    pub lost: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
struct Counts {
    framing: AtomicU8,
    packets: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    fn received(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn lost(&self, packets: usize) {
        self.lost.fetch_add(packets as u64, Ordering::Relaxed);
    }

    fn told(&self, framing: Option<Framing>, skipped: u64) {
        let framing = match framing {
            None => 0,
            Some(Framing::Length) => 1,
            Some(Framing::Interleaved) => 2,
        };
        self.framing.store(framing, Ordering::Relaxed);
        self.skipped.store(skipped, Ordering::Relaxed);
    }

    fn read(&self) -> FeedStatistics {
        FeedStatistics {
            framing: match self.framing.load(Ordering::Relaxed) {
                1 => Some(Framing::Length),
                2 => Some(Framing::Interleaved),
                _ => None,
            },
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// A connection that is ready to feed a leg: install the leg with [`Inlet::remote`] as its remote side, then [`Inlet::start`].
pub struct Inlet {
    connection: TcpStream,
    outlet: Outlet,
    remote: SocketAddr,
}

impl Inlet {
    /// Where the leg sees the packets come from: [`crate::LegSpec::remote`]. With XDP that is the other side of the connection.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Reads the connection from now on. Inside a tokio runtime.
    pub fn start(self) -> Feed {
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(reader::read(self.connection, self.outlet, Arc::clone(&counts)));
        Feed { task, counts }
    }
}

/// A connection that feeds a leg. Dropped, it is closed.
pub struct Feed {
    task: JoinHandle<io::Result<()>>,
    counts: Arc<Counts>,
}

impl Feed {
    /// What came until now.
    pub fn statistics(&self) -> FeedStatistics {
        self.counts.read()
    }

    /// Waits until the connection has ended; may be called again when it was given up.
    ///
    /// # Errors
    /// It broke, or carries something else than RTP ([`io::ErrorKind::InvalidData`]).
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Makes ready that RTP which arrives by a TCP connection, in either [`Framing`], arrives for the leg at `local`: an address of
    /// ours and a UDP port, which need not be the connection's. The leg is to be installed with [`Inlet::remote`], and nothing
    /// is sent to the connection: the leg takes `RtcpMode::Relay`, and feeds others.
    ///
    /// With XDP packets enter by a wire of our own, at whose end the program runs, and go all ways that others go; that takes
    /// CAP_NET_RAW. Longer ones than a device takes leave in fragments.
    ///
    /// # Errors
    /// See [`InletError`].
    pub async fn inlet(&self, connection: TcpStream, local: SocketAddr) -> Result<Inlet, InletError> {
        let peer = connection.peer_addr().map_err(InletError::Ended)?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if peer.is_ipv4() != local.is_ipv4() {
            return Err(InletError::Families { peer, local });
        }
        // By a task, because the threads of the runtime are in the relay's network namespace, and the caller's need not be.
        let shared = Arc::clone(&self.shared);
        let prepared = tokio::spawn(async move {
            if shared.sockets.is_some() {
                return by_socket(local.ip())
                    .map(|(socket, remote)| (Outlet::Socket { socket, leg: local }, remote));
            }
            let mut wire = shared.wire.lock().await;
            let wire = Wire::ready(&mut wire, &shared)?;
            let failed = |source| InletError::Kernel { what: "opening a packet socket", source };
            let output = PacketOutput::open(wire.near()).map_err(failed)?;
            let template =
                Template::new(wire.macs(), peer, local).ok_or(InletError::Families { peer, local })?;
            Ok((Outlet::Wire { template, output, waiting: Frames::default() }, peer))
        });
        let (outlet, remote) = prepared.await.map_err(|_| InletError::Closed)??;
        Ok(Inlet { connection, outlet, remote })
    }
}

/// A socket that sends to a leg's, and its address.
fn by_socket(local: IpAddr) -> Result<(UdpSocket, SocketAddr), InletError> {
    let open = || {
        let socket = UdpSocket::bind((local, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    open().map_err(|source| InletError::Kernel { what: "opening a socket that feeds a leg", source })
}
