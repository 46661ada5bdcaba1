//! Messages out of a byte stream (RFC 3261 section 18.3, RFC 5626 section 3.5.1). It must not know sockets.

use bytes::{Buf, Bytes, BytesMut};

use super::parse::{finish, head_length, parse_head};
use super::{Fault, HeaderName, Limits, Message, ParseError};

/// What a stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// A message.
    Message(Box<Message>),
    /// A double CRLF between messages: answer with one CRLF (RFC 5626 section 3.5.1).
    Ping,
    /// A message with a fault whose end could still be found: answer it if it can be answered, and read on.
    Faulty(ParseError),
}

/// Cuts a stream into messages. After an error the end of the message is unknown: send the answer, if there is one,
/// and close the connection.
#[derive(Debug)]
pub struct StreamDecoder {
    limits: Limits,
    /// Bytes at the start of the buffer that are known not to end the head.
    searched: usize,
    /// A head that was read and waits for its body.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    message: Message,
    fault: Option<Fault>,
    body: usize,
}

impl StreamDecoder {
    /// A decoder for one connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, searched: 0, pending: None }
    }

    /// Takes the next item off the front of the buffer; `None` when more bytes are needed. Call it until it returns
    /// `None`, then read more.
    ///
    /// # Errors
    /// The stream cannot be cut any further: the head or body exceeds its limit, the first line is not SIP, or the
    /// length of the body is not known.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<StreamItem>, ParseError> {
        if self.pending.is_none() {
            match skip_line_ends(buffer, self.searched) {
                LineEnds::Ping => return Ok(Some(StreamItem::Ping)),
                LineEnds::Undecided => return Ok(None),
                LineEnds::None => {}
            }
            let Some(length) = head_length(buffer, self.searched) else {
                if buffer.len() > self.limits.head {
                    return Err(Fault::HeadTooLarge { limit: self.limits.head }.into());
                }
                // The line end before the last two bytes may still turn out to end the head.
                self.searched = buffer.len().saturating_sub(2);
                return Ok(None);
            };
            self.searched = 0;
            let head = buffer.split_to(length).freeze();
            self.pending = Some(self.read_head(&head)?);
        }
        let body = self.pending.as_ref().map_or(0, |pending| pending.body);
        if buffer.len() < body {
            return Ok(None);
        }
        let Some(mut pending) = self.pending.take() else {
            return Ok(None);
        };
        pending.message.body = Bytes::from(buffer.split_to(body));
        Ok(Some(match finish(pending.message, pending.fault) {
            Ok(message) => StreamItem::Message(Box::new(message)),
            Err(error) => StreamItem::Faulty(error),
        }))
    }

    fn read_head(&self, head: &Bytes) -> Result<Pending, ParseError> {
        let (message, fault) = parse_head(head, &self.limits)?;
        let length = match message.content_length() {
            Ok(Some(length)) if length > self.limits.body => {
                Err(Fault::BodyTooLarge { found: length, limit: self.limits.body })
            }
            Ok(Some(length)) => Ok(length),
            // Content-Length is mandatory on streams; its absence does no harm where there is no body.
            Ok(None) if message.headers.get(HeaderName::ContentType).is_none() => Ok(0),
            Ok(None) => Err(Fault::NoLengthOnStream),
            Err(error) => Err(error.into()),
        };
        match (length, fault) {
            // The rest of a head with too many fields was not read, so Content-Length may be in it.
            (_, Some(fault @ Fault::TooManyHeaders { .. })) | (Err(fault), _) => {
                Err(finish(message, Some(fault.clone())).err().unwrap_or_else(|| fault.into()))
            }
            (Ok(body), fault) => Ok(Pending { message, fault, body }),
        }
    }
}

enum LineEnds {
    None,
    Ping,
    Undecided,
}

/// Takes line ends off the front: a double CRLF is a ping, single ones are skipped. Whether a CRLF at the end of the
/// buffer is single is not decided before the next bytes are there.
fn skip_line_ends(buffer: &mut BytesMut, searched: usize) -> LineEnds {
    if searched > 0 {
        return LineEnds::None;
    }
    loop {
        match buffer.as_ref() {
            [b'\r', b'\n', b'\r', b'\n', ..] => {
                buffer.advance(4);
                return LineEnds::Ping;
            }
            [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return LineEnds::Undecided,
            [b'\r', b'\n', ..] => buffer.advance(2),
            [b'\n', ..] => buffer.advance(1),
            _ => return LineEnds::None,
        }
    }
}
