//! Typed views of the header fields of a message. Each reads the field when asked; nothing is cached. It must not
//! know what a transaction or a dialog does with the values.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::address::delta_seconds;
use super::{AuthParams, Contacts, HeaderError, HeaderName, Message, Method, NameAddr, Params, Via, grammar};

/// The value of CSeq (RFC 3261 section 20.16). rsip's type of the same name refuses unknown methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, below 2^31 from a sender that follows section 8.1.1.5.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// The value of Content-Type (RFC 3261 section 20.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype` in lower case.
    pub essence: String,
    /// `charset`, `boundary` and so on.
    pub params: Params,
}

/// Who refreshes a session (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

/// The value of Session-Expires (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The session interval.
    pub interval: Duration,
    /// Who refreshes, if it is said.
    pub refresher: Option<Refresher>,
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval.as_secs())?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// Fields that every message has: absent is an error.
impl Message {
    /// The topmost Via.
    ///
    /// # Errors
    /// Absent or malformed.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        let header =
            self.headers.get(HeaderName::Via).ok_or(HeaderError::Missing { name: HeaderName::Via })?;
        let value = header.value();
        let first = grammar::split(&value, b',').next().unwrap_or_default();
        Via::parse(first)
    }

    /// Every Via, topmost first.
    ///
    /// # Errors
    /// Any of them is malformed.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.headers.elements(HeaderName::Via).iter().map(|element| Via::parse(element)).collect()
    }

    /// From.
    ///
    /// # Errors
    /// Absent, repeated or malformed.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        NameAddr::parse(HeaderName::From, &self.required(HeaderName::From)?)
    }

    /// To.
    ///
    /// # Errors
    /// Absent, repeated or malformed.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        NameAddr::parse(HeaderName::To, &self.required(HeaderName::To)?)
    }

    /// Call-ID. Compared byte by byte (RFC 3261 section 20.8).
    ///
    /// # Errors
    /// Absent, repeated, empty, not UTF-8 or with white space inside.
    pub fn call_id(&self) -> Result<String, HeaderError> {
        let value = self.required(HeaderName::CallId)?;
        match std::str::from_utf8(&value) {
            Ok(text) if !text.is_empty() && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
            _ => Err(HeaderError::invalid(HeaderName::CallId, &value, "one word")),
        }
    }

    /// CSeq.
    ///
    /// # Errors
    /// Absent, repeated, or not a number below 2^32 and a method.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        let value = self.required(HeaderName::CSeq)?;
        let read = || {
            let (number, method) =
                std::str::from_utf8(&value).ok()?.split_once(|c: char| c.is_ascii_whitespace())?;
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| number.parse().ok())??;
            Some(CSeq { number, method: Method::parse(method.trim_ascii().as_bytes())? })
        };
        read().ok_or_else(|| {
            HeaderError::invalid(HeaderName::CSeq, &value, "a number below 4294967296 and a method")
        })
    }
}

/// Fields that a message may have: absent is `None` or empty.
impl Message {
    /// The Contact fields.
    ///
    /// # Errors
    /// An address is malformed, or `*` stands beside addresses.
    pub fn contacts(&self) -> Result<Contacts, HeaderError> {
        let elements = self.headers.elements(HeaderName::Contact);
        if elements.iter().any(|element| element == "*") {
            return match elements.as_slice() {
                [_] => Ok(Contacts::Wildcard),
                _ => Err(HeaderError::invalid(HeaderName::Contact, b"*", "`*` alone, or addresses")),
            };
        }
        let parse = |element| NameAddr::parse(HeaderName::Contact, element);
        elements.iter().map(parse).collect::<Result<_, _>>().map(Contacts::List)
    }

    /// The first Contact address: the remote target of a dialog (RFC 3261 section 12).
    ///
    /// # Errors
    /// Absent, `*` or malformed.
    pub fn contact(&self) -> Result<NameAddr, HeaderError> {
        match self.contacts()? {
            Contacts::Wildcard => Err(HeaderError::invalid(HeaderName::Contact, b"*", "an address")),
            Contacts::List(list) => {
                list.into_iter().next().ok_or(HeaderError::Missing { name: HeaderName::Contact })
            }
        }
    }

