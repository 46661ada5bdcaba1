//! Where a message came from and where one goes to.

use std::fmt;
use std::net::SocketAddr;

use crate::config::Transport;
use crate::sip::message::{Host, SipUri, Via};

/// The port of SIP where none is said (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// Names one TCP connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) u64);

/// The way between one of our sockets and a peer. Answers go back on the flow that the request came on; requests to a
/// registered terminal go to the flow of its registration, so that they pass the NAT that it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Datagrams between a listener and a peer.
    Udp {
        /// Our listener.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
    },
    /// A connection, or the wish for one.
    Tcp {
        /// Our listener whose address stands in Via and Contact.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// The connection; when it is gone, or `None`, a connection to `remote` is found or made.
        connection: Option<ConnectionId>,
    },
}

impl Flow {
    /// UDP or TCP.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Udp { .. } => Transport::Udp,
            Self::Tcp { .. } => Transport::Tcp,
        }
    }

    /// Our side: the listener that the peer knows.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Udp { local, .. } | Self::Tcp { local, .. } => *local,
        }
    }

    /// The peer, as the socket saw it.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        match self {
            Self::Udp { remote, .. } | Self::Tcp { remote, .. } => *remote,
        }
    }

    /// The same flow for later requests to a terminal with this contact: when its connection is gone, the terminal
    /// listens where the contact says, provided that this is the address that it came from.
    #[must_use]
    pub fn towards(&self, contact: &SipUri) -> Self {
        let listens = contact.host().and_then(Host::address).filter(|address| *address == self.remote().ip());
        match (*self, listens) {
            (Self::Tcp { local, connection, .. }, Some(address)) => {
                let remote = SocketAddr::new(address, contact.port().unwrap_or(DEFAULT_PORT));
                Self::Tcp { local, remote, connection }
            }
            (unchanged, _) => unchanged,
        }
    }

    /// Where the response to a request on this flow goes, whose topmost Via (with its source noted) is `via`: a
    /// connection is kept; a datagram goes to the source address, and to the port that `rport` or sent-by says
    /// (RFC 3261 section 18.2.2, RFC 3581 section 4). `maddr` is not followed: it would let strangers aim us.
    #[must_use]
    pub fn for_response(&self, via: &Via) -> Self {
        match *self {
            Self::Tcp { .. } => *self,
            Self::Udp { local, remote } => {
                let port = via.rport().or(via.port).unwrap_or(DEFAULT_PORT);
                Self::Udp { local, remote: SocketAddr::new(remote.ip(), port) }
            }
        }
    }

    /// Whether the transport retransmits by itself.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        self.transport() == Transport::Tcp
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.transport(), self.remote())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Via;

    fn answer_port(via: &str) -> u16 {
        let flow = Flow::Udp {
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:40001".parse().unwrap(),
        };
        let mut via = Via::parse(via.as_bytes()).unwrap();
        via.note_source(flow.remote());
        let answer = flow.for_response(&via);
        assert_eq!(answer.remote().ip(), flow.remote().ip());
        answer.remote().port()
    }

    #[test]
    fn terminal_whose_connection_is_gone_is_reached_at_its_contact_if_that_is_its_address() {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40001"].map(|address| address.parse().unwrap());
        let flow = Flow::Tcp { local, remote, connection: Some(ConnectionId(1)) };
        let towards = |contact: &str| flow.towards(&contact.parse().unwrap()).remote().to_string();
        assert_eq!(towards("sip:camera@192.0.2.7:5070;transport=tcp"), "192.0.2.7:5070");
        assert_eq!(towards("sip:camera@192.0.2.7"), "192.0.2.7:5060");
        assert_eq!(towards("sip:camera@10.0.0.9:5070"), "192.0.2.7:40001", "behind NAT");
    }

    #[test]
    fn response_goes_to_the_source_address_and_to_the_port_of_rport_sent_by_or_the_default() {
        assert_eq!(answer_port("SIP/2.0/UDP 10.0.0.9:5070;rport;branch=z9hG4bK-1"), 40001);
        assert_eq!(answer_port("SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bK-1"), 5070);
        assert_eq!(answer_port("SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK-1"), 5060);
    }
}
