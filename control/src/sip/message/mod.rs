//! SIP messages, bytes first (RFC 3261 sections 7, 18.3, 20, 25).
//!
//! A message that nobody touches is written as it came: names, folding, order, charset and body. Typed values are read
//! from it on demand; rsip supplies the closed sets (methods, transports, status codes), and what rsip gets wrong
//! (IPv6, `tel:`, unknown methods, several values on a line, quoted display names) is read by this module.
//! It must not know transactions, dialogs or sockets.

mod accessors;
mod address;
mod auth;
mod build;
mod datagram;
mod error;
pub mod grammar;
mod headers;
mod host;
mod method;
mod name;
mod parse;
mod stream;
#[cfg(test)]
mod tests;
mod uri;
mod via;

pub use accessors::{CSeq, ContentType, Refresher, SessionExpires};
pub use address::{Contacts, NameAddr};
pub use auth::AuthParams;
pub use datagram::{Datagram, parse_datagram};
pub(in crate::sip) use error::printable;
pub use error::{Fault, HeaderError, ParseError};
pub use grammar::Params;
pub use headers::{Header, Headers};
pub use host::Host;
pub use method::{Method, Transport, reason_phrase};
pub use name::HeaderName;
pub use parse::Limits;
pub use stream::{StreamDecoder, StreamItem};
pub use uri::{Scheme, SipUri, UriError};
pub use via::Via;

use bytes::Bytes;

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `INVITE sip:bob@biloxi.com SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// The Request-URI.
        uri: SipUri,
    },
    /// `SIP/2.0 180 Ringing`
    Response {
        /// The status code, 100 to 699.
        code: u16,
        /// The reason phrase as written; may be empty, may be in any charset.
        reason: Bytes,
    },
}

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub start: StartLine,
    /// The header fields.
    pub headers: Headers,
    /// The body; [`Message::set_body`] keeps Content-Length true.
    pub body: Bytes,
}

impl Message {
    /// The method and Request-URI of a request; `None` for a response.
    #[must_use]
    pub fn as_request(&self) -> Option<(&Method, &SipUri)> {
        match &self.start {
            StartLine::Request { method, uri } => Some((method, uri)),
            StartLine::Response { .. } => None,
        }
    }

    /// The method of a request; `None` for a response.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.as_request().map(|(method, _)| method)
    }

    /// The Request-URI; `None` for a response.
    #[must_use]
    pub fn request_uri(&self) -> Option<&SipUri> {
        self.as_request().map(|(_, uri)| uri)
    }

    /// The status code of a response; `None` for a request.
    #[must_use]
    pub fn status_code(&self) -> Option<u16> {
        match &self.start {
            StartLine::Response { code, .. } => Some(*code),
            StartLine::Request { .. } => None,
        }
    }

    /// Whether this is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.method().is_some()
    }
}
