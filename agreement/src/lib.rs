//! Whether the packet core, compiled for the kernel, answers and writes the same as compiled for user space: on the same
//! random and mutated frames, which both sides make for themselves from the same numbers.
//!
//! Takes root. `tests/agreement.rs` runs it over ten million frames.

mod corpus;
mod kernel;
mod native;
mod regressions;

#[path = "../ebpf/src/shared/mod.rs"]
#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "these files belong to the kernel side, where numbers are cut to size on purpose"
)]
mod shared;

pub use corpus::corpus;
pub use kernel::Kernel;
pub use native::Native;
pub use regressions::{Regressions, hexadecimal};
pub use shared::frame::{BATCH, Examined, Frame, LONGEST, SHORTEST};

/// What one side made of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the core answered; the words are told apart in `ebpf/src/shared/examine.rs`.
    pub examined: Examined,
    /// The frame as the core left it.
    pub frame: Vec<u8>,
}

impl Outcome {
    fn new(examined: Examined, frame: &Frame) -> Self {
        Self { examined, frame: frame.bytes[..frame.length as usize].to_vec() }
    }
}
