//! From bytes to a message: start line, header fields, and the checks of RFC 3261 section 8.2 that every receiver
//! makes. It must not know where the bytes came from; `datagram` and `stream` decide where a message ends.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::printable;
use super::{Fault, Header, Headers, Message, Method, ParseError, SipUri, StartLine};

/// What a stranger may make us hold for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes from the first line to the empty line. Default 32768.
    pub head: usize,
    /// Header fields. Default 256.
    pub headers: usize,
    /// Bytes of body. Default 1048576 (GB/T 28181 catalogues over TCP are long).
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 32 * 1024, headers: 256, body: 1024 * 1024 }
    }
}

/// The length of the head with its empty line, if the bytes hold the whole head. Both CRLF and bare LF end a line.
/// `from` is where to start looking: a position from which no earlier byte can end the head.
pub(super) fn head_length(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let line_feed = at + bytes.get(at..)?.iter().position(|&byte| byte == b'\n')?;
        match bytes.get(line_feed + 1..)? {
            [b'\n', ..] => return Some(line_feed + 2),
            [b'\r', b'\n', ..] => return Some(line_feed + 3),
            _ => at = line_feed + 1,
        }
    }
}

/// Reads start line and header fields. A message with a fault comes back as far as it could be read, so that a request
/// can be answered and a length can be found; what cannot even be read that far is an error.
pub(super) fn parse_head(head: &Bytes, limits: &Limits) -> Result<(Message, Option<Fault>), Fault> {
    if head.len() > limits.head {
        return Err(Fault::HeadTooLarge { limit: limits.head });
    }
    let mut lines = Lines { head, at: 0 };
    let (start, mut fault) = parse_start_line(&lines.next_line().unwrap_or_default())?;
    let mut headers = Headers::default();
    while let Some(line) = lines.next_field() {
        if line.is_empty() {
            break;
        }
        if headers.len() == limits.headers {
            fault = fault.or(Some(Fault::TooManyHeaders { limit: limits.headers }));
            break;
        }
        match Header::from_line(line.clone()) {
            Some(header) => headers.push_header(header),
            None => {
                fault = fault.or_else(|| Some(Fault::HeaderLine { found: printable(&line) }));
            }
        }
    }
    Ok((Message { start, headers, body: Bytes::new() }, fault))
}

/// Turns a message and what was found wrong with it into what the caller gets, after the checks that every message
/// must pass.
pub(super) fn finish(message: Message, fault: Option<Fault>) -> Result<Message, ParseError> {
    match fault.map_or_else(|| check(&message), Err) {
        Ok(()) => Ok(message),
        Err(fault) => Err(ParseError { answer: answer(&message, &fault).map(Box::new), fault }),
    }
}

/// The fields that every message has (RFC 3261 section 8.1.1). Max-Forwards may be absent, as in RFC 2543, but not
/// malformed.
fn check(message: &Message) -> Result<(), Fault> {
    message.top_via()?;
    message.vias()?;
    message.from()?;
    message.to()?;
    message.call_id()?;
    message.max_forwards()?;
    let cseq = message.cseq()?;
    match message.method() {
        Some(method) if *method != cseq.method => {
            Err(Fault::MethodMismatch { cseq: cseq.method, request: method.clone() })
        }
        _ => Ok(()),
    }
}

/// The response to a request with a fault; `None` for responses, for ACK, and when a field that the response copies
/// is absent or the top Via cannot be read, because then the response would reach nobody or match nothing.
fn answer(message: &Message, fault: &Fault) -> Option<Message> {
    use super::HeaderName::{CSeq, CallId, From, To};
    let method = message.method()?;
    if *method == Method::ACK || message.top_via().is_err() {
        return None;
    }
    if [From, To, CallId, CSeq].iter().any(|&name| message.headers.get(name).is_none()) {
        return None;
    }
    let code = fault.status_code();
    let reason = match code {
        400 => format!("Bad Request: {fault}"),
        _ => super::reason_phrase(code),
    };
    Some(Message::response_with_reason(message, code, &reason))
}

