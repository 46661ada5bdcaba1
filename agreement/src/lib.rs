//! Whether the packet core, compiled for the kernel, answers and writes the same as compiled for user space: about the same
//! random and mutated frames, among the same random legs, which both sides make for themselves from the same numbers.
//!
//! Takes root. `tests/agreement.rs` runs it over ten million frames.

mod corpus;
mod kernel;
mod native;
mod regressions;
mod scene;

#[path = "../ebpf/src/shared/mod.rs"]
#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "these files belong to the kernel side, where numbers are cut to size on purpose"
)]
mod shared;

pub use corpus::corpus;
pub use kernel::Kernel;
pub use native::{Native, decide};
pub use regressions::{Case, Regressions, hexadecimal};
pub use scene::Outcome;
pub use shared::frame::{BATCH, Frame, LONGEST, SHORTEST};
