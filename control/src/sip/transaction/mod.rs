//! Transactions: RFC 3261 section 17 with the corrections of RFC 6026.
//!
//! Four machines, one file each, are enums with data whose transitions return what to do. The table finds the
//! machine that a message belongs to, keeps the bytes that are retransmitted, and bounds how many there are. Nothing
//! here knows of sockets, of dialogs or of calls.

mod client_invite;
mod client_other;
#[cfg(test)]
mod fixtures;
mod follow_up;
mod key;
mod server_invite;
mod server_other;
mod table;

use std::time::Duration;

pub use client_invite::ClientInvite;
pub use client_other::ClientOther;
pub use follow_up::cancel;
pub use key::{MAGIC_COOKIE, MergeKey, ServerKey};
pub use server_invite::ServerInvite;
pub use server_other::ServerOther;
pub use table::{Event, Received, Stray, TransactionId, Transactions};

use crate::config::Timers;

/// The timers of RFC 3261 section 17 and RFC 6026, by their letter. C belongs to the call, not to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Retransmits an INVITE.
    A,
    /// An INVITE got no response.
    B,
    /// How long to absorb retransmitted final responses of an INVITE.
    D,
    /// Retransmits a request that is not INVITE.
    E,
    /// A request that is not INVITE got no final response.
    F,
    /// Retransmits a final response to INVITE.
    G,
    /// A final response to INVITE got no ACK.
    H,
    /// How long to absorb retransmitted ACKs.
    I,
    /// How long to absorb retransmitted requests that are not INVITE.
    J,
    /// How long to absorb retransmitted responses to a request that is not INVITE.
    K,
    /// How long to absorb retransmitted INVITEs after a 2xx (RFC 6026).
    L,
    /// How long to pass up retransmitted 2xx (RFC 6026).
    M,
}

impl Timer {
    /// Whether the timer only paces retransmissions; the others end a state. A transaction has at most one of each
    /// running.
    #[must_use]
    pub fn is_pacing(self) -> bool {
        matches!(self, Self::A | Self::E | Self::G)
    }
}

/// What a machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the stored message: the request of a client, the last response of a server.
    Send,
    /// Send the ACK of a final response that is not 2xx (RFC 3261 section 17.1.1.3).
    SendAck,
    /// Give the message that was just received to the transaction user.
    PassUp,
    /// Start a timer; it replaces a running one of the same kind (see [`Timer::is_pacing`]).
    Set(Timer, Duration),
    /// Tell the transaction user that the other side did not answer in time.
    TimedOut,
    /// The transaction is over.
    Terminate,
}

/// What durations depend on.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The base values.
    pub timers: Timers,
    /// Whether the transport retransmits by itself (TCP): then we never do, and nothing needs absorbing.
    pub reliable: bool,
}

impl Timing {
    /// 64*T1: how long the other side has to answer.
    #[must_use]
    pub fn answer(&self) -> Duration {
        self.timers.t1 * 64
    }

    /// `duration` on an unreliable transport, zero on a reliable one.
    fn absorb(&self, duration: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { duration }
    }
}

#[cfg(test)]
mod tests;
