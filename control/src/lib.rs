//! Culvert's control plane: sessions and the protocols that set them up, and the daemon `culvert`.
//!
//! It knows sessions and signalling; it never touches packets or the kernel, which are `relay_user`'s.

pub mod admin;
pub mod attempts;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod gb28181;
pub mod http;
pub mod session;
pub mod sip;
pub mod timers;
