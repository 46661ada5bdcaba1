//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966). The text is kept as written, so that a URI that nobody
//! touched leaves as it came; the parts are read beside it. It must not know header fields.

use std::fmt;
use std::str::FromStr;

use super::grammar::Params;
use super::host::{Host, parse_host_port};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Anything else: answered 416, or passed on unread.
    Other,
}

/// A URI: its text and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipUri {
    raw: String,
    scheme: Scheme,
    user: Option<String>,
    password: Option<String>,
    host: Option<Host>,
    port: Option<u16>,
    params: Params,
    headers: Option<String>,
}

/// Text that is not a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a URI: {why}")]
pub struct UriError {
    /// The text, printable and shortened.
    pub found: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl SipUri {
    /// A `sip:` URI made of parts. The user part is escaped as RFC 3261 section 19.1.2 asks.
    #[must_use]
    pub fn new(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        let mut uri = Self {
            raw: String::new(),
            scheme: Scheme::Sip,
            user: user.map(escape_user),
            password: None,
            host: Some(host),
            port,
            params: Params::default(),
            headers: None,
        };
        uri.write_raw();
        uri
    }

    /// Text that was not understood, kept so that an answer can quote it. Its scheme is [`Scheme::Other`].
    pub(super) fn opaque(raw: String) -> Self {
        Self {
            raw,
            scheme: Scheme::Other,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: None,
        }
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user part as written (escapes kept), or the number of a `tel:` URI.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user part with `%xx` escapes resolved; `None` without a user part.
    #[must_use]
    pub fn user_unescaped(&self) -> Option<String> {
        self.user.as_deref().map(unescape)
    }

    /// The host; `None` only for `tel:` and unknown schemes.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The port, if written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI parameters (`;transport=tcp`, `;lr`).
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The text after `?`, if any.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        self.headers.as_deref()
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The same URI with a parameter set (see [`Params::set`]).
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self.write_raw();
        self
    }

    /// The same URI without its parameters and headers: the form that names a registration (RFC 3261 section 10.3,
    /// step 5).
    #[must_use]
    pub fn address_of_record(&self) -> Self {
        let mut uri = Self { params: Params::default(), headers: None, password: None, ..self.clone() };
        if uri.scheme != Scheme::Other {
            uri.write_raw();
        }
        uri
    }

    /// Whether both URIs are the same by RFC 3261 section 19.1.4. Unknown schemes are compared byte by byte.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        if self.scheme == Scheme::Other {
            return self.raw == other.raw;
        }
        let same_host = match (&self.host, &other.host) {
            (Some(one), Some(two)) => one.equivalent(two),
            (None, None) => true,
            _ => false,
        };
        same_host
            && self.port == other.port
            && self.user_unescaped() == other.user_unescaped()
            && self.password.as_deref().map(unescape) == other.password.as_deref().map(unescape)
            && params_agree(&self.params, &other.params)
            && params_agree(&other.params, &self.params)
            && sorted_headers(self.headers()) == sorted_headers(other.headers())
    }

    fn write_raw(&mut self) {
        use fmt::Write as _;
        let mut raw = String::from(match self.scheme {
            Scheme::Sips => "sips:",
            Scheme::Tel => "tel:",
            Scheme::Sip | Scheme::Other => "sip:",
        });
        raw.push_str(self.user.as_deref().unwrap_or_default());
        if let Some(password) = &self.password {
            raw.push(':');
            raw.push_str(password);
        }
        // Writing to a String cannot fail.
        if let Some(host) = &self.host {
            if self.user.is_some() {
                raw.push('@');
            }
            let _ = write!(raw, "{host}");
        }
        if let Some(port) = self.port {
            let _ = write!(raw, ":{port}");
        }
        let _ = write!(raw, "{}", self.params);
        if let Some(headers) = &self.headers {
            raw.push('?');
            raw.push_str(headers);
        }
        self.raw = raw;
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl FromStr for SipUri {
    type Err = UriError;

    fn from_str(raw: &str) -> Result<Self, UriError> {
        let error = |why| UriError { found: super::error::printable(raw.as_bytes()), why };
        if raw.bytes().any(|byte| !byte.is_ascii_graphic() || b"<>\"".contains(&byte)) {
            return Err(error("it holds white space, a quote, an angle bracket or a byte outside ASCII"));
        }
        let (scheme, rest) = raw.split_once(':').ok_or_else(|| error("it has no scheme"))?;
        let mut uri = Self::opaque(raw.to_owned());
        uri.scheme = match scheme.to_ascii_lowercase().as_str() {
            "sip" => Scheme::Sip,
            "sips" => Scheme::Sips,
            "tel" => Scheme::Tel,
            _ if is_scheme(scheme) => return Ok(uri),
            _ => return Err(error("its scheme has a byte that a scheme may not have")),
        };
        if uri.scheme == Scheme::Tel {
            let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
            if number.is_empty() {
                return Err(error("it has no number"));
            }
            uri.user = Some(number.to_owned());
            uri.params =
                Params::parse(params.as_bytes()).ok_or_else(|| error("its parameters are malformed"))?;
            return Ok(uri);
        }
        let (user_info, rest) = match rest.split_once('@') {
            Some((user_info, rest)) => (Some(user_info), rest),
            None => (None, rest),
        };
        if rest.contains('@') {
            return Err(error("it has two `@`"));
        }
        if let Some(user_info) = user_info {
            let (user, password) = match user_info.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (user_info, None),
            };
            if user.is_empty() {
                return Err(error("its user part is empty"));
            }
            uri.user = Some(user.to_owned());
            uri.password = password.map(str::to_owned);
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers.to_owned())),
            None => (rest, None),
        };
        uri.headers = headers;
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) =
            parse_host_port(host_port).ok_or_else(|| error("its host or port is malformed"))?;
        uri.host = Some(host);
        uri.port = port;
        uri.params = Params::parse(params.as_bytes()).ok_or_else(|| error("its parameters are malformed"))?;
        Ok(uri)
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

