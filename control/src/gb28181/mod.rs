//! GB/T 28181: the platform that cameras register with.
//!
//! It speaks SIP through the transports, transactions and digests of [`crate::sip`], and describes media to
//! [`crate::session`]. It must not know any other protocol module, and SIP calls know nothing of it: whoever owns both
//! decides which of the two a message is for. Clause numbers are of GB/T 28181-2022.

pub mod charset;
pub mod id;
pub mod manscdp;
pub mod mansrtsp;
pub mod platform;
pub mod ptz;
pub mod sdp;
pub mod ssrc;
pub mod time;
pub mod version;
