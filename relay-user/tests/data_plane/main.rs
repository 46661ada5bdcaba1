//! The data plane on real devices: what the program does with one frame, and media between two terminals.
//!
//! Takes root: each test makes network namespaces of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod bulk;
mod devices;
mod engines;
mod families;
mod fan_out;
mod fan_out_engines;
mod fan_out_feedback;
mod fan_out_interleaved;
mod fan_out_source;
mod fan_out_switch;
mod fan_out_taps;
mod framed;
mod kernel_path;
mod loops;
mod measured;
mod orphans;
mod punted;
mod refusals;
mod relayed_rtcp;
mod reports;
mod retag;
mod shared_port;
mod support;
mod taps;
mod unicast;
mod unprivileged;
mod verdicts;
