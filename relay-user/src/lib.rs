//! Culvert's data plane as a library.
//!
//! It attaches the XDP program to interfaces, resolves next hops, installs legs and streams, and reports what the
//! kernel counted. It knows packets; it knows nothing of SIP or of any other signalling.
//!
//! Start with [`Relay::start`], then [`Relay::install`] a [`Plan`]:
//!
//! ```no_run
//! use relay_user::{
//!     LegSpec, Options, PayloadTypes, Plan, Relay, SourcePolicy, StreamSpec,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let interfaces = vec!["eth1".to_owned(), "eth2".to_owned()];
//! let relay = Relay::start(&Options { interfaces, ..Options::default() }).await?;
//!
//! // The camera may send from another port than it named; the viewer only receives.
//! let camera = LegSpec::new("10.77.2.1:30000".parse()?)
//!     .remote("10.77.2.2:5004".parse()?)
//!     .source(SourcePolicy::LearnPort)
//!     .payload_types(PayloadTypes::ANY.with(96));
//! let viewer = LegSpec::new("10.77.1.1:30000".parse()?).remote("10.77.1.2:6004".parse()?);
//! let plan = Plan { legs: vec![camera, viewer], streams: vec![StreamSpec { ingress: 0, egress: 1 }] };
//!
//! let legs = relay.install(&plan).await?; // from here on the kernel forwards
//! for statistics in relay.remove(&legs) {
//!     println!("{} packets in, {} out, by {}", statistics.received, statistics.sent, statistics.path);
//! }
//! # Ok(())
//! # }
//! ```

mod af_xdp;
mod attach;
mod audience;
mod backend;
mod counters;
mod device_counters;
mod error;
mod event;
mod fan_out;
mod framed;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hints;
mod interfaces;
mod kernel;
mod ledger;
mod leg;
mod leg_table;
mod legs;
mod limit;
mod local_addresses;
mod memory;
mod netlink;
mod network;
mod next_hops;
mod ours;
mod payload_maps;
mod pins;
mod plan;
mod plane;
mod quality;
mod receivers;
mod relay;
mod resolve;
mod retag;
mod routes;
mod rtcp;
mod sampler;
mod shared;
mod slots;
mod sockets;
mod state;
mod statistics;
pub mod tap;
mod unreachable;
mod user_path;
mod veth;
mod vlan;
mod watch;

pub use af_xdp::{DEFAULT_PUNT_FRAMES, EngineError, PuntCounters, PuntPath, SocketError};
pub use attach::{AttachError, AttachedInterface, InterfaceState, Mode, ModeChoice};
pub use audience::{GroupQuality, ReceiverQuality};
pub use backend::Backend;
pub use device_counters::DeviceCounters;
pub use error::{InstallError, RouteError, StartError};
pub use event::{Event, Leaving};
pub use fan_out::{FanOutChoice, FanOutError, GroupStatistics};
pub use framed::{Feed, FeedStatistics, Framing, Inlet, InletError};
pub use kernel::LoadError;
pub use leg::{
    LegId, LegSpec, MediaKind, ParseLegIdError, PayloadTypes, RtcpMode, SHORTEST_RELEARN, Sharing,
    SourcePolicy,
};
pub use limit::{
    LEAST_BITS_PER_SECOND, LONGEST_BURST, MOST_BITS_PER_SECOND, MOST_PACKETS_PER_SECOND, RateLimit,
    SHORTEST_BURST,
};
pub use memory::Memory;
pub use pins::{StateError, prepare as prepare_state};
pub use plan::{Plan, StreamSpec};
pub use relay::{DEFAULT_LEGS, Options, Relay, Route, Trial};
pub use retag::{Continuity, RetagSpec};
pub use rtcp::RtcpCounters;
pub use sockets::{OpenFilesError, UdpSocketError};
pub use statistics::{LegStatistics, Path, PathCounts, Quality};
pub use vlan::{Tag, TagKind, Tags};