/// The start line, and a fault with which a request can still be answered.
fn parse_start_line(line: &[u8]) -> Result<(StartLine, Option<Fault>), Fault> {
    const EXPECTED: &str = "`METHOD uri SIP/2.0` or `SIP/2.0 code reason`";
    let wrong = |expected| Fault::StartLine { found: printable(line), expected };
    if let Some(rest) = strip_prefix_ignoring_case(line, b"SIP/2.0") {
        return parse_status(rest)
            .map(|start| (start, None))
            .ok_or_else(|| wrong("`SIP/2.0`, a code from 100 to 699 and a reason phrase"));
    }
    let first_space = line.iter().position(|&byte| byte == b' ').ok_or_else(|| wrong(EXPECTED))?;
    let last_space = line.iter().rposition(|&byte| byte == b' ').ok_or_else(|| wrong(EXPECTED))?;
    let method = line.get(..first_space).and_then(Method::parse).ok_or_else(|| wrong(EXPECTED))?;
    let version = line.get(last_space + 1..).unwrap_or_default();
    let raw = line.get(first_space + 1..last_space).unwrap_or_default();
    let text = String::from_utf8_lossy(raw);
    let (uri, mut fault) = match text.parse::<SipUri>() {
        Ok(uri) => (uri, None),
        Err(_) => {
            (SipUri::opaque(text.into_owned()), Some(wrong("one space, a URI, one space and `SIP/2.0`")))
        }
    };
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        if strip_prefix_ignoring_case(version, b"SIP/").is_none() {
            return Err(wrong(EXPECTED));
        }
        fault = Some(Fault::Version { found: printable(version) });
    }
    Ok((StartLine::Request { method, uri }, fault))
}

/// What follows `SIP/2.0` in a status line. Devices leave out the reason phrase and even the space before it.
fn parse_status(rest: &[u8]) -> Option<StartLine> {
    let rest = rest.strip_prefix(b" ")?.trim_ascii_start();
    let (code, reason) = rest.split_at_checked(3)?;
    let spaced = reason.is_empty() || reason.starts_with(b" ");
    if !code.iter().all(u8::is_ascii_digit) || !spaced || reason.contains(&b'\r') {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    let reason = reason.strip_prefix(b" ").unwrap_or(reason);
    (100..700).contains(&code).then(|| StartLine::Response { code, reason: Bytes::copy_from_slice(reason) })
}

fn strip_prefix_ignoring_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The lines of a head, ends removed.
struct Lines<'a> {
    head: &'a Bytes,
    at: usize,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Option<Bytes> {
        let rest = self.head.get(self.at..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = rest.get(..end.unwrap_or(rest.len()))?;
        self.at += end.map_or(rest.len(), |end| end + 1);
        Some(self.head.slice_ref(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// A line with the continuation lines that start with white space (RFC 3261 section 7.3.1).
    fn next_field(&mut self) -> Option<Bytes> {
        let start = self.at;
        let first = self.next_line()?;
        if first.is_empty() || !self.continues() {
            return Some(first);
        }
        let mut bare_line_feeds = false;
        let mut end = start + first.len();
        while self.continues() {
            let line_start = self.at;
            bare_line_feeds |= !self.head.get(..line_start)?.ends_with(b"\r\n");
            end = line_start + self.next_line()?.len();
        }
        let field = self.head.slice(start..end);
        Some(if bare_line_feeds { with_crlf(&field) } else { field })
    }

    fn continues(&self) -> bool {
        matches!(self.head.get(self.at), Some(b' ' | b'\t'))
    }
}

/// A folded field that came with bare LF inside gets the CRLF that every line we write has.
fn with_crlf(field: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(field.len() + 8);
    let mut previous = 0;
    for &byte in field {
        if byte == b'\n' && previous != b'\r' {
            out.put_u8(b'\r');
        }
        out.put_u8(byte);
        previous = byte;
    }
    out.freeze()
}
