//! Addresses with a display name and parameters: From, To, Contact, Route, Record-Route (RFC 3261 section 20.10).
//! It must not know what the addresses are used for.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::HeaderError;
use super::grammar::{self, Params};
use super::name::HeaderName;
use super::uri::SipUri;

/// `"Display name" <uri>;params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name as written, with its quotes; empty if there is none. It may be in any charset.
    pub display: Bytes,
    /// The address.
    pub uri: SipUri,
    /// The parameters of the field, such as `tag` (those of the URI are in [`SipUri::params`]).
    pub params: Params,
}

impl NameAddr {
    /// An address without a display name.
    #[must_use]
    pub fn new(uri: SipUri) -> Self {
        Self { display: Bytes::new(), uri, params: Params::default() }
    }

    /// Reads one address. `name` says in errors which field it came from.
    ///
    /// # Errors
    /// [`HeaderError::Invalid`] when quotes or brackets are open, the URI is malformed or a parameter is.
    pub fn parse(name: HeaderName, element: &Bytes) -> Result<Self, HeaderError> {
        const EXPECTED: &str = "`\"Name\" <uri>;params` or `uri;params`";
        Self::read(element).ok_or_else(|| HeaderError::invalid(name, element, EXPECTED))
    }

    /// The same address with a tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// The tag of a From or To.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        self.params.value("tag").map(Into::into)
    }

    /// The display name without quotes and backslashes; `None` if there is none or it is not UTF-8.
    #[must_use]
    pub fn display_name(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.display).ok()?;
        (!text.is_empty()).then(|| grammar::unquote(text).into_owned())
    }

    /// How long a Contact wants to stay registered. A malformed number counts as absent, which the registrar treats as
    /// its default (RFC 3261 section 10.3, step 7).
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        delta_seconds(&self.params.value("expires")?)
    }

    /// The preference of a Contact in thousandths, 0 to 1000; 1000 if it says nothing (RFC 3261 section 20.10).
    #[must_use]
    pub fn preference(&self) -> u16 {
        self.params.value("q").and_then(|q| thousandths(&q)).unwrap_or(1000)
    }

    /// The device's own identity, `+sip.instance` (RFC 5626 section 4.1), without its quotes.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        self.params.value("+sip.instance").map(Into::into)
    }

    /// The field value as written to the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.display.to_vec();
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(format!("<{}>{}", self.uri, self.params).as_bytes());
        out
    }

    fn read(element: &Bytes) -> Option<Self> {
        let text = element.trim_ascii();
        let quoted = if text.starts_with(b"\"") { grammar::quoted_length(text)? } else { 0 };
        let open = text.get(quoted..)?.iter().position(|&byte| byte == b'<').map(|at| at + quoted);
        let Some(open) = open else {
            // Without brackets everything after the first `;` belongs to the field (RFC 3261 section 20).
            if quoted > 0 {
                return None;
            }
            let text = std::str::from_utf8(text).ok()?;
            let (uri, params) = text.split_once(';').unwrap_or((text, ""));
            let params = Params::parse(params.as_bytes())?;
            return Some(Self { display: Bytes::new(), uri: uri.trim_ascii().parse().ok()?, params });
        };
        let display = text.get(..open)?.trim_ascii();
        if quoted > 0 && display.len() != quoted {
            return None;
        }
        if quoted == 0 && display.contains(&b'"') {
            return None;
        }
        let after = text.get(open + 1..)?;
        let close = after.iter().position(|&byte| byte == b'>')?;
        let uri = std::str::from_utf8(after.get(..close)?).ok()?.trim_ascii().parse().ok()?;
        let params = after.get(close + 1..)?.trim_ascii();
        if !params.is_empty() && !params.starts_with(b";") {
            return None;
        }
        Some(Self { display: element.slice_ref(display), uri, params: Params::parse(params)? })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// The Contact fields of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `Contact: *`: all registrations of the address-of-record.
    Wildcard,
    /// The addresses, in order; empty if there is no Contact.
    List(Vec<NameAddr>),
}

/// Reads `delta-seconds`: digits only; numbers beyond 2^32 - 1 count as 2^32 - 1 (RFC 3261 section 20.19).
pub(super) fn delta_seconds(text: &str) -> Option<Duration> {
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(digits.parse::<u32>().unwrap_or(u32::MAX).into()))
}

fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok()?;
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction).filter(|&q| q <= 1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::{HeaderName, NameAddr};

    fn address(text: &'static str) -> NameAddr {
        NameAddr::parse(HeaderName::From, &Bytes::from_static(text.as_bytes()))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_quoted_display_name_cannot_pose_as_an_address() {
        let from = address(r#""A \" B <sip:x@evil>" <sip:a@b.com>;tag=1"#);
        assert_eq!(from.uri.as_str(), "sip:a@b.com");
        assert_eq!(from.display_name().unwrap(), r#"A " B <sip:x@evil>"#);
        assert_eq!(from.tag().as_deref(), Some("1"));
        assert_eq!(from.to_bytes(), br#""A \" B <sip:x@evil>" <sip:a@b.com>;tag=1"#);
    }

    #[test]
    fn without_brackets_the_parameters_belong_to_the_field() {
        let to = address("sip:vivekg@chair-dnrc.example.com ; tag = 1918181833n");
        assert_eq!(to.tag().as_deref(), Some("1918181833n"));
        assert!(to.uri.params().iter().next().is_none());
        assert_eq!(address("<sip:a@b;lr>").uri.as_str(), "sip:a@b;lr");
        assert_eq!(address("Bob Smith <tel:+8610>").display_name().as_deref(), Some("Bob Smith"));
    }

    #[test]
    fn a_display_name_may_be_in_any_charset() {
        let from =
            NameAddr::parse(HeaderName::From, &Bytes::from_static(b"\"\xca\xb5\xca\xb1\xff\" <sip:1@2>"))
                .unwrap();
        assert_eq!(from.display_name(), None);
        assert_eq!(from.to_bytes(), b"\"\xca\xb5\xca\xb1\xff\" <sip:1@2>");
    }

    #[test]
    fn contact_parameters_are_read() {
        let contact = address(r#"<sip:1@10.0.0.9>;expires=3600;q=0.75;+sip.instance="<urn:uuid:f81d>""#);
        assert_eq!(contact.expires(), Some(Duration::from_secs(3600)));
        assert_eq!(contact.preference(), 750);
        assert_eq!(contact.instance().as_deref(), Some("<urn:uuid:f81d>"));
        assert_eq!(
            address("<sip:a@b>;expires=99999999999").expires(),
            Some(Duration::from_secs(u32::MAX.into()))
        );
        assert_eq!(address("<sip:a@b>;expires=soon").expires(), None);
    }

    #[test]
    fn open_quotes_and_brackets_are_refused() {
        for text in ["\"open <sip:a@b>", "<sip:a@b", "\"x\"", "\"x\" y <sip:a@b>", "<sip:a@b> x", "<>", ""] {
            let element = Bytes::from_static(text.as_bytes());
            assert!(NameAddr::parse(HeaderName::From, &element).is_err(), "{text}");
        }
    }
}
