//! What workers with sockets know of media: nothing but this trait.

use std::net::SocketAddr;

use crate::sockets::Sent;

/// A packet as it came out of a socket.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    /// Our address and port that it was sent to.
    pub(crate) local: SocketAddr,
    /// Where it comes from.
    pub(crate) source: SocketAddr,
    /// Type of service, or traffic class.
    pub(crate) traffic_class: u8,
    /// Time to live, or hop limit, where it is known.
    pub(crate) hops: Option<u8>,
    /// What UDP carries.
    pub(crate) payload: &'a mut [u8],
}

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is sent on.
    Send(Egress),
    /// A copy goes to every receiver of a leg's group. Only a decider that was given groups says so.
    Copy {
        /// Slot of the leg.
        leg: u32,
    },
    /// It is not; that was counted.
    Gone,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    /// Slot of the leg that it arrived for.
    pub(crate) leg: u32,
    /// Our address and port that it leaves from.
    pub(crate) from: SocketAddr,
    /// Where to.
    pub(crate) to: SocketAddr,
    /// Type of service, or traffic class.
    pub(crate) traffic_class: u8,
}

/// Decides about packets and counts what became of them. One for each worker, on the worker's thread; it must not block.
pub(crate) trait Decider {
    /// Decides about a packet, and rewrites its payload if it is to leave.
    fn decide(&mut self, arrival: Arrival<'_>) -> Outcome;

    /// Packets that were to be sent were, or the kernel refused them. `received_at` is where they arrived.
    fn sent(&mut self, sent: &Sent, received_at: SocketAddr);

    /// So many datagrams to this address and port were lost before we saw them: the socket was full.
    fn overflowed(&mut self, local: SocketAddr, datagrams: u32);
}

/// Where the copies for a receiver leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Our address and port that they leave from.
    pub(crate) from: SocketAddr,
    /// Where to.
    pub(crate) to: SocketAddr,
    /// Whether they are rewritten before.
    pub(crate) is_retagged: bool,
    /// Whether somebody taps the receiver.
    pub(crate) is_tapped: bool,
}

/// What a worker knows of the receivers of a group, who are known by their slots. On the worker's thread, like [`Decider`].
pub(crate) trait Copier {
    /// Most receivers that a group can have.
    fn most(&self) -> usize;

    /// Lists the receivers of a leg, as many as the list has room for.
    fn list(&self, leg: u32, receivers: &mut Vec<u32>);

    /// Where copies for a receiver leave; if nowhere, `packets` copies are counted as lost.
    fn exit(&mut self, receiver: u32, packets: usize) -> Option<Exit>;

    /// Rewrites one copy for a receiver; returns the traffic class that it leaves with.
    fn retag(&mut self, receiver: u32, exit: &Exit, payload: &mut [u8], traffic_class: u8) -> u8;

    /// Shows one copy, as it leaves, to whoever taps the receiver.
    fn tap(&self, receiver: u32, exit: &Exit, payload: &[u8], traffic_class: u8, hops: Option<u8>);

    /// Copies were sent, or the kernel refused them. `received_at` is where the packets arrived.
    fn copied(&mut self, sent: &Sent, received_at: SocketAddr);
}
