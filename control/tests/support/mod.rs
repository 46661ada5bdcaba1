//! What the end-to-end tests stand on: the real binary, sipp, and terminals whose every message a test writes itself.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod call;
pub(crate) mod camera;
pub(crate) mod device;
pub(crate) mod gateway;
pub(crate) mod live;
pub(crate) mod sipp;
pub(crate) mod terminal;
