//! What both sides of the agreement test run: the frames, the core's answers about them, and their digest.
//!
//! The user side includes these very files, so they use `core` and `relay_common` only.

pub mod digest;
pub mod examine;
pub mod frame;
pub mod mutate;
pub mod random;
