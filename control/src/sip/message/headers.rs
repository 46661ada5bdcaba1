//! Header fields in order, byte for byte as they came. Values are unfolded when they are looked at, never when they
//! are written. It must not know what the values mean.

use bytes::{BufMut, Bytes, BytesMut};

use super::grammar;
use super::name::HeaderName;

/// One header field: a whole line (with its folded continuation lines) without the line end that closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    line: Bytes,
    name_length: usize,
    value_start: usize,
    known: Option<HeaderName>,
}

impl Header {
    /// A field written as `Name: value`. A line break or NUL in the value becomes a space, so that no value can start
    /// another field.
    #[must_use]
    pub fn new(name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        Self::build(name.canonical(), value.as_ref(), Some(name))
    }

    /// A field of any name. `None` when the name is no token (RFC 3261 section 25.1).
    #[must_use]
    pub fn other(name: &str, value: impl AsRef<[u8]>) -> Option<Self> {
        grammar::is_token(name.as_bytes())
            .then(|| Self::build(name, value.as_ref(), HeaderName::from_bytes(name.as_bytes())))
    }

    /// Reads a line, continuation lines included, without its closing line end. `None` when it has no valid name
    /// before a colon, or a carriage return that ends no line: another reader might see two fields there. Space before
    /// the colon is tolerated.
    #[must_use]
    pub(super) fn from_line(line: Bytes) -> Option<Self> {
        let mut pairs = line.windows(2);
        if line.ends_with(b"\r")
            || pairs.any(|pair| pair.first() == Some(&b'\r') && pair.last() != Some(&b'\n'))
        {
            return None;
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = line.get(..colon)?.trim_ascii_end();
        if !grammar::is_token(name) {
            return None;
        }
        let known = HeaderName::from_bytes(name);
        let name_length = name.len();
        Some(Self { line, name_length, value_start: colon + 1, known })
    }

    /// The name as written.
    #[must_use]
    pub fn name_bytes(&self) -> &[u8] {
        self.line.get(..self.name_length).unwrap_or_default()
    }

    /// The name, if it is one of ours.
    #[must_use]
    pub fn known(&self) -> Option<HeaderName> {
        self.known
    }

    /// The value, unfolded (each line break with the white space that follows it becomes one space) and trimmed.
    #[must_use]
    pub fn value(&self) -> Bytes {
        let raw = self.line.get(self.value_start..).unwrap_or_default();
        let trimmed = raw.trim_ascii();
        if trimmed.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return unfold(trimmed);
        }
        self.line.slice_ref(trimmed)
    }

    /// The value as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        String::from_utf8(self.value().into()).ok()
    }

    /// The whole field as it is written to the wire, without the closing line end.
    #[must_use]
    pub fn as_line(&self) -> &[u8] {
        &self.line
    }

    fn build(name: &str, value: &[u8], known: Option<HeaderName>) -> Self {
        let value = value.trim_ascii();
        let mut line = BytesMut::with_capacity(name.len() + 2 + value.len());
        line.put_slice(name.as_bytes());
        line.put_slice(b": ");
        line.extend(value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        Self { line: line.freeze(), name_length: name.len(), value_start: name.len() + 1, known }
    }
}

fn unfold(value: &[u8]) -> Bytes {
    let mut flat = BytesMut::with_capacity(value.len());
    for line in value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        if !flat.is_empty() && !line.is_empty() {
            flat.put_u8(b' ');
        }
        flat.put_slice(line);
    }
    flat.freeze()
}

