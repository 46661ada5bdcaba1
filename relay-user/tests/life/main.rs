//! Media outlives the process that installed it: crash, restart, upgrade, and what goes wrong with each.
//!
//! Takes root: each test makes network namespaces and a BPF file system of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod crash;
mod groups;
mod migration;
mod punted;
mod refusals;
mod scale;
mod support;
mod translation;
