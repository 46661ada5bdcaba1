//! One datagram, one message (RFC 3261 section 18.3). It must not know sockets.

use bytes::Bytes;

use super::parse::{finish, head_length, parse_head};
use super::{Fault, Limits, Message, ParseError};

/// What a datagram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Nothing but line ends (or NULs, as some devices send): keeps a NAT binding open, is not answered.
    KeepAlive,
    /// A message.
    Message(Box<Message>),
}

/// Reads one datagram. Leading line ends are skipped. Bytes beyond Content-Length are dropped; without Content-Length
/// the body is the rest of the datagram.
///
/// # Errors
/// [`ParseError`] with the answer where there is one. A body shorter than Content-Length is answered 400.
pub fn parse_datagram(datagram: &Bytes, limits: &Limits) -> Result<Datagram, ParseError> {
    let Some(start) = datagram.iter().position(|byte| !matches!(byte, b'\r' | b'\n' | 0)) else {
        return Ok(Datagram::KeepAlive);
    };
    let bytes = datagram.slice(start..);
    let (head, rest, truncated) = match head_length(&bytes, 0) {
        Some(length) => (bytes.slice(..length), bytes.slice(length..), None),
        None => (bytes.clone(), Bytes::new(), Some(Fault::Truncated)),
    };
    let (mut message, fault) = parse_head(&head, limits)?;
    let (body, body_fault) = cut_body(&message, &rest, limits);
    message.body = body;
    finish(message, fault.or(truncated).or(body_fault)).map(|message| Datagram::Message(Box::new(message)))
}

fn cut_body(message: &Message, rest: &Bytes, limits: &Limits) -> (Bytes, Option<Fault>) {
    let announced = match message.content_length() {
        Ok(announced) => announced.unwrap_or(rest.len()),
        Err(error) => return (Bytes::new(), Some(error.into())),
    };
    if announced > limits.body {
        return (Bytes::new(), Some(Fault::BodyTooLarge { found: announced, limit: limits.body }));
    }
    if announced > rest.len() {
        return (Bytes::new(), Some(Fault::BodyTooShort { announced, found: rest.len() }));
    }
    (rest.slice(..announced), None)
}
