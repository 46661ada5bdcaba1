//! The lives of interfaces, addresses, neighbours and routes while media runs: what happens to the network must end in
//! media that flows again, and in a reason for every packet that was lost. Real veth pairs; takes root.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod addresses;
mod devices;
mod media;
mod neighbours;
mod punted;
mod queues;
mod refusals;
