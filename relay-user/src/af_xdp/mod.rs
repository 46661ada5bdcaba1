//! Packets that need user space, taken from the XDP program and sent on without the kernel's network stack.
//!
//! Rings, UMEM and sockets are our own, over `libc`. The crate `xdp` (0.8) was looked at and is not used: its rings exist
//! only over a kernel socket, so neither a test nor a fuzz target can play the kernel; its UMEM cannot be shared between
//! sockets, so a packet would be copied from device to device; its packets are bare pointers, and nobody keeps book of who
//! has which frame; a batch that does not fit its ring is not sent at all; it does not tell whether a ring asks to be
//! woken; and its indices overflow after 2^32 packets in a build with overflow checks.

mod copier;
mod copying;
mod counters;
mod engine;
mod forwarder;
mod frames;
mod handler;
mod headers;
mod interface;
mod memory;
mod path;
mod port;
mod ring;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
mod socket;
mod stop;
mod turns;
mod umem;
mod worker;

pub use counters::PuntCounters;
pub use engine::{DEFAULT_PUNT_FRAMES, EngineError};
pub(crate) use interface::name_of;
pub use path::PuntPath;
pub(crate) use path::Punts;
pub use socket::SocketError;
