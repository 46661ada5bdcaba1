//! Culvert's data plane as a library.
//!
//! It attaches the XDP program to interfaces, resolves next hops, installs legs and streams, and reports what the
//! kernel counted. It knows packets; it knows nothing of SIP or of any other signalling.

mod leg;

pub use leg::{LegId, LegSpec, LegStatistics, MediaKind, PayloadTypes, Plan, SourcePolicy, StreamSpec};
