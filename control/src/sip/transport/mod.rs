//! Sockets: UDP and TCP listeners, connections, framing, limits. It gives parsed messages with the flow that they came
//! on, and sends bytes on a flow. It knows nothing of transactions or calls.

mod counters;
mod flow;
mod sockets;
mod tcp;
mod udp;

pub use crate::config::Transport;
pub use counters::TransportCounters;
pub use flow::{ConnectionId, Flow};
pub use sockets::{OpenError, Sockets};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::message::{self, Message, ParseError};
use super::transaction::TransactionId;
use crate::config::Limits;

/// Bytes to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub flow: Flow,
    /// A whole message.
    pub bytes: Bytes,
    /// The transaction to tell when it cannot be sent.
    pub transaction: Option<TransactionId>,
}

/// What the sockets report, in the order in which it happened on each flow.
#[derive(Debug)]
pub enum Arrival {
    /// A message. The topmost Via of a request says where it really came from.
    Message(Flow, Box<Message>),
    /// Bytes that are no acceptable message, and perhaps an answer to send.
    Faulty(Flow, ParseError),
    /// A connection is there: its flow, and where messages for it go.
    Opened(Flow, ConnectionId, mpsc::Sender<Outgoing>),
    /// A connection is gone.
    Closed(ConnectionId),
    /// The request of a transaction could not be sent.
    Unsent(TransactionId),
}

/// A message on its way out of a connection.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Bytes,
    transaction: Option<TransactionId>,
}

/// The parser's limits for a size of message.
fn parser_limits(limits: &Limits) -> message::Limits {
    let defaults = message::Limits::default();
    message::Limits { head: defaults.head.min(limits.message_bytes), body: limits.message_bytes, ..defaults }
}

/// Notes in a request where it came from (RFC 3261 section 18.2.1, RFC 3581).
fn note_source(message: &mut Message, flow: &Flow) {
    if !message.is_request() {
        return;
    }
    // The parser has read the Via once; if it cannot be read now, the answer goes to the source all the same.
    if let Ok(mut via) = message.top_via() {
        via.note_source(flow.remote());
        message.replace_top_via(&via);
    }
}
