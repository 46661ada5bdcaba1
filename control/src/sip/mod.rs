//! SIP (RFC 3261): messages, session descriptions, authentication, transactions, registrar and calls.
//!
//! It translates its own dialogue into the neutral session model of [`crate::session`] and back. It must not know any
//! other protocol module.

pub mod auth;
pub mod call;
pub mod core;
pub mod dialog;
pub mod digest;
pub mod identifiers;
pub mod media;
pub mod message;
pub mod registrar;
pub mod sdp;
pub mod transaction;
pub mod transport;
