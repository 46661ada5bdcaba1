//! Typed views of the lines that a relay and a call need. It must not know how lines are rewritten.

use std::net::IpAddr;

use super::{Line, Media, Sdp, SdpError};

/// `c=IN IP4 192.0.2.1` (RFC 4566 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The unicast address; unspecified (`0.0.0.0`, `::`) means "send nothing": a call on hold by RFC 2543, or an
    /// address not yet known.
    pub address: IpAddr,
    /// The line it stands on, counted from 1.
    pub line: usize,
}

/// `m=video 30000/1 RTP/AVP 96 98` (RFC 4566 section 5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaField {
    /// `audio`, `video`, `application`, …
    pub kind: String,
    /// The port; 0 rejects the media (RFC 3264 section 6).
    pub port: u16,
    /// How many port pairs follow each other from there; 1 unless it says otherwise.
    pub port_pairs: u16,
    /// `RTP/AVP`, `TCP/RTP/AVP`, …
    pub protocol: String,
    /// The formats: payload types for RTP.
    pub formats: Vec<String>,
}

/// `a=rtcp:53020 IN IP4 192.0.2.1` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// The address, if it is not that of the media.
    pub address: Option<IpAddr>,
}

/// Which way media flows, seen from the side that describes it (RFC 4566 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways; also where nothing is said.
    SendRecv,
    /// The side only sends.
    SendOnly,
    /// The side only receives.
    RecvOnly,
    /// Neither: on hold.
    Inactive,
}

impl MediaField {
    pub(super) fn parse(line: &Line) -> Result<Self, SdpError> {
        Self::read(line.value()).ok_or_else(|| line.malformed("`m=kind port protocol formats`"))
    }

    /// Whether the protocol is RTP over UDP without a handshake of its own. DTLS-SRTP (`UDP/TLS/RTP/…`) is not: its
    /// handshake is no RTP, and a relay that admits only RTP would never let the keys be agreed.
    #[must_use]
    pub fn is_plain_rtp(&self) -> bool {
        ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&self.protocol))
    }

    /// The RTP payload types among the formats.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats
            .iter()
            .filter_map(|format| format.parse().ok())
            .filter(|&payload_type| payload_type < 128)
    }

    fn read(value: &[u8]) -> Option<Self> {
        if value.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
        let kind = words.next()?.to_owned();
        let port = words.next()?;
        let (port, pairs) = match port.split_once('/') {
            Some((port, pairs)) => (port, digits(pairs)?),
            None => (port, 1),
        };
        let protocol = words.next()?.to_owned();
        let formats = words.map(str::to_owned).collect();
        Some(Self { kind, port: digits(port)?, port_pairs: pairs, protocol, formats })
    }
}

impl Sdp {
    /// The c= line of the session part.
    ///
    /// # Errors
    /// The line is malformed or its address cannot be relayed to.
    pub fn connection(&self) -> Result<Option<Connection>, SdpError> {
        connection(&self.session)
    }
}

impl Media {
    /// The lines, the m= line first.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The m= line, read.
    #[must_use]
    pub fn field(&self) -> &MediaField {
        &self.field
    }

    /// The m= line, as it stands.
    pub(in crate::sip) fn first_line(&self) -> (usize, String) {
        self.lines.first().map_or((0, String::new()), |line| (line.number, line.found()))
    }

    /// The c= line of this media description.
    ///
    /// # Errors
    /// The line is malformed or its address cannot be relayed to.
    pub fn connection(&self) -> Result<Option<Connection>, SdpError> {
        connection(&self.lines)
    }

    /// Where RTCP goes, if it is said.
    ///
    /// # Errors
    /// The line is malformed or its address cannot be relayed to.
    pub fn rtcp(&self) -> Result<Option<Rtcp>, SdpError> {
        let Some((line, value)) = self.attribute("rtcp") else {
            return Ok(None);
        };
        let malformed = || line.malformed("`a=rtcp:port` and perhaps `IN IP4 address`");
        let text = std::str::from_utf8(value).map_err(|_| malformed())?;
        let (port, address) = text.split_once(' ').unwrap_or((text, ""));
        let address = match address.trim_ascii() {
            "" => None,
            address => Some(read_address(line, address)?),
        };
        Ok(Some(Rtcp { port: digits(port).ok_or_else(malformed)?, address }))
    }