// Parameters that count even when only one side has them. RFC 3261 section 19.1.4 names user, ttl, method and maddr,
// and its examples add transport.
const SIGNIFICANT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

fn params_agree(one: &Params, two: &Params) -> bool {
    one.iter().all(|(name, value)| {
        if !two.has(name) {
            return !SIGNIFICANT.iter().any(|significant| significant.eq_ignore_ascii_case(name));
        }
        match (value, two.value(name)) {
            (Some(value), Some(other)) => unescape(value).eq_ignore_ascii_case(&unescape(&other)),
            (None, None) => true,
            _ => false,
        }
    })
}

fn sorted_headers(headers: Option<&str>) -> Vec<String> {
    let mut sorted: Vec<String> =
        headers.into_iter().flat_map(|text| text.split('&')).map(unescape).collect();
    sorted.sort_unstable();
    sorted
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex_pair(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn escape_user(user: &str) -> String {
    use fmt::Write as _;
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{Host, Scheme, SipUri};

    fn uri(text: &str) -> SipUri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_text_leaves_as_it_came() {
        for text in [
            "sip:34020000001320000001@3402000000",
            "sip:alice:secret@atlanta.com:5070;transport=tcp;lr?Subject=x&Priority=urgent",
            "SIP:user;par=u%40example.net@example.com",
            "sips:bob@[2001:db8::1]:5061;Transport=TLS",
            "sip:10.0.0.1",
            "tel:+861012345678;phone-context=x",
            "http://example.com/",
        ] {
            assert_eq!(uri(text).to_string(), text);
        }
    }

    #[test]
    fn the_parts_are_read() {
        let full = uri("sip:alice:secret@[2001:db8::1]:5070;transport=tcp;lr?Subject=x");
        assert_eq!(full.scheme(), Scheme::Sip);
        assert_eq!(full.user(), Some("alice"));
        assert_eq!(full.host(), Some(&Host::Address("2001:db8::1".parse().unwrap())));
        assert_eq!(full.port(), Some(5070));
        assert_eq!(full.params().value("transport").unwrap(), "tcp");
        assert!(full.params().has("lr"));
        assert_eq!(full.headers(), Some("Subject=x"));
        let tel = uri("tel:+861012345678");
        assert_eq!((tel.scheme(), tel.user(), tel.host()), (Scheme::Tel, Some("+861012345678"), None));
        assert_eq!(uri("nobodyKnowsThisScheme:x").scheme(), Scheme::Other);
    }

    #[test]
    fn malformed_uris_say_why() {
        for (text, why) in [
            ("alice", "scheme"),
            ("sip:", "host"),
            ("sip:@host", "user"),
            ("sip:a@b@c", "two"),
            ("sip:a@host:port", "port"),
            ("sip:a@host:70000", "port"),
            ("sip:a@[2001:db8::1", "host"),
            ("sip:a@2001:db8::1", "port"),
            ("sip:a b@c", "white space"),
            ("sip:a@host;x=\"", "quote"),
            ("tel:", "number"),
        ] {
            let error = text.parse::<SipUri>().unwrap_err();
            assert!(error.why.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn equality_follows_rfc_3261_19_1_4() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:0db8:0::1]"),
        ] {
            assert!(uri(one).equivalent(&uri(two)), "{one} = {two}");
        }
        for (one, two) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
        ] {
            assert!(!uri(one).equivalent(&uri(two)), "{one} != {two}");
        }
    }

    #[test]
    fn built_uris_are_escaped_and_bracketed() {
        let built = SipUri::new(Some("a@b c"), Host::Address("::1".parse().unwrap()), Some(5060));
        assert_eq!(built.as_str(), "sip:a%40b%20c@[::1]:5060");
        assert_eq!(uri(built.as_str()).user_unescaped().unwrap(), "a@b c");
        assert_eq!(
            built.with_param("transport", Some("tcp")).as_str(),
            "sip:a%40b%20c@[::1]:5060;transport=tcp"
        );
        assert_eq!(uri("sip:x:pw@h:5070;lr?a=b").address_of_record().as_str(), "sip:x@h:5070");
    }
}
