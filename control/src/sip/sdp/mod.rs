//! Session descriptions (RFC 4566, RFC 3264), line by line. Every line is kept with its line end, whatever it holds:
//! lines of other standards (`y=` and `f=` of GB/T 28181), charsets and order survive. Only addresses and ports are
//! rewritten. It must not know sessions, legs or SIP messages.

mod error;
mod rewrite;
#[cfg(test)]
mod tests;
mod view;

pub use error::SdpError;
pub use view::{Connection, Direction, MediaField, Rtcp};

use bytes::{BufMut, Bytes, BytesMut};

use super::message::printable;

/// Lines of one description. Default; a description is one SIP body, and real ones have fewer than 200.
const MOST_LINES: usize = 1000;
/// Media descriptions of one description. Each takes four ports of the pool in a relayed call.
const MOST_MEDIA: usize = 16;

/// One line with the line end that closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    text: Bytes,
    end: LineEnd,
    number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    CrLf,
    Lf,
    None,
}

impl Line {
    /// The letter before `=`; `None` for a blank line.
    #[must_use]
    pub fn key(&self) -> Option<u8> {
        self.text.first().copied()
    }

    /// What follows `=`, trailing white space removed.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.text.get(2..).unwrap_or_default().trim_ascii_end()
    }

    /// The value of the attribute `a=name:value`, or an empty value for `a=name`; `None` if this is another line.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&[u8]> {
        if self.key() != Some(b'a') {
            return None;
        }
        let rest = self.value().strip_prefix(name.as_bytes())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start) }
    }

    /// Where the line stands in the description, counted from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    pub(super) fn found(&self) -> String {
        printable(&self.text)
    }

    fn malformed(&self, expected: &'static str) -> SdpError {
        SdpError::Line { line: self.number, found: self.found(), expected }
    }

    /// Replaces the text and keeps line end and number.
    fn set(&mut self, text: String) {
        self.text = text.into();
    }
}

/// A media description: its m= line and what follows until the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub(super) lines: Vec<Line>,
    pub(super) field: MediaField,
}

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    session: Vec<Line>,
    media: Vec<Media>,
}

impl Sdp {
    /// Reads a description. Blank lines and bare LF are tolerated and kept.
    ///
    /// # Errors
    /// [`SdpError`] when it does not start with `v=0`, a line is not `letter=value`, an m= line is malformed, or it
    /// has more than 1000 lines or 16 media descriptions.
    pub fn parse(body: &Bytes) -> Result<Self, SdpError> {
        let mut sdp = Self { session: Vec::new(), media: Vec::new() };
        for line in lines(body) {
            if line.number > MOST_LINES {
                return Err(SdpError::TooMany { what: "lines", limit: MOST_LINES });
            }
            if line.number == 1 && line.text.trim_ascii_end() != b"v=0".as_slice() {
                return Err(SdpError::NoVersion);
            }
            // Another reader might take a carriage return for the end of the line.
            if line.text.contains(&b'\r') {
                return Err(line.malformed("no carriage return inside"));
            }
            match line.text.as_ref() {
                [b'm', b'=', ..] => {
                    if sdp.media.len() == MOST_MEDIA {
                        return Err(SdpError::TooMany { what: "media descriptions", limit: MOST_MEDIA });
                    }
                    let field = MediaField::parse(&line)?;
                    sdp.media.push(Media { lines: vec![line], field });
                }
                [letter, b'=', ..] if letter.is_ascii_alphabetic() => sdp.section().push(line),
                other if other.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) => {
                    sdp.section().push(line);
                }
                _ => return Err(line.malformed("one letter, `=` and a value")),
            }
        }
        if sdp.session.is_empty() { Err(SdpError::NoVersion) } else { Ok(sdp) }
    }

    /// The lines before the first m= line.
    #[must_use]
    pub fn session(&self) -> &[Line] {
        &self.session
    }

    /// The media descriptions in order.
    #[must_use]
    pub fn media(&self) -> &[Media] {
        &self.media
    }

    /// The description as it goes to the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        for line in self.session.iter().chain(self.media.iter().flat_map(|media| &media.lines)) {
            out.put_slice(&line.text);
            out.put_slice(match line.end {
                LineEnd::CrLf => b"\r\n",
                LineEnd::Lf => b"\n",
                LineEnd::None => b"",
            });
        }
        out.freeze()
    }

    fn section(&mut self) -> &mut Vec<Line> {
        match self.media.last_mut() {
            Some(media) => &mut media.lines,
            None => &mut self.session,
        }
    }
}

fn lines(body: &Bytes) -> impl Iterator<Item = Line> {
    let mut rest = body.clone();
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let Some(line_feed) = rest.iter().position(|&byte| byte == b'\n') else {
            return Some(Line { text: std::mem::take(&mut rest), end: LineEnd::None, number });
        };
        let mut text = rest.split_to(line_feed);
        bytes::Buf::advance(&mut rest, 1);
        let end = if text.last() == Some(&b'\r') {
            text.truncate(line_feed - 1);
            LineEnd::CrLf
        } else {
            LineEnd::Lf
        };
        Some(Line { text, end, number })
    })
}
