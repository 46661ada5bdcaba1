//! What one side of a session says of its media, without the words of any protocol.

use std::net::SocketAddr;

/// One medium as a side describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaLine {
    /// Where the side wants its RTP; `None` while it does not say (on hold, or not yet known).
    pub remote: Option<SocketAddr>,
    /// Where the side wants its RTCP; `None` where [`MediaLine::remote`] is.
    pub rtcp: Option<SocketAddr>,
    /// Whether the side can receive RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// The RTP payload types that the side names, 0 to 127.
    pub payload_types: Vec<u8>,
    /// Clock rates in Hz of those whose rate is known, in the side's order of preference.
    pub clock_rates: Vec<(u8, u32)>,
    /// Whether the side says that nobody is to send (hold): silence is then no sign of a dead peer.
    pub silent: bool,
    /// The SSRC that the side says it will send with.
    pub ssrc: Option<u32>,
    /// Whether the medium is refused, or is of a kind that cannot be relayed.
    pub rejected: bool,
}

/// What one side says of all media of a session. A medium keeps its place for the life of the session (RFC 3264
/// section 8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The media in order.
    pub media: Vec<MediaLine>,
}

/// Where the relay receives one medium from one side: what that side must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Address and port for RTP, as the side reaches them.
    pub rtp: SocketAddr,
    /// Address and port for RTCP; the port after that of RTP.
    pub rtcp: SocketAddr,
    /// The medium is not relayed: its port is to be written as 0.
    pub rejected: bool,
}

/// A side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who made the first offer.
    Caller,
    /// Who answered it.
    Callee,
}

impl Side {
    /// The side across.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        })
    }
}
