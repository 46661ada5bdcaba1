//! The neutral core: what protocols tell of a session, and the legs that carry it. Knows no SIP and no SDP.
//!
//! A protocol translates its offer into a [`Description`], hands it to [`SessionCore`], and writes the [`LocalMedia`]
//! that come back into the offer that it passes on; the same for answers. When [`SessionCore::answer`] returns, the
//! legs forward.
//!
//! A broadcast is the other kind: one sender, and receivers that join and leave.

mod broadcast;
mod core;
mod description;
mod error;
mod medium;
mod network;
mod plane;
mod ports;
mod report;
mod state;
#[cfg(test)]
mod tests;

pub use self::core::{LegPolicy, SessionCore, SessionId, SessionOptions};
pub use broadcast::{BroadcastReport, Receiver, ReceiverReport, Sender};
pub use description::{Description, LocalMedia, MediaLine, Side};
pub use error::SessionError;
pub use network::{Network, NetworkError, choose};
pub use plane::{DataPlane, Reach, RelayError};
pub use ports::{DEFAULT_QUARANTINE, PortError, PortGauge, PortPair, PortPool};
pub use report::{LegReport, SessionReport};
