//! What can be wrong with a SIP message, in words that name what was found, what was expected and, where it helps,
//! the rule. It must not know how messages are parsed.

use super::{HeaderName, Message, Method};

/// A header field that is absent, repeated or unreadable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A field that the message must have is absent.
    #[error("Missing {name} header field")]
    Missing {
        /// The absent field.
        name: HeaderName,
    },
    /// A field that may occur once occurs more often, with different values.
    #[error("{count} {name} header fields where one is allowed")]
    Repeated {
        /// The repeated field.
        name: HeaderName,
        /// How often it occurs.
        count: usize,
    },
    /// The value does not follow its grammar.
    #[error("{name} is `{found}`, expected {expected}")]
    Invalid {
        /// The field.
        name: HeaderName,
        /// The value, printable and shortened.
        found: String,
        /// What the grammar asks for.
        expected: &'static str,
    },
}

impl HeaderError {
    /// An [`HeaderError::Invalid`] whose value is made printable and cut to a length fit for a reason phrase.
    #[must_use]
    pub fn invalid(name: HeaderName, value: &[u8], expected: &'static str) -> Self {
        Self::Invalid { name, found: printable(value), expected }
    }
}

/// Why bytes from the network are not a SIP message that can be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The head is longer than the limit.
    #[error("the head of the message is longer than {limit} bytes")]
    HeadTooLarge {
        /// [`super::Limits::head`].
        limit: usize,
    },
    /// More header fields than the limit.
    #[error("the message has more than {limit} header fields")]
    TooManyHeaders {
        /// [`super::Limits::headers`].
        limit: usize,
    },
    /// The announced body is longer than the limit.
    #[error("the body has {found} bytes, the limit is {limit}")]
    BodyTooLarge {
        /// The announced or actual length in bytes.
        found: usize,
        /// [`super::Limits::body`].
        limit: usize,
    },
    /// The empty line that ends the head is absent.
    #[error("the message ends before the empty line that follows the header fields")]
    Truncated,
    /// The first line is neither a request line nor a status line.
    #[error("the first line is `{found}`, expected {expected}")]
    StartLine {
        /// The line, printable and shortened.
        found: String,
        /// What the grammar asks for.
        expected: &'static str,
    },
    /// A request of another protocol version.
    #[error("the version is `{found}`, only SIP/2.0 is spoken here")]
    Version {
        /// The version as written.
        found: String,
    },
    /// A header line without a name and a colon.
    #[error("the header line `{found}` has no valid name followed by a colon")]
    HeaderLine {
        /// The line, printable and shortened.
        found: String,
    },
    /// A header field that every message needs is absent or wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The request line and CSeq disagree (RFC 3261 section 8.1.1.5).
    #[error("CSeq names the method {cseq}, the request line {request}")]
    MethodMismatch {
        /// The method in CSeq.
        cseq: Method,
        /// The method in the request line.
        request: Method,
    },
    /// The body is shorter than Content-Length says (RFC 3261 section 18.3).
    #[error("Content-Length announces {announced} bytes, the body has {found}")]
    BodyTooShort {
        /// The value of Content-Length.
        announced: usize,
        /// Bytes after the head.
        found: usize,
    },
    /// A message with a body on a stream without Content-Length (RFC 3261 section 20.14).
    #[error("Missing Content-Length header field on a stream transport")]
    NoLengthOnStream,
}

impl Fault {
    /// The status code that RFC 3261 section 21.4 and 21.5 give to a request with this fault.
    #[must_use]
    pub fn status_code(&self) -> u16 {
        match self {
            Self::Version { .. } => 505,
            Self::HeadTooLarge { .. } | Self::TooManyHeaders { .. } | Self::BodyTooLarge { .. } => 513,
            Self::Truncated
            | Self::StartLine { .. }
            | Self::HeaderLine { .. }
            | Self::Header(_)
            | Self::MethodMismatch { .. }
            | Self::BodyTooShort { .. }
            | Self::NoLengthOnStream => 400,
        }
    }

    /// A short name for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HeadTooLarge { .. } => "head_too_large",
            Self::TooManyHeaders { .. } => "too_many_headers",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Truncated => "truncated",
            Self::StartLine { .. } => "start_line",
            Self::Version { .. } => "version",
            Self::HeaderLine { .. } => "header_line",
            Self::Header(_) => "header",
            Self::MethodMismatch { .. } => "method_mismatch",
            Self::BodyTooShort { .. } => "body_too_short",
            Self::NoLengthOnStream => "no_length_on_stream",
        }
    }
}

/// A message that could not be accepted, and, where it can be answered, the answer.
///
/// A response with a fault, an ACK, and a request whose Via, From, To, Call-ID or CSeq cannot be copied have no
/// answer: they are dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong.
    pub fault: Fault,
    /// The response to send, where the protocol has one.
    pub answer: Option<Box<Message>>,
}

impl From<Fault> for ParseError {
    fn from(fault: Fault) -> Self {
        Self { fault, answer: None }
    }
}

/// Bytes made safe for a log line or a reason phrase: control and non-ASCII bytes escaped, cut after 60 bytes.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let cut = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut text = cut.escape_ascii().to_string();
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}
