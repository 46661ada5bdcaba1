//! Why there is no fan-out.

use std::io;

use crate::LoadError;

/// Why legs cannot receive what arrives on another. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// The kernel's copies share their memory in generic mode, so that receivers would get each other's headers.
    #[error(
        "several receivers of one leg take native XDP, and interface `{0}` runs in generic mode; use an interface whose driver \
         supports XDP, or have sockets forward (mode `user`)"
    )]
    Generic(String),
    /// The kernel refused a program.
    #[error("the kernel refused the programs of fan-out (they take Linux 5.15 or newer)")]
    Programs(#[source] std::sync::Arc<LoadError>),
    /// The kernel does not make copies as the programs need them.
    #[error(
        "this kernel does not make copies as fan-out needs them: {0}; have sockets forward (mode `user`), and please report the \
         kernel's version"
    )]
    Untrusted(String),
    /// The kernel refused something else.
    #[error("{what} failed: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Every block is in use.
    #[error(
        "{0} blocks of receivers are in use, and no more fit; end groups, or have fewer groups with more receivers each"
    )]
    Full(u32),
    /// The device that a receiver is behind is not there.
    #[error("the device that the receiver is behind is down, or gone")]
    NoDevice,
}
