//! One Via value (RFC 3261 section 20.42, RFC 3581 for `rport`). It must not know how a message is routed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::HeaderError;
use super::grammar::Params;
use super::host::{Host, parse_host_port};
use super::method::Transport;
use super::name::HeaderName;

/// One hop in the path of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// How the hop sent the request.
    pub transport: Transport,
    /// Where the hop says that it listens.
    pub host: Host,
    /// The port it listens on; `None` means the transport's default.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, `ttl`, `maddr` and whatever else came.
    pub params: Params,
}

impl Via {
    const EXPECTED: &'static str = "`SIP/2.0/<transport> <host>[:<port>];branch=<token>`";

    /// A Via of our own, with `rport` so that the answer comes back to the port that we sent from.
    #[must_use]
    pub fn new(transport: Transport, host: Host, port: Option<u16>, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        Self { transport, host, port, params }
    }

    /// Reads one element of a Via field.
    ///
    /// # Errors
    /// [`HeaderError::Invalid`] when the protocol is not SIP/2.0 or the sent-by or a parameter is malformed.
    pub fn parse(element: &[u8]) -> Result<Self, HeaderError> {
        Self::read(element).ok_or_else(|| HeaderError::invalid(HeaderName::Via, element, Self::EXPECTED))
    }

    /// The branch; `None` from an RFC 2543 element.
    #[must_use]
    pub fn branch(&self) -> Option<String> {
        self.params.value("branch").map(Into::into)
    }

    /// The source address that the next hop saw.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let received = self.params.value("received")?;
        received.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether the hop asked for the port that it was seen from (RFC 3581).
    #[must_use]
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The port that the next hop saw.
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        self.params.value("rport")?.parse().ok()
    }

    /// Notes where the request really came from: `received` when it is not what sent-by says or `rport` was asked for,
    /// and the port in `rport` if it was asked for (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let wants_rport = self.wants_rport();
        if wants_rport {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if wants_rport || self.host.address() != Some(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
        }
    }

    fn read(element: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(element).ok()?;
        // White space is allowed around each slash: `SIP / 2.0 / UDP host`.
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        let rest = rest.trim_ascii_start();
        let (transport, rest) = rest.split_once(|byte: char| byte.is_ascii_whitespace())?;
        if !protocol.trim_ascii().eq_ignore_ascii_case("SIP") || version.trim_ascii() != "2.0" {
            return None;
        }
        let (sent_by, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = parse_host_port(sent_by.trim_ascii())?;
        Some(Self {
            transport: Transport::parse(transport)?,
            host,
            port,
            params: Params::parse(params.as_bytes())?,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, Transport, Via};

    #[test]
    fn a_via_is_read_with_white_space_where_the_grammar_allows_it() {
        let via = Via::parse(
            b"SIP  / 2.0  / UDP  first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa",
        )
        .unwrap();
        assert_eq!(via.transport, Transport::UDP);
        assert_eq!(via.host, Host::Name("first.example.com".into()));
        assert_eq!(via.port, Some(4000));
        assert_eq!(via.branch().as_deref(), Some("z9hG4bKa"));
        let six =
            Via::parse(b"SIP/2.0/TCP [2001:db8::9:1]:5070;received=[2001:db8::9:255];branch=x").unwrap();
        assert_eq!(six.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(six.to_string(), "SIP/2.0/TCP [2001:db8::9:1]:5070;received=[2001:db8::9:255];branch=x");
    }

    #[test]
    fn the_source_is_noted_as_rfc_3581_asks() {
        let mut via = Via::parse(b"SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK-1").unwrap();
        via.note_source("192.0.2.7:40001".parse().unwrap());
        assert_eq!(
            via.to_string(),
            "SIP/2.0/UDP 10.0.0.9:5060;rport=40001;branch=z9hG4bK-1;received=192.0.2.7"
        );
        let mut honest = Via::parse(b"SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK-1").unwrap();
        honest.note_source("10.0.0.9:5060".parse().unwrap());
        assert_eq!(honest.to_string(), "SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK-1");
    }

    #[test]
    fn other_protocols_and_broken_hosts_are_refused() {
        for text in [
            "SIP/7.0/UDP h;branch=x",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0/UDP h:x",
            "",
        ] {
            assert!(Via::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
