//! The sending side of all sockets, and the opening of the listeners.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::counters::{TransportCounters, count};
use super::{Arrival, ConnectionId, Flow, Outgoing, Transmit, Transport, parser_limits, tcp, udp};
use crate::config::{Limits, Listen};
use crate::sip::transaction::TransactionId;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("sip.listen: {listen}: {error}; {}", advice(error))]
pub struct OpenError {
    /// The listener.
    pub listen: Listen,
    /// What the system said.
    pub error: io::Error,
}

/// The listeners and connections.
pub struct Sockets {
    udp: HashMap<SocketAddr, Arc<UdpSocket>>,
    connections: HashMap<ConnectionId, Connection>,
    by_peer: HashMap<SocketAddr, ConnectionId>,
    shared: Arc<tcp::Shared>,
}

struct Connection {
    remote: SocketAddr,
    sender: mpsc::Sender<Outgoing>,
}

impl Sockets {
    /// Opens the listeners; what arrives comes out of the receiver. Must be called inside a runtime. Nothing stays open
    /// on error.
    ///
    /// # Errors
    /// [`OpenError`] for the first listener that cannot be opened.
    pub fn open(listen: &[Listen], limits: &Limits) -> Result<(Self, mpsc::Receiver<Arrival>), OpenError> {
        let (arrivals, receiver) = mpsc::channel(limits.queue);
        let counters = Arc::new(TransportCounters::default());
        let parser = parser_limits(limits);
        let shared = Arc::new(tcp::Shared::new(parser, limits, Arc::clone(&counters), arrivals.clone()));
        let mut udp_sockets = HashMap::new();
        let mut tcp_listeners = Vec::new();
        for &listen in listen {
            let refused = |error| OpenError { listen, error };
            match listen.transport {
                Transport::Udp => {
                    let socket = Arc::new(udp::open(listen.address).map_err(refused)?);
                    udp_sockets.insert(listen.address, socket);
                }
                Transport::Tcp => {
                    tcp_listeners.push((tcp::open(listen.address).map_err(refused)?, listen.address));
                }
            }
        }
        for (&local, socket) in &udp_sockets {
            let (socket, counters, arrivals) = (Arc::clone(socket), Arc::clone(&counters), arrivals.clone());
            tokio::spawn(udp::listen(socket, local, parser, limits.message_bytes, counters, arrivals));
        }
        for (listener, local) in tcp_listeners {
            tokio::spawn(tcp::listen(listener, local, Arc::clone(&shared)));
        }
        let sockets = Self { udp: udp_sockets, connections: HashMap::new(), by_peer: HashMap::new(), shared };
        Ok((sockets, receiver))
    }

    /// What was counted at the sockets.
    #[must_use]
    pub fn counters(&self) -> &TransportCounters {
        &self.shared.counters
    }

    /// Sends, without waiting. What is known at once to be impossible is returned; what fails later arrives as
    /// [`Arrival::Unsent`].
    #[must_use]
    pub fn send(&mut self, transmit: Transmit) -> Option<TransactionId> {
        match transmit.flow {
            Flow::Udp { local, remote } => {
                let Some(socket) = self.udp.get(&local) else {
                    return transmit.transaction;
                };
                match socket.try_send_to(&transmit.bytes, remote) {
                    Ok(_) => None,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        count(&self.shared.counters.datagrams_unsent);
                        None
                    }
                    Err(_) => {
                        count(&self.shared.counters.datagrams_unsent);
                        transmit.transaction
                    }
                }
            }
            Flow::Tcp { local, remote, connection } => {
                let outgoing = Outgoing { bytes: transmit.bytes, transaction: transmit.transaction };
                let open = connection.filter(|id| self.connections.contains_key(id));
                let id = open.or_else(|| self.by_peer.get(&remote).copied());
                let id = id.unwrap_or_else(|| self.connect(local, remote));
                let Some(connection) = self.connections.get(&id) else {
                    return transmit.transaction;
                };
                connection.sender.try_send(outgoing).err().and(transmit.transaction)
            }
        }
    }

    /// A connection was accepted.
    pub fn opened(&mut self, flow: &Flow, id: ConnectionId, sender: mpsc::Sender<Outgoing>) {
        self.insert(flow.remote(), id, sender);
    }

    /// A connection is gone.
    pub fn closed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id)
            && self.by_peer.get(&connection.remote) == Some(&id)
        {
            self.by_peer.remove(&connection.remote);
        }
    }

    fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> ConnectionId {
        let id = self.shared.next_id();
        let (sender, outgoing) = mpsc::channel(tcp::OUTGOING_QUEUE);
        self.insert(remote, id, sender.clone());
        tokio::spawn(tcp::connect(local, remote, id, sender, outgoing, Arc::clone(&self.shared)));
        id
    }

    fn insert(&mut self, remote: SocketAddr, id: ConnectionId, sender: mpsc::Sender<Outgoing>) {
        self.connections.insert(id, Connection { remote, sender });
        self.by_peer.insert(remote, id);
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it (`ss -lntup` names it) or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "it is no address of this host: `ip address` lists those that are",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: choose 1024 or above",
        _ => "check address and port",
    }
}
