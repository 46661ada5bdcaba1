//! The contract between Culvert's kernel half and its user half.
//!
//! Map records, verdicts with their reasons, and bounds-checked views of packets: one parser, used by the XDP program
//! and by tests and tools on the host. Nothing here allocates, blocks or knows of signalling.
#![cfg_attr(not(any(test, feature = "user")), no_std)]

pub mod address;
pub mod byte_order;
pub mod checksum;
pub mod decide;
pub mod device;
pub mod event;
pub mod fan_out;
pub mod frame;
pub mod kernel_path;
pub mod layout;
pub mod ledger;
pub mod leg;
pub mod limits;
pub mod media;
pub mod next_hop;
pub mod packet;
pub mod police;
pub mod punt;
pub mod quality;
pub mod retag;
pub mod rtcp;
pub mod rtp;
pub mod tap;
pub mod user_traffic;
pub mod verdict;

#[cfg(feature = "user")]
mod pod;
