//! What can be wrong with a session description, with the line, for the Warning field of a 488. It must not know how
//! lines are read.

/// A session description that cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// A line that does not follow its grammar.
    #[error("SDP line {line} is `{found}`, expected {expected}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// The line, printable and shortened.
        found: String,
        /// What the grammar asks for.
        expected: &'static str,
    },
    /// The body is empty or does not start with a version.
    #[error("the body is no session description: it does not start with v=0")]
    NoVersion,
    /// More lines or media than a call needs.
    #[error("the session description has more than {limit} {what}")]
    TooMany {
        /// `lines` or `media descriptions`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A media description without an address, in itself or in the session part (RFC 4566 section 5.7).
    #[error("SDP line {line} describes media, but neither it nor the session part has a c= line")]
    NoConnection {
        /// The m= line, counted from 1.
        line: usize,
    },
    /// An address that packets cannot be relayed to.
    #[error("SDP line {line} is `{found}`, and media is relayed to unicast IP addresses only")]
    Address {
        /// The line, counted from 1.
        line: usize,
        /// The line, printable and shortened.
        found: String,
    },
    /// No media of the description can be relayed.
    #[error("SDP line {line} is `{found}`; RTP over UDP on one port pair is relayed, nothing else")]
    NothingToRelay {
        /// The first m= line with a port, counted from 1.
        line: usize,
        /// The line, printable and shortened.
        found: String,
    },
    /// Addresses for another number of media than the description has.
    #[error("the session description has {found} media descriptions, the session {expected}")]
    MediaCount {
        /// In the description.
        found: usize,
        /// In the session.
        expected: usize,
    },
}

impl SdpError {
    /// The warn-code of RFC 3261 section 20.43 that fits.
    #[must_use]
    pub fn warn_code(&self) -> u16 {
        match self {
            Self::Address { .. } => 301,
            Self::NothingToRelay { .. } => 302,
            Self::Line { .. }
            | Self::NoVersion
            | Self::TooMany { .. }
            | Self::NoConnection { .. }
            | Self::MediaCount { .. } => 399,
        }
    }

    /// The value of a Warning field: `399 agent "text"`. `agent` is a host, or a pseudonym without white space.
    #[must_use]
    pub fn warning(&self, agent: &str) -> String {
        format!("{} {agent} {}", self.warn_code(), crate::sip::message::grammar::quote(&self.to_string()))
    }
}
