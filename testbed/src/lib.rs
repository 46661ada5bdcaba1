//! Network namespaces and veth pairs of one's own, for tests and the benchmark: real packets over real devices, and
//! nothing of it touches the machine's network.
//!
//! Takes root. Knows nothing of the relay.

mod frames;
mod namespace;
mod topology;

pub use frames::Frames;
pub use namespace::Namespace;
pub use topology::{Side, Topology, connect};
