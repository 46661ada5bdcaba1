//! Making messages: requests, responses to requests, bodies, and the bytes that go to the wire. It must not know when
//! a message is sent.

use bytes::{BufMut, Bytes, BytesMut};

use super::{HeaderName, Headers, Message, Method, SipUri, StartLine, Via, reason_phrase};

impl Message {
    /// A request with its first line and no header fields.
    #[must_use]
    pub fn request(method: Method, uri: SipUri) -> Self {
        Self { start: StartLine::Request { method, uri }, headers: Headers::default(), body: Bytes::new() }
    }

    /// A response to a request: Via, From, To, Call-ID, CSeq and Record-Route are copied byte for byte, in this order
    /// (RFC 3261 sections 8.2.6.2 and 12.1.1), and Timestamp into a 100. Content-Length is 0 until there is a body.
    #[must_use]
    pub fn response(request: &Self, code: u16) -> Self {
        Self::response_with_reason(request, code, &reason_phrase(code))
    }

    /// [`Message::response`] with a reason phrase of its own. Line breaks in it become spaces.
    #[must_use]
    pub fn response_with_reason(request: &Self, code: u16, reason: &str) -> Self {
        const COPIED: [HeaderName; 6] = [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
            HeaderName::RecordRoute,
        ];
        let reason = Bytes::from(reason.replace(['\r', '\n'], " "));
        let mut headers = Headers::default();
        let timestamp = (code == 100).then_some(HeaderName::Timestamp);
        for name in COPIED.into_iter().chain(timestamp) {
            for header in request.headers.all(name) {
                headers.push_header(header.clone());
            }
        }
        headers.push(HeaderName::ContentLength, "0");
        Self { start: StartLine::Response { code, reason }, headers, body: Bytes::new() }
    }

    /// Gives To a tag if it has none yet: what every response but a 100 needs (RFC 3261 section 8.2.6.2). A To that
    /// cannot be read is left as it is.
    #[must_use]
    pub fn with_to_tag(mut self, tag: &str) -> Self {
        if let Ok(to) = self.to()
            && to.tag().is_none()
        {
            self.headers.set(HeaderName::To, to.with_tag(tag).to_bytes());
        }
        self
    }

    /// Appends a header field; for building in one expression.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Replaces the body and sets Content-Type and Content-Length to match.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.set(HeaderName::ContentType, content_type);
        self.headers.set(HeaderName::ContentLength, body.len().to_string());
        self.body = body;
    }

    /// Puts a Via on top.
    pub fn push_via(&mut self, via: &Via) {
        self.headers.push_top(HeaderName::Via, via.to_string());
    }

    /// Replaces the topmost Via and leaves the others as they are.
    pub fn replace_top_via(&mut self, via: &Via) {
        self.headers.replace_first_element(HeaderName::Via, Some(via.to_string().as_bytes()));
    }

    /// Removes the topmost Via.
    pub fn remove_top_via(&mut self) {
        self.headers.replace_first_element(HeaderName::Via, None);
    }

    /// The message as it goes to the wire: every line ends in CRLF, every header field is written as it is held, the
    /// body follows untouched.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let head: usize = self.headers.iter().map(|header| header.as_line().len() + 2).sum();
        let mut out = BytesMut::with_capacity(128 + head + self.body.len());
        match &self.start {
            StartLine::Request { method, uri } => {
                out.put_slice(format!("{method} {uri} SIP/2.0\r\n").as_bytes());
            }
            StartLine::Response { code, reason } => {
                out.put_slice(format!("SIP/2.0 {code} ").as_bytes());
                out.put_slice(reason);
                out.put_slice(b"\r\n");
            }
        }
        self.headers.write(&mut out);
        out.put_slice(b"\r\n");
        out.put_slice(&self.body);
        out.freeze()
    }
}
