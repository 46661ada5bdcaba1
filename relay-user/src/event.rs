//! What the data plane reports while media runs.

use std::net::SocketAddr;

use crate::leg::LegId;

/// Something that happened to a leg. At most one a second for each leg and CPU, so an event says "at least once".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The leg admitted its first source; from now on no other is.
    SourceLearned {
        /// The leg.
        leg: LegId,
        /// The source.
        source: SocketAddr,
    },
    /// A packet from another source was dropped.
    SourceRefused {
        /// The leg.
        leg: LegId,
        /// The source that was refused.
        source: SocketAddr,
    },
    /// A packet was dropped because the neighbour towards its receiver has no MAC address; it is being looked for.
    NextHopUnresolved {
        /// The leg that the packet arrived on.
        leg: LegId,
    },
}
