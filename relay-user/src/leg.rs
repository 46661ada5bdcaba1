//! Legs as the caller describes them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::limit::RateLimit;
use crate::retag::RetagSpec;
use crate::vlan::Tags;

/// Names one installed leg: its place in the leg table, and which of the lives of that place it is. It stays the same
/// when the daemon restarts and adopts the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl LegId {
    /// As one number, for a store: the generation in the upper half, the place in the lower.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// From [`LegId::to_bits`]. Whether such a leg is installed is another question.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word are taken apart")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// A text that names no leg.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no leg; legs are named like 17.1, and `culvert status` lists them")]
pub struct ParseLegIdError(String);

impl std::str::FromStr for LegId {
    type Err = ParseLegIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('.').and_then(|(slot, generation)| {
            Some(Self { slot: slot.parse().ok()?, generation: generation.parse().ok()? })
        });
        parsed.ok_or_else(|| ParseLegIdError(text.to_owned()))
    }
}

/// Which source may send to a leg (`docs/architecture.md`, "Source policy").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourcePolicy {
    /// Address and port are told in advance: only [`LegSpec::remote`] may send.
    #[default]
    Pinned,
    /// The address is told, the port is learned from the first packet that looks right.
    LearnPort,
    /// Address and port are learned from the first packet that looks right.
    Learn,
}

/// What a leg carries: decides what "looks right" means while its source is still to be learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaKind {
    /// RTP only (RFC 3550 section 5.1).
    #[default]
    Rtp,
    /// RTCP only (RFC 3550 section 6).
    Rtcp,
    /// RTP and RTCP on one port (RFC 5761).
    Muxed,
}

/// What becomes of RTCP that arrives on a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcpMode {
    /// It goes the way of the media.
    #[default]
    Relay,
    /// It ends here: the relay answers with receiver reports of its own and translates sender reports. A leg of RTCP
    /// alone speaks for the leg one port below (RFC 3550 section 11).
    Terminate,
}

/// Whether a leg has its local address and port to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// It has.
    #[default]
    Alone,
    /// The leg is the shared port itself: it has neither remote side nor stream, and what arrives is told apart by the
    /// legs that share it. What none of them claims is dropped, counted here, and reported with its source and SSRC.
    Port,
    /// The leg is one of those on a shared port: packets with [`LegSpec::ssrc`] are its own.
    BySsrc,
    /// The leg is one of those on a shared port: packets from [`LegSpec::remote`] are its own, whatever their SSRC,
    /// and also where another leg claims that.
    BySource,
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

/// One side of a media path, as the caller wants it. [`LegSpec::new`] has the defaults; the methods named like fields
/// set them one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// Where media for this leg arrives: one of our own addresses and a port that no other leg uses, unless it is
    /// shared.
    pub local: SocketAddr,
    /// Where the other side says that it is, of the same family as `local`. `None` while it has not said; then media
    /// towards this leg waits for its first packet. Port 0 says that the address is known and the port is not yet: the
    /// leg admits the first packet from there that looks right, whichever its policy, and nothing is sent before the
    /// port is known.
    pub remote: Option<SocketAddr>,
    /// Who may send to this leg.
    pub source: SourcePolicy,
    /// What the leg carries.
    pub media: MediaKind,
    /// The SSRC that a learned source must carry, where signalling told it.
    pub ssrc: Option<u32>,
    /// The RTP payload types that a learned source must carry.
    pub payload_types: PayloadTypes,
    /// Clock rate of the RTP timestamps in Hz, where signalling told it (the number after the codec's name in SDP's
    /// `rtpmap`).
    pub clock_rate: Option<u32>,
    /// Tags of frames towards the remote side. [`Tags::NONE`] leaves them to the device that the route names. What
    /// arrives may be tagged in any way.
    pub vlan: Tags,
    /// How packets towards the remote side are changed.
    pub retag: Option<RetagSpec>,
    /// How much is admitted.
    pub limit: Option<RateLimit>,
    /// Whether the kernel measures loss, reordering, duplicates and jitter of what arrives.
    pub quality: bool,
    /// What becomes of RTCP that arrives.
    pub rtcp: RtcpMode,
    /// After this time without an admitted packet, a learned source is forgotten and the next that looks right is
    /// learned. At least [`SHORTEST_RELEARN`], and only for policies that learn. `None`: never.
    pub relearn_after: Option<Duration>,
    /// Whether the local address and port are shared.
    pub shared: Sharing,
    /// Whether what arrives is sent on by user space ([`crate::Path::AfXdp`]) instead of the XDP program: several times
    /// slower, and otherwise the same.
    pub punted: bool,
    /// A number of the caller's own that stays with the leg, also when it is adopted after a restart.
    pub owner: u64,
}

