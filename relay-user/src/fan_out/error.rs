//! Why there is no fan-out.

use std::io;

use crate::LoadError;

/// Why legs cannot receive what arrives on another. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// XDP was asked for. The kernel's copies share their memory in generic mode, so that receivers would get each other's
    /// headers.
    #[error(
        "XDP copies natively only, and interface `{0}` runs in generic mode; use an interface whose driver supports XDP, or \
         leave the choice to the relay, which lets AF_XDP copy then"
    )]
    Generic(String),
    /// AF_XDP was asked for.
    #[error("AF_XDP workers are to make the copies, and there are none: {0}")]
    NoAfXdp(String),
    /// Neither can be had.
    #[error(
        "nobody can make copies: XDP cannot, because {xdp}, and there are no AF_XDP workers: {af_xdp}; do away with one of \
         both, or have sockets forward (mode `user`)"
    )]
    NoEngine {
        /// Why not XDP.
        xdp: String,
        /// Why not AF_XDP.
        af_xdp: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refused the programs of fan-out (they take Linux 5.15 or newer)")]
    Programs(#[source] std::sync::Arc<LoadError>),
    /// XDP was asked for, and the kernel does not make copies as the programs need them.
    #[error(
        "this kernel does not make copies as fan-out in XDP needs them: {0}; leave the choice to the relay, which lets AF_XDP \
         copy then, and please report the kernel's version"
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

impl FanOutError {
    /// The same without advice, as part of a sentence.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Generic(interface) => {
                format!("interface `{interface}` runs in generic mode, where copies share their memory")
            }
            Self::Untrusted(found) => {
                format!("this kernel does not make copies as fan-out in XDP needs them: {found}")
            }
            Self::Programs(source) => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}
