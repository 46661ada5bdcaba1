//! Whole messages: the corpus of what devices send, the torture messages of RFC 4475, framing, and random bytes.

mod corpus;
mod framing;
mod random;
mod torture;

use bytes::Bytes;

use super::{Datagram, Limits, Message, ParseError, parse_datagram};

/// A message written with bare line feeds for legibility, as bytes with CRLF.
fn crlf(text: &str) -> Bytes {
    Bytes::from(text.replace('\n', "\r\n"))
}

fn parse(bytes: &Bytes) -> Result<Message, ParseError> {
    match parse_datagram(bytes, &Limits::default())? {
        Datagram::Message(message) => Ok(*message),
        Datagram::KeepAlive => panic!("a keep-alive, not a message"),
    }
}

fn message(text: &str) -> Message {
    parse(&crlf(text)).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A request with the fields that every request has, and these lines after them.
fn request(extra: &str) -> String {
    format!(
        "OPTIONS sip:bob@biloxi.example SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1\n\
         From: <sip:alice@atlanta.example>;tag=1\nTo: <sip:bob@biloxi.example>\nCall-ID: a@b\nCSeq: 1 OPTIONS\n\
         Max-Forwards: 70\n{extra}"
    )
}