    /// The Route fields, first hop first.
    ///
    /// # Errors
    /// Any of them is malformed.
    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(HeaderName::Route)
    }

    /// The Record-Route fields, in the order of the message.
    ///
    /// # Errors
    /// Any of them is malformed.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(HeaderName::RecordRoute)
    }

    /// Max-Forwards.
    ///
    /// # Errors
    /// Repeated, or not a number from 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        self.number(HeaderName::MaxForwards, "a number from 0 to 255")
    }

    /// Content-Length in bytes.
    ///
    /// # Errors
    /// Repeated with different values, or no number.
    pub fn content_length(&self) -> Result<Option<usize>, HeaderError> {
        self.number(HeaderName::ContentLength, "a number of bytes")
    }

    /// Expires. Numbers beyond 2^32 - 1 count as 2^32 - 1.
    ///
    /// # Errors
    /// Repeated, or no number.
    pub fn expires(&self) -> Result<Option<Duration>, HeaderError> {
        self.seconds(HeaderName::Expires)
    }

    /// Min-SE (RFC 4028 section 5).
    ///
    /// # Errors
    /// Repeated, or no number.
    pub fn min_se(&self) -> Result<Option<Duration>, HeaderError> {
        self.seconds(HeaderName::MinSe)
    }

    /// Session-Expires (RFC 4028 section 4).
    ///
    /// # Errors
    /// Repeated, no number, or a malformed parameter.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        const NAME: HeaderName = HeaderName::SessionExpires;
        let Some(value) = self.single(NAME)? else {
            return Ok(None);
        };
        let read = || {
            let text = std::str::from_utf8(&value).ok()?;
            let (interval, params) = text.split_once(';').unwrap_or((text, ""));
            let refresher = match Params::parse(params.as_bytes())?.value("refresher") {
                Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                _ => None,
            };
            Some(SessionExpires { interval: delta_seconds(interval)?, refresher })
        };
        let error = || HeaderError::invalid(NAME, &value, "seconds and perhaps `;refresher=uac` or `uas`");
        read().ok_or_else(error).map(Some)
    }

    /// Content-Type.
    ///
    /// # Errors
    /// Repeated, or not `type/subtype;params`.
    pub fn content_type(&self) -> Result<Option<ContentType>, HeaderError> {
        const NAME: HeaderName = HeaderName::ContentType;
        let Some(value) = self.single(NAME)? else {
            return Ok(None);
        };
        let read = || {
            let text = std::str::from_utf8(&value).ok()?;
            let (essence, params) = text.split_once(';').unwrap_or((text, ""));
            let (kind, subtype) = essence.split_once('/')?;
            let (kind, subtype) = (kind.trim_ascii(), subtype.trim_ascii());
            if !grammar::is_token(kind.as_bytes()) || !grammar::is_token(subtype.as_bytes()) {
                return None;
            }
            let essence = format!("{kind}/{subtype}").to_ascii_lowercase();
            Some(ContentType { essence, params: Params::parse(params.as_bytes())? })
        };
        read().ok_or_else(|| HeaderError::invalid(NAME, &value, "`type/subtype`")).map(Some)
    }

    /// Whether a list of option tags or methods (Supported, Require, Allow, …) names this one. Case is ignored.
    #[must_use]
    pub fn lists(&self, name: HeaderName, token: &str) -> bool {
        self.headers.elements(name).iter().any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The challenges or credentials in all fields of a name (WWW-Authenticate, Authorization and their Proxy forms),
    /// one field each.
    ///
    /// # Errors
    /// Any of them is malformed.
    pub fn auth_params(&self, name: HeaderName) -> Result<Vec<AuthParams>, HeaderError> {
        self.headers.all(name).map(|header| AuthParams::parse(name, &header.value())).collect()
    }

    /// The value of a field that may occur once; the same value twice is taken as once.
    pub(super) fn single(&self, name: HeaderName) -> Result<Option<Bytes>, HeaderError> {
        let mut fields = self.headers.all(name);
        let Some(first) = fields.next().map(super::Header::value) else {
            return Ok(None);
        };
        if fields.any(|other| other.value() != first) {
            return Err(HeaderError::Repeated { name, count: self.headers.all(name).count() });
        }
        Ok(Some(first))
    }

    fn required(&self, name: HeaderName) -> Result<Bytes, HeaderError> {
        self.single(name)?.ok_or(HeaderError::Missing { name })
    }

    fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr>, HeaderError> {
        self.headers.elements(name).iter().map(|element| NameAddr::parse(name, element)).collect()
    }

    fn number<T: std::str::FromStr>(
        &self,
        name: HeaderName,
        expected: &'static str,
    ) -> Result<Option<T>, HeaderError> {
        let Some(value) = self.single(name)? else {
            return Ok(None);
        };
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(&value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        number.ok_or_else(|| HeaderError::invalid(name, &value, expected)).map(Some)
    }

    fn seconds(&self, name: HeaderName) -> Result<Option<Duration>, HeaderError> {
        let Some(value) = self.single(name)? else {
            return Ok(None);
        };
        // RFC 3261 allows parameters after the number in Retry-After and Min-SE; they change nothing here.
        let number = grammar::split(&value, b';').next().unwrap_or_default();
        let seconds = std::str::from_utf8(number).ok().and_then(delta_seconds);
        seconds.ok_or_else(|| HeaderError::invalid(name, &value, "a number of seconds")).map(Some)
    }
}
