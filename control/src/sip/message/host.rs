//! Hosts as URIs and Via fields write them: names, IPv4 addresses, IPv6 addresses in brackets (RFC 3261 section 25.1).
//! It must not know URIs or fields.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The host of a URI or of a Via field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name, as written.
    Name(String),
    /// An IPv4 address, or an IPv6 address in brackets.
    Address(IpAddr),
}

impl Host {
    /// Reads a host name, an IPv4 address or a bracketed IPv6 address. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|ip| Self::Address(ip.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        // Underscores are no host name by RFC 1123, but devices have them.
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!text.is_empty() && text.bytes().all(valid)).then(|| Self::Name(text.to_owned()))
    }

    /// The address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// Whether both name the same host; names ignore case.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(two)) => one.eq_ignore_ascii_case(two),
            _ => self == other,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Splits `host`, `host:port` or `[v6]:port`; white space around the colon is tolerated (RFC 3261 section 25.1, COLON).
pub(super) fn parse_host_port(text: &str) -> Option<(Host, Option<u16>)> {
    let name_end =
        if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at_checked(name_end)?;
    let host = Host::parse(host.trim_ascii())?;
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?.trim_ascii();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((host, Some(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::{Host, parse_host_port};

    #[test]
    fn hosts_are_names_or_addresses_and_written_as_they_are_read() {
        for text in ["example.com", "my_camera", "192.0.2.1", "[2001:db8::1]"] {
            assert_eq!(Host::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a b", "2001:db8::1", "[192.0.2.1]", "[2001:db8::1", "a/b"] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_may_follow_with_white_space() {
        let read = |text| parse_host_port(text).map(|(host, port)| (host.to_string(), port));
        assert_eq!(read("h : 5060"), Some(("h".into(), Some(5060))));
        assert_eq!(read("[::1]:5060"), Some(("[::1]".into(), Some(5060))));
        assert_eq!(read("h"), Some(("h".into(), None)));
        for text in ["h:", "h:+1", "h:65536", "[::1]x", ":1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
