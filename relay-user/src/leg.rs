//! Legs and streams as the caller describes them, and what the data plane reports of them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Names one installed leg. Never reused within the life of a [`crate::Relay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(crate) u64);

/// Which source may send to a leg (`docs/architecture.md`, "Source policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePolicy {
    /// Address and port are told in advance: only [`LegSpec::remote`] may send.
    Pinned,
    /// The address is told, the port is learned from the first packet that looks right.
    LearnPort,
    /// Address and port are learned from the first packet that looks right.
    Learn,
}

/// What a leg carries: decides what "looks right" means while its source is still to be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// RTP only (RFC 3550 section 5.1).
    Rtp,
    /// RTCP only (RFC 3550 section 6).
    Rtcp,
    /// RTP and RTCP on one port (RFC 5761).
    Muxed,
}

/// A set of RTP payload types, 0 to 127. An empty set admits every payload type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadTypes(pub(crate) u128);

impl PayloadTypes {
    /// The empty set: every payload type is admitted.
    pub const ANY: Self = Self(0);

    /// Adds one payload type; values above 127 do not exist on the wire and are ignored.
    #[must_use]
    pub fn with(self, payload_type: u8) -> Self {
        if payload_type > 127 { self } else { Self(self.0 | 1 << payload_type) }
    }
}

impl FromIterator<u8> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = u8>>(types: I) -> Self {
        types.into_iter().fold(Self::ANY, Self::with)
    }
}

/// One side of a media path, as the caller wants it.
#[derive(Clone, Debug)]
pub struct LegSpec {
    /// Where media for this leg arrives: one of our own addresses and a port that no other leg uses.
    pub local: SocketAddr,
    /// Where the other side says that it is. `None` while it has not said; then media towards this leg waits for
    /// its first packet. Port 0 says that the address is known and the port is not yet: the leg admits the first
    /// packet from there that looks right, whichever its policy, and nothing is sent before the port is known.
    pub remote: Option<SocketAddr>,
    /// Who may send to this leg.
    pub source: SourcePolicy,
    /// What the leg carries.
    pub media: MediaKind,
    /// The SSRC that a learned source must carry, where signalling told it.
    pub ssrc: Option<u32>,
    /// The RTP payload types that a learned source must carry.
    pub payload_types: PayloadTypes,
}

/// A direction of media: what arrives on one leg leaves by another. Indexes are into [`Plan::legs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The leg that receives.
    pub ingress: usize,
    /// The leg that sends.
    pub egress: usize,
}

/// Legs and streams that are installed together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The legs.
    pub legs: Vec<LegSpec>,
    /// The directions between them; a leg without a stream swallows what it admits.
    pub streams: Vec<StreamSpec>,
}

/// Who forwards the packets of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// The XDP program, in the mode of the interface that they arrive on.
    #[default]
    Xdp,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdp => "xdp",
        })
    }
}

/// What the kernel counted for one leg. All counters start at zero when the leg is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegStatistics {
    /// Packets that arrived for this leg, whatever became of them.
    pub received: u64,
    /// Bytes of those packets, from the Ethernet header to the end of the frame.
    pub received_bytes: u64,
    /// Of those, the packets that were sent on.
    pub forwarded: u64,
    /// Packets that left towards this leg's remote side.
    pub sent: u64,
    /// Bytes of those packets.
    pub sent_bytes: u64,
    /// Packets that arrived for this leg and were dropped, by reason (the name of the drop reason, and the count);
    /// only reasons that occurred.
    pub dropped: Vec<(&'static str, u64)>,
    /// How long no packet was admitted on this leg, as far as it was looked at: it is as exact as statistics are read
    /// often. Counts from the installation while there was none.
    pub idle: Duration,
    /// The source that the leg admits now: told or learned.
    pub source: Option<SocketAddr>,
    /// Where media for this leg's remote side is sent now.
    pub remote: Option<SocketAddr>,
    /// Who forwards its packets.
    pub path: Path,
}
