//! Culvert's data plane as a library.
//!
//! It attaches the XDP program to interfaces, resolves next hops, installs legs and streams, and reports what the
//! kernel counted. It knows packets; it knows nothing of SIP or of any other signalling.
//!
//! Start with [`Relay::start`], then [`Relay::install`] a [`Plan`]:
//!
//! ```no_run
//! use relay_user::{
//!     LegSpec, MediaKind, ModeChoice, Options, PayloadTypes, Plan, Relay, SourcePolicy, StreamSpec, DEFAULT_LEGS,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let interfaces = vec!["eth1".to_owned(), "eth2".to_owned()];
//! let relay = Relay::start(&Options { interfaces, mode: ModeChoice::Auto, legs: DEFAULT_LEGS }).await?;
//!
//! let leg = |local: &str, remote: &str, source| -> Result<LegSpec, std::net::AddrParseError> {
//!     Ok(LegSpec {
//!         local: local.parse()?,
//!         remote: Some(remote.parse()?),
//!         source,
//!         media: MediaKind::Rtp,
//!         ssrc: None,
//!         payload_types: PayloadTypes::ANY.with(96),
//!     })
//! };
//! // The camera may send from another port than it named; the viewer only receives.
//! let camera = leg("10.77.2.1:30000", "10.77.2.2:5004", SourcePolicy::LearnPort)?;
//! let viewer = leg("10.77.1.1:30000", "10.77.1.2:6004", SourcePolicy::Pinned)?;
//! let plan = Plan { legs: vec![camera, viewer], streams: vec![StreamSpec { ingress: 0, egress: 1 }] };
//!
//! let legs = relay.install(&plan).await?; // from here on the kernel forwards
//! for statistics in relay.remove(&legs) {
//!     println!("{} packets in, {} out, by {}", statistics.received, statistics.sent, statistics.path);
//! }
//! # Ok(())
//! # }
//! ```

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
