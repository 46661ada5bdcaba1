//! The lexical rules that header fields share (RFC 3261 section 25.1): tokens, quoted strings, lists that respect
//! quotes and angle brackets, and `;name=value` parameters. It must not know any particular header field.

use std::borrow::Cow;
use std::fmt;

/// Whether the text is a non-empty `token`.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Splits at a separator that stands outside quoted strings and outside `<...>`; the parts are trimmed.
pub fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find_outside(text, |byte| byte == separator);
        let (part, after) = match end {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(part.trim_ascii())
    })
}

/// The index of the first byte that is wanted and stands outside quoted strings and outside `<...>`.
pub fn find_outside(text: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut angled = false;
    let mut escaped = false;
    for (index, &byte) in text.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if quoted {
            match byte {
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if angled {
            angled = byte != b'>';
        } else if wanted(byte) {
            return Some(index);
        } else {
            quoted = byte == b'"';
            angled = byte == b'<';
        }
    }
    None
}

/// The length of the quoted string that the text starts with, both quotes included; `None` if it does not start with
/// a quote or the closing quote is absent.
#[must_use]
pub fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate();
    if bytes.next()?.1 != &b'"' {
        return None;
    }
    let mut escaped = false;
    for (index, &byte) in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// The content of a quoted string without its quotes and backslashes; text that is not quoted comes back unchanged.
#[must_use]
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

/// The text as a quoted string, with `"` and `\` escaped.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// Parameters of one URI or field. Real ones have fewer than ten; comparing many would cost time that a stranger
/// chooses.
const MOST_PARAMS: usize = 64;

/// The parameters of a URI or of a header field, in order, values as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// Reads `name`, `name=value` and `name="quoted value"` separated by `;`. Empty parameters (`;;`) are tolerated.
    /// `None` when a name is no token, a value is empty, a quote is open, the text is not UTF-8 or there are more than 64.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut params = Vec::new();
        for part in split(text, b';').filter(|part| !part.is_empty()) {
            let part = std::str::from_utf8(part).ok()?;
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (part, None),
            };
            let valid = is_param_name(name) && value.is_none_or(is_param_value);
            if !valid || params.len() == MOST_PARAMS {
                return None;
            }
            params.push((name.to_owned(), value.map(str::to_owned)));
        }
        Some(Self(params))
    }

    /// Whether a parameter of this name is there, with or without a value. Names ignore case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of a parameter, quotes removed; `None` if the parameter is absent or has no value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(name)?.1.as_deref().map(unquote)
    }

    /// Names and values as written, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Sets a parameter, in its place if it is there, else at the end. The value is written as given: quote it first
    /// ([`quote`]) if it is no token.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(param) => param.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes a parameter.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    fn find(&self, name: &str) -> Option<&(String, Option<String>)> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

// URI parameter names may hold a few bytes more than tokens (RFC 3261 section 25.1, `paramchar`).
fn is_param_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| is_token_byte(byte) || b"[]/:&$()".contains(&byte))
}

fn is_param_value(value: &str) -> bool {
    if value.starts_with('"') {
        return quoted_length(value.as_bytes()) == Some(value.len());
    }
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>;,".contains(&byte) || !byte.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::{Params, quote, quoted_length, split, unquote};

    fn parts(text: &str) -> Vec<&str> {
        split(text.as_bytes(), b',').map(|part| std::str::from_utf8(part).unwrap()).collect()
    }

    #[test]
    fn lists_are_split_outside_quotes_and_angle_brackets_only() {
        assert_eq!(
            parts(r#""a, b" <sip:x,y@h>, <sip:z@h>;p="1,2""#),
            [r#""a, b" <sip:x,y@h>"#, r#"<sip:z@h>;p="1,2""#]
        );
        assert_eq!(parts(r#""A \" , B" <sip:a@b>,c"#), [r#""A \" , B" <sip:a@b>"#, "c"]);
        assert_eq!(parts("a,,b"), ["a", "", "b"]);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "plain", r#"a "quoted" \ word"#] {
            assert_eq!(unquote(&quote(text)), text);
            assert_eq!(quoted_length(quote(text).as_bytes()), Some(quote(text).len()));
        }
        assert_eq!(quoted_length(br#""open \""#), None);
    }

    #[test]
    fn params_keep_order_spelling_and_quotes() {
        let text = r#";Branch=z9hG4bK1;rport;+sip.instance="<urn:uuid:1;2>";q=0.5"#;
        let params = Params::parse(text.as_bytes()).unwrap();
        assert_eq!(params.to_string(), text);
        assert_eq!(params.value("branch").unwrap(), "z9hG4bK1");
        assert_eq!(params.value("+SIP.instance").unwrap(), "<urn:uuid:1;2>");
        assert!(params.has("rport"));
        assert_eq!(params.value("rport"), None);
    }

    #[test]
    fn params_refuse_what_would_be_ambiguous() {
        for text in [";a=", ";=b", ";a=\"open", ";a b=c", ";a=\"x\"y"] {
            assert_eq!(Params::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Params::parse(";a".repeat(64).as_bytes()).is_some());
        assert_eq!(Params::parse(";a".repeat(65).as_bytes()), None);
    }
}
