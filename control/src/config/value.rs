//! Values of the configuration file that carry their own validity. Only parsing makes them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// What carries SIP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams; the transaction layer retransmits.
    Udp,
    /// A byte stream; never retransmitted by us.
    Tcp,
}

impl Transport {
    /// The name in a Via header (RFC 3261 section 20.42).
    #[must_use]
    pub fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// A listener: `udp:10.77.1.1:5060`, `tcp:[2001:db8::1]:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen {
    /// UDP or TCP.
    pub transport: Transport,
    /// A concrete local address and port.
    pub address: SocketAddr,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found \"{text}\"; expected transport:address:port, such as \"udp:192.0.2.1:5060\" or \
                 \"tcp:[2001:db8::1]:5060\""
            )
        };
        let (transport, address) = text.split_once(':').ok_or_else(wrong)?;
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(wrong()),
        };
        let address: SocketAddr = address.parse().map_err(|_| wrong())?;
        if address.ip().is_unspecified() {
            return Err(format!(
                "found \"{text}\"; expected an address that terminals can reach, because it is written into Via and \
                 Contact: list each local address of its own"
            ));
        }
        Ok(Self { transport, address })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(formatter, "{transport}:{}", self.address)
    }
}

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether the address belongs to the network. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.length);
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.length);
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("found \"{text}\"; expected a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(longest), |length| length.parse::<u8>().map_err(|_| wrong()))?;
        if length > longest {
            return Err(wrong());
        }
        Ok(Self { address, length })
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A range of UDP ports that starts even and ends odd, so that it holds whole RTP/RTCP pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    /// The first port; even.
    pub first: u16,
    /// The last port; odd.
    pub last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found \"{text}\"; expected an even first and an odd last port, both 1024 or more, such as \"30000-39999\""
            )
        };
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first < 1024 || !first.is_multiple_of(2) || last % 2 != 1 || first > last {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A pattern of user parts: `*` stands for any characters, `?` for one, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct UserPattern(String);

impl UserPattern {
    /// Whether the whole user part matches. Takes time linear in the product of both lengths at most.
    #[must_use]
    pub fn matches(&self, user: &str) -> bool {
        let (pattern, user) = (self.0.as_bytes(), user.as_bytes());
        let (mut at_pattern, mut at_user) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while let Some(&byte) = user.get(at_user) {
            match pattern.get(at_pattern) {
                Some(b'*') => {
                    last_star = Some((at_pattern + 1, at_user));
                    at_pattern += 1;
                }
                Some(&expected) if expected == b'?' || expected == byte => {
                    at_pattern += 1;
                    at_user += 1;
                }
                _ => {
                    let Some((after_star, from)) = last_star else {
                        return false;
                    };
                    last_star = Some((after_star, from + 1));
                    at_pattern = after_star;
                    at_user = from + 1;
                }
            }
        }
        pattern.get(at_pattern..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
    }
}

impl From<String> for UserPattern {
    fn from(pattern: String) -> Self {
        Self(pattern)
    }
}

impl fmt::Display for UserPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A password or its hash: never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from logs.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for computing with it only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_the_whole_user_part() {
        let matches = |pattern: &str, user: &str| UserPattern::from(pattern.to_owned()).matches(user);
        assert!(matches("*", ""));
        assert!(matches("camera*", "camera"));
        assert!(matches("camera*", "camera12"));
        assert!(matches("*12", "camera12"));
        assert!(matches("c*r?12", "camera12"));
        assert!(matches("*a*a*", "camera"));
        assert!(!matches("camera", "camera1"));
        assert!(!matches("camera?", "camera"));
        assert!(!matches("viewer*", "camera1"));
        assert!(!matches("*13", "camera12"));
    }

    #[test]
    fn prefix_contains_its_addresses_only() {
        let contains = |prefix: &str, address: &str| {
            prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.77.2.0/24", "10.77.2.255"));
        assert!(!contains("10.77.2.0/24", "10.77.3.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("10.77.2.0/24", "::ffff:10.77.2.1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("::/0", "10.0.0.1"));
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_an_example_of_what_does() {
        for text in ["udp", "sctp:192.0.2.1:5060", "udp:192.0.2.1", "udp:host:5060"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.contains(text) && error.contains("udp:192.0.2.1:5060"), "{error}");
        }
        assert!("udp:0.0.0.0:5060".parse::<Listen>().unwrap_err().contains("each local address"));
        for text in ["30000", "30001-39999", "30000-30000", "80-99", "39998-30001", "a-b"] {
            assert!(text.parse::<PortRange>().unwrap_err().contains("30000-39999"));
        }
        for text in ["10.0.0.0/33", "ten", "2001:db8::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Prefix>().unwrap_err().contains("192.0.2.0/24"));
        }
    }

    #[test]
    fn secret_does_not_print_itself() {
        let secret = Secret::new("open sesame".to_owned());
        assert!(!format!("{secret:?}").contains("sesame"));
    }
}
