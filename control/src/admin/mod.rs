//! The admin room: how `culvert status`, `culvert hangup` and `culvert tap` talk to the daemon.
//!
//! One JSON object and a line feed each way over a Unix socket that only its owner may open; a capture follows its
//! answer as it grows. It knows what the daemon says of itself, and nothing of how the daemon works.

mod client;
mod devices;
mod protocol;
mod server;

pub use client::{AskError, ask};
pub use devices::{CatalogState, Channel, Device, Order, Playing, Stream, StreamState, Viewer};
pub use protocol::{
    AfXdp, Call, Interface, Leg, Orphan, PortPairs, Quality, Registration, Relay, Reply, Request, Status,
};
pub use server::{Answer, Capture, Question, ServeError, Server};