/// The shortest time after which a source may be learned anew: legs are looked at once a second.
pub const SHORTEST_RELEARN: Duration = Duration::from_secs(1);

impl LegSpec {
    /// A pinned leg that receives RTP at `local`; its remote side is still to be set. Nothing is told, changed, limited
    /// or measured.
    pub fn new(local: SocketAddr) -> Self {
        Self {
            local,
            remote: None,
            source: SourcePolicy::default(),
            media: MediaKind::default(),
            ssrc: None,
            payload_types: PayloadTypes::ANY,
            clock_rate: None,
            vlan: Tags::NONE,
            retag: None,
            limit: None,
            quality: false,
            rtcp: RtcpMode::default(),
            relearn_after: None,
            shared: Sharing::default(),
            punted: false,
            owner: 0,
        }
    }

    /// A port that many sources share: see [`Sharing::Port`].
    pub fn shared_port(local: SocketAddr) -> Self {
        Self { source: SourcePolicy::Learn, media: MediaKind::Muxed, ..Self::new(local) }
            .shared(Sharing::Port)
    }
}

/// Methods that set one field each.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty => $value:expr;)+) => {
        impl LegSpec {
            $($(#[$doc])*
            #[must_use]
            pub fn $field(self, $field: $type) -> Self {
                Self { $field: $value, ..self }
            })+
        }
    };
}

setters! {
    /// The other side is here.
    remote: SocketAddr => Some(remote);
    /// Who may send to this leg.
    source: SourcePolicy => source;
    /// What the leg carries.
    media: MediaKind => media;
    /// The SSRC that a learned source must carry.
    ssrc: u32 => Some(ssrc);
    /// The RTP payload types that a learned source must carry.
    payload_types: PayloadTypes => payload_types;
    /// Clock rate of the RTP timestamps, in Hz.
    clock_rate: u32 => Some(clock_rate);
    /// Tags of frames towards the remote side.
    vlan: Tags => vlan;
    /// How packets towards the remote side are changed.
    retag: RetagSpec => Some(retag);
    /// How much is admitted.
    limit: RateLimit => Some(limit);
    /// Whether the kernel measures the quality of what arrives.
    quality: bool => quality;
    /// What becomes of RTCP that arrives.
    rtcp: RtcpMode => rtcp;
    /// When a learned source is forgotten.
    relearn_after: Duration => Some(relearn_after);
    /// Whether the local address and port are shared.
    shared: Sharing => shared;
    /// Whether user space sends on what arrives.
    punted: bool => punted;
    /// A number of the caller's own.
    owner: u64 => owner;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_is_named_by_its_place_and_life() {
        let id = LegId { slot: 17, generation: 3 };
        assert_eq!(id.to_string(), "17.3");
        assert_eq!("17.3".parse(), Ok(id));
        assert_eq!(LegId::from_bits(id.to_bits()), id);
        for wrong in ["", "17", "17.", ".3", "17.3.1", "-1.2", "x.y"] {
            let error = wrong.parse::<LegId>().unwrap_err();
            assert!(error.to_string().contains("culvert status"), "{error}");
        }
    }
}
