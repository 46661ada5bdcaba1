//! What both sides of the agreement test run: the frames, the scenes that they arrive in, the core's answers,
//! and their digest.
//!
//! The user side includes these very files, so they use `core` and `relay_common` only.

pub mod arrange;
pub mod digest;
pub mod examine;
pub mod frame;
pub mod mutate;
pub mod random;
pub mod scene;
