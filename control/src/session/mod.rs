//! The neutral core: what protocols tell of a session, and the legs that carry it. Knows no SIP and no SDP.

mod description;
mod network;
mod ports;

pub use description::{Description, LocalMedia, MediaLine, Side};
pub use network::{Network, NetworkError, choose};
pub use ports::{DEFAULT_QUARANTINE, PortError, PortGauge, PortPair, PortPool};
