//! Why a session cannot be had, in words that an operator can act on.

use std::net::IpAddr;

use super::{NetworkError, PortError, SessionId};

/// A session cannot be set up or changed. Nothing of the attempt is left.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The limit of sessions is reached: answer 503 and let the caller try later.
    #[error("{limit} sessions are relayed already, which is the limit")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The session ended, or never was.
    #[error("there is no session {id}")]
    Unknown {
        /// The session.
        id: SessionId,
    },
    /// No network for a terminal.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No port: answer 503.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The terminal cannot be reached.
    #[error("the terminal {terminal} cannot be reached: {cause}")]
    Unreachable {
        /// The terminal.
        terminal: IpAddr,
        /// What the data plane says, down to the first cause.
        cause: String,
    },
    /// The data plane did not take the legs.
    #[error("the relay does not take the legs of session {id}: {cause}")]
    Install {
        /// The session.
        id: SessionId,
        /// What the data plane says, down to the first cause.
        cause: String,
    },
    /// An answer has another number of media than the offer (RFC 3264 section 6), or an offer has fewer than before
    /// (section 8).
    #[error("the description has {found} media, the session has {expected}")]
    MediaCount {
        /// In the description.
        found: usize,
        /// In the session.
        expected: usize,
    },
    /// An answer without an offer.
    #[error("session {id} got an answer, but there is no offer")]
    NoOffer {
        /// The session.
        id: SessionId,
    },
}

impl SessionError {
    /// Whether the same attempt may succeed later, when other sessions have ended.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        matches!(self, Self::TooMany { .. } | Self::Port(PortError::Exhausted { .. }))
    }
}

/// An error with all its causes, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
