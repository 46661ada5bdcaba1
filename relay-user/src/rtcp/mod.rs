//! RTCP that needs more than forwarding. Of legs where it ends, what arrives is remembered, and every five seconds each such
//! leg's remote side is told what was received from it, and what was sent to it (RFC 3550 section 6). Where it is relayed
//! beside a retagged stream, it is translated.
//!
//! The kernel half, or whoever takes its place, hands over whole RTCP packets; this module never sees media. Reports are
//! made of what the kernel counted anyway.

mod account;
mod arrival;
mod counters;
mod desk;
mod feedback;
mod intake;
mod reporter;
mod translator;
mod transmit;

pub(crate) use account::{Account, Sends};
pub(crate) use arrival::inbox;
pub(crate) use counters::Counts;
pub use counters::RtcpCounters;
pub(crate) use intake::Intake;
pub(crate) use reporter::run;
pub(crate) use translator::{RECORD, Subjects, Translator};
pub(crate) use transmit::{SocketEach, Transmit};