/// The header fields of a message, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields of one name, long or compact, in order.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &Header> {
        self.0.iter().filter(move |header| header.known == Some(name))
    }

    /// The first field of a name.
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<&Header> {
        self.all(name).next()
    }

    /// The first field whose name is this text, without case.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&Header> {
        self.0.iter().find(|header| header.name_bytes().eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The elements of a comma-separated field, over all its lines, in order (RFC 3261 section 7.3.1). Empty elements
    /// are skipped.
    #[must_use]
    pub fn elements(&self, name: HeaderName) -> Vec<Bytes> {
        let mut elements = Vec::new();
        for header in self.all(name) {
            let value = header.value();
            let parts = grammar::split(&value, b',').filter(|part| !part.is_empty());
            elements.extend(parts.map(|part| value.slice_ref(part)));
        }
        elements
    }

    /// Appends a field.
    pub fn push(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        self.0.push(Header::new(name, value));
    }

    /// Appends a field that exists already, byte for byte.
    pub fn push_header(&mut self, header: Header) {
        self.0.push(header);
    }

    /// Puts a field above the first field of the same name, or at the very top if there is none. This is where a Via,
    /// Route or Record-Route value is added (RFC 3261 section 16.6).
    pub fn push_top(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        let at = self.0.iter().position(|header| header.known == Some(name)).unwrap_or(0);
        self.0.insert(at, Header::new(name, value));
    }

    /// Replaces the first field of this name in its place and removes the others; appends if there is none.
    pub fn set(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        let Some(at) = self.0.iter().position(|header| header.known == Some(name)) else {
            return self.push(name, value);
        };
        let mut index = 0;
        self.0.retain(|header| {
            index += 1;
            header.known != Some(name) || index - 1 == at
        });
        if let Some(header) = self.0.get_mut(at) {
            *header = Header::new(name, value);
        }
    }

    /// Removes all fields of a name; says how many there were.
    pub fn remove(&mut self, name: HeaderName) -> usize {
        let before = self.0.len();
        self.0.retain(|header| header.known != Some(name));
        before - self.0.len()
    }

    /// Replaces (`Some`) or removes (`None`) the first element of a comma-separated field and leaves the other
    /// elements, on the same line or on others, as they are. Does nothing if there is no such field.
    pub fn replace_first_element(&mut self, name: HeaderName, element: Option<&[u8]>) {
        let Some(at) = self.0.iter().position(|header| header.known == Some(name)) else {
            return;
        };
        let Some(header) = self.0.get_mut(at) else { return };
        let value = header.value();
        let rest = match grammar::find_outside(&value, |byte| byte == b',') {
            Some(comma) => value.get(comma + 1..).unwrap_or_default().trim_ascii(),
            None => &[],
        };
        let parts: Vec<&[u8]> = element.into_iter().chain((!rest.is_empty()).then_some(rest)).collect();
        if parts.is_empty() {
            self.0.remove(at);
        } else {
            *header = Header::new(name, parts.join(&b", "[..]));
        }
    }

    /// Writes every field with its line end.
    pub(super) fn write(&self, out: &mut BytesMut) {
        for header in &self.0 {
            out.put_slice(&header.line);
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Header, HeaderName, Headers};

    fn header(line: &'static str) -> Header {
        Header::from_line(Bytes::from_static(line.as_bytes())).unwrap()
    }

    #[test]
    fn a_folded_value_is_unfolded_to_read_and_kept_to_write() {
        let folded = header("Subject : I know\r\n  you are there,\r\n\tpick up ");
        assert_eq!(folded.value(), "I know you are there, pick up");
        assert_eq!(folded.as_line(), b"Subject : I know\r\n  you are there,\r\n\tpick up ");
        assert_eq!(folded.known(), Some(HeaderName::Subject));
    }

    #[test]
    fn names_may_be_compact_and_in_any_case() {
        assert_eq!(header("v: x").known(), Some(HeaderName::Via));
        assert_eq!(header("CALL-id:x").known(), Some(HeaderName::CallId));
        assert_eq!(header("X-GB-Ver: 3.0").known(), None);
        assert_eq!(Header::from_line(Bytes::from_static(b"no colon")), None);
        assert_eq!(Header::from_line(Bytes::from_static(b": no name")), None);
        assert_eq!(Header::from_line(Bytes::from_static(b"two words: x")), None);
        assert_eq!(Header::from_line(Bytes::from_static(b"Subject: x\rVia: y")), None);
    }

    #[test]
    fn a_value_cannot_start_another_field() {
        let mut headers = Headers::default();
        headers.push(HeaderName::Subject, "x\r\nVia: evil");
        assert_eq!(headers.iter().next().unwrap().as_line(), b"Subject: x  Via: evil");
    }

    #[test]
    fn elements_come_from_all_lines_in_order() {
        let mut headers = Headers::default();
        headers.push_header(header("v: SIP/2.0/UDP a;branch=1 , SIP/2.0/UDP b;branch=2"));
        headers.push_header(header("Via: SIP/2.0/UDP c;branch=3"));
        assert_eq!(
            headers.elements(HeaderName::Via),
            ["SIP/2.0/UDP a;branch=1", "SIP/2.0/UDP b;branch=2", "SIP/2.0/UDP c;branch=3"]
        );
        headers.replace_first_element(HeaderName::Via, Some(b"top"));
        assert_eq!(
            headers.elements(HeaderName::Via),
            ["top", "SIP/2.0/UDP b;branch=2", "SIP/2.0/UDP c;branch=3"]
        );
        headers.replace_first_element(HeaderName::Via, None);
        headers.replace_first_element(HeaderName::Via, None);
        assert_eq!(headers.elements(HeaderName::Via), ["SIP/2.0/UDP c;branch=3"]);
        headers.replace_first_element(HeaderName::Via, None);
        assert!(headers.is_empty());
    }

    #[test]
    fn set_replaces_in_place_and_removes_the_rest() {
        let mut headers = Headers::default();
        headers.push(HeaderName::Expires, "1");
        headers.push(HeaderName::Subject, "s");
        headers.push(HeaderName::Expires, "2");
        headers.set(HeaderName::Expires, "3");
        let lines: Vec<&[u8]> = headers.iter().map(Header::as_line).collect();
        assert_eq!(lines, [&b"Expires: 3"[..], b"Subject: s"]);
        headers.push_top(HeaderName::Subject, "first");
        assert_eq!(headers.get(HeaderName::Subject).unwrap().value(), "first");
        assert_eq!(headers.remove(HeaderName::Subject), 2);
    }
}
