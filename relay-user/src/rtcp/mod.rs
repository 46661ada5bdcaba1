//! RTCP of legs where it ends: what arrives is remembered, and every five seconds each such leg's remote side is told
//! what was received from it, and what was sent to it (RFC 3550 section 6).
//!
//! The kernel half, or whoever takes its place, hands over whole RTCP packets; this module never sees media. Reports are
//! made of what the kernel counted anyway.

mod account;
mod arrival;
mod counters;
mod desk;
mod feedback;
mod reporter;
mod transmit;

pub(crate) use account::{Account, Sends};
pub(crate) use arrival::{Inbox, inbox};
pub(crate) use counters::Counts;
pub use counters::RtcpCounters;
pub(crate) use reporter::run;
pub(crate) use transmit::{SocketEach, Transmit};