    /// Whether RTP and RTCP may share one port (RFC 5761).
    #[must_use]
    pub fn rtcp_mux(&self) -> bool {
        self.attribute("rtcp-mux").is_some()
    }

    /// Which way media flows; `default` is what the session part says ([`Sdp::direction`]).
    #[must_use]
    pub fn direction(&self, default: Direction) -> Direction {
        direction(&self.lines).unwrap_or(default)
    }

    /// `encoding/clock-rate` of a payload type, where an rtpmap names it (RFC 4566 section 6).
    #[must_use]
    pub fn encoding(&self, payload_type: u8) -> Option<String> {
        let number = payload_type.to_string();
        self.lines.iter().filter_map(|line| line.attribute("rtpmap")).find_map(|value| {
            let (format, encoding) = std::str::from_utf8(value).ok()?.split_once(' ')?;
            (format == number).then(|| encoding.trim_ascii().to_owned())
        })
    }

    /// The sources that the side announces (RFC 5576), each once, in order.
    #[must_use]
    pub fn announced_sources(&self) -> Vec<u32> {
        let mut sources = Vec::new();
        for value in self.lines.iter().filter_map(|line| line.attribute("ssrc")) {
            let number = value.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
            if let Some(source) = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok())
                && !sources.contains(&source)
            {
                sources.push(source);
            }
        }
        sources
    }

    /// The source that a GB/T 28181 `y=` line names: ten decimal digits, the RTP SSRC.
    #[must_use]
    pub fn gb28181_source(&self) -> Option<u32> {
        let line = self.lines.iter().find(|line| line.key() == Some(b'y'))?;
        std::str::from_utf8(line.value()).ok()?.trim_ascii().parse().ok()
    }

    fn attribute(&self, name: &str) -> Option<(&Line, &[u8])> {
        self.lines.iter().find_map(|line| line.attribute(name).map(|value| (line, value)))
    }
}

impl Sdp {
    /// Which way media flows where a media description says nothing.
    #[must_use]
    pub fn direction(&self) -> Direction {
        direction(&self.session).unwrap_or(Direction::SendRecv)
    }
}

fn direction(lines: &[Line]) -> Option<Direction> {
    lines.iter().find_map(|line| {
        [
            ("sendrecv", Direction::SendRecv),
            ("sendonly", Direction::SendOnly),
            ("recvonly", Direction::RecvOnly),
            ("inactive", Direction::Inactive),
        ]
        .into_iter()
        .find_map(|(name, direction)| line.attribute(name).map(|_| direction))
    })
}

fn connection(lines: &[Line]) -> Result<Option<Connection>, SdpError> {
    let Some(line) = lines.iter().find(|line| line.key() == Some(b'c')) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(line.value()).map_err(|_| line.malformed("`c=IN IP4 address`"))?;
    Ok(Some(Connection { address: read_address(line, text)?, line: line.number }))
}

/// Reads `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`. Names and multicast addresses cannot be relayed to.
fn read_address(line: &Line, text: &str) -> Result<IpAddr, SdpError> {
    let malformed = || line.malformed("`IN IP4` or `IN IP6` and an address");
    let unusable = || SdpError::Address { line: line.number, found: line.found() };
    let mut words = text.split_ascii_whitespace();
    let (Some(network), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(malformed());
    };
    if !network.eq_ignore_ascii_case("IN") {
        return Err(malformed());
    }
    let address: IpAddr = address.parse().map_err(|_| unusable())?;
    let right_family = match address {
        IpAddr::V4(_) => family.eq_ignore_ascii_case("IP4"),
        IpAddr::V6(_) => family.eq_ignore_ascii_case("IP6"),
    };
    if !right_family {
        return Err(malformed());
    }
    if address.is_multicast() { Err(unusable()) } else { Ok(address) }
}

fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
