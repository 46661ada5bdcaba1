//! The parameter lists of WWW-Authenticate and Authorization (RFC 3261 section 20.7, RFC 7616). Values keep their
//! spelling, because digests are computed over the text. It must not know how a digest is computed.

use std::fmt;

use super::HeaderError;
use super::grammar;
use super::name::HeaderName;

/// Parameters of one field. Digest has a dozen; looking each up costs time that a stranger chooses.
const MOST_PARAMS: usize = 32;

/// `Digest name=value, name="value", …`: a challenge or an answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthParams {
    /// The scheme, as written: `Digest`.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl AuthParams {
    /// An empty list of the scheme `Digest`.
    #[must_use]
    pub fn digest() -> Self {
        Self { scheme: "Digest".to_owned(), params: Vec::new() }
    }

    /// Reads a field value. `name` says in errors which field it came from.
    ///
    /// # Errors
    /// [`HeaderError::Invalid`] when there is no scheme, a parameter has no value, occurs twice or is not UTF-8, or there are more
    /// than 32.
    pub fn parse(name: HeaderName, value: &[u8]) -> Result<Self, HeaderError> {
        const EXPECTED: &str = "`Digest name=value, name=\"value\", …`";
        Self::read(value).ok_or_else(|| HeaderError::invalid(name, value, EXPECTED))
    }

    /// The value of a parameter, unquoted.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| grammar::unquote(value).into_owned())
    }

    /// The value of a parameter as written, quotes included.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Appends a parameter written as a quoted string.
    #[must_use]
    pub fn with_quoted(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), grammar::quote(value)));
        self
    }

    /// Appends a parameter written as a bare token (`algorithm`, `stale`, `nc`; `qop` in an answer).
    #[must_use]
    pub fn with_token(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim_ascii();
        let (scheme, rest) = text.split_once(|letter: char| letter.is_ascii_whitespace())?;
        if !grammar::is_token(scheme.as_bytes()) {
            return None;
        }
        let mut list = Self { scheme: scheme.to_owned(), params: Vec::new() };
        for part in grammar::split(rest.as_bytes(), b',').filter(|part| !part.is_empty()) {
            let (name, value) = std::str::from_utf8(part).ok()?.split_once('=')?;
            let (name, value) = (name.trim_ascii_end(), value.trim_ascii_start());
            let quoted_whole = grammar::quoted_length(value.as_bytes()) == Some(value.len());
            let bare = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            // Twice the same name is an attempt to have two readers see two values.
            if !grammar::is_token(name.as_bytes())
                || !(quoted_whole || bare)
                || list.raw(name).is_some()
                || list.params.len() == MOST_PARAMS
            {
                return None;
            }
            list.params.push((name.to_owned(), value.to_owned()));
        }
        Some(list)
    }
}

impl fmt::Display for AuthParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (index, (name, value)) in self.params.iter().enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthParams, HeaderName};

    fn read(text: &str) -> Option<AuthParams> {
        AuthParams::parse(HeaderName::Authorization, text.as_bytes()).ok()
    }

    #[test]
    fn values_keep_their_spelling() {
        let text = r#"Digest username="a, b", uri="sip:x@y;transport=tcp", qop=auth, nc=0000000a"#;
        let params = read(text).unwrap();
        assert_eq!(params.to_string(), text);
        assert_eq!(params.value("USERNAME").unwrap(), "a, b");
        assert_eq!(params.value("uri").unwrap(), "sip:x@y;transport=tcp");
        assert_eq!(params.value("nc").unwrap(), "0000000a");
        assert_eq!(
            read(r#"Digest realm="r",qop="auth,auth-int""#).unwrap().value("qop").unwrap(),
            "auth,auth-int"
        );
    }

    #[test]
    fn ambiguous_lists_are_refused() {
        for text in [
            "Digest",
            "Digest realm",
            "Digest realm=",
            r#"Digest realm="a", realm="b""#,
            r#"Digest realm="open"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let many =
            |count: usize| format!("Digest {}", (0..count).map(|n| format!("p{n}=x,")).collect::<String>());
        assert!(read(&many(32)).is_some());
        assert_eq!(read(&many(33)), None);
    }
}
