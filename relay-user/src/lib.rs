//! Culvert's data plane as a library.
//!
//! It attaches the XDP program to interfaces, resolves next hops, installs legs and streams, and reports what the
//! kernel counted. It knows packets; it knows nothing of SIP or of any other signalling.
//!
//! Start with [`Relay::start`], then [`Relay::install`] a [`Plan`].

mod attach;
mod counters;
mod error;
mod event;
mod kernel;
mod leg;
mod leg_table;
mod netlink;
mod next_hops;
mod plan;
mod relay;
mod shared;
mod state;
mod watch;

pub use attach::{AttachError, AttachedInterface, Mode, ModeChoice};
pub use error::{InstallError, RouteError, StartError};
pub use event::Event;
pub use kernel::LoadError;
pub use leg::{LegId, LegSpec, LegStatistics, MediaKind, Path, PayloadTypes, Plan, SourcePolicy, StreamSpec};
pub use relay::{DEFAULT_LEGS, Options, Relay, Route, Trial};
