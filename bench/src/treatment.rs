//! What the relay does to packets beyond giving them new addresses: each option on its own, so that it can be said what
//! it costs.

use relay_user::{Continuity, LegSpec, RateLimit, RetagSpec, Tag, Tags};

use crate::packet::{RtpHeader, Template};
use crate::programs::Role;
use crate::wire::{self, Ends, Family};

/// The VLAN that tagged packets leave in.
const VLAN: u16 = 7;
/// What RTP headers become.
const RETAGGED: RtpHeader =
    RtpHeader { payload_type: 97, sequence: 0x1235, timestamp_offset: 0x0001_0000, ssrc: 0x7000_0000 };
/// More than any generator sends.
const LIMIT: RateLimit = RateLimit {
    bits_per_second: Some(100_000_000_000),
    packets_per_second: Some(100_000_000),
    burst: RateLimit::DEFAULT_BURST,
};

/// One way to treat packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// New addresses, nothing else, IPv4.
    Plain,
    /// The same with IPv6.
    Ipv6,
    /// From IPv4 to IPv6.
    ToIpv6,
    /// SSRC, payload type, and offsets of sequence number and timestamp.
    Retag,
    /// An 802.1Q tag is pushed.
    Vlan,
    /// Loss, reordering, duplicates and jitter are measured.
    Quality,
    /// Bits and packets a second are limited.
    Police,
    /// User space sends them on, over AF_XDP.
    Punt,
}

impl Treatment {
    /// What the XDP program does beside, or instead of, plain forwarding.
    pub(crate) const OPTIONS: [Self; 6] =
        [Self::Ipv6, Self::Retag, Self::Quality, Self::Police, Self::Vlan, Self::ToIpv6];

    /// Its name in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ipv6 => "ipv6",
            Self::ToIpv6 => "to_ipv6",
            Self::Retag => "retag",
            Self::Vlan => "vlan",
            Self::Quality => "quality",
            Self::Police => "police",
            Self::Punt => "punt",
        }
    }

    /// The generator for its packets.
    pub(crate) fn generator(self) -> Role {
        if self == Self::Ipv6 { Role::GenerateIpv6 } else { Role::Generate }
    }

    /// The program that hands the same of its packets to a program again and again.
    pub(crate) fn repeater(self) -> Role {
        if self == Self::Ipv6 { Role::AgainIpv6 } else { Role::Again }
    }

    /// The sink for its packets.
    pub(crate) fn sink(self) -> Role {
        match self {
            Self::Ipv6 | Self::ToIpv6 => Role::CountIpv6,
            Self::Vlan => Role::CountTagged,
            Self::Plain | Self::Retag | Self::Quality | Self::Police | Self::Punt => Role::Count,
        }
    }

    /// What the camera sends.
    pub(crate) fn sends(self) -> Template {
        wire::from_camera(if self == Self::Ipv6 { Family::V6 } else { Family::V4 })
    }

    /// What has to arrive.
    pub(crate) fn delivers(self) -> Template {
        match self {
            Self::Plain | Self::Quality | Self::Police | Self::Punt => wire::to_viewer(Family::V4),
            Self::Ipv6 | Self::ToIpv6 => wire::to_viewer(Family::V6),
            Self::Retag => Template { rtp: RETAGGED, ..wire::to_viewer(Family::V4) },
            Self::Vlan => Template { vlan: Some(VLAN), ..wire::to_viewer(Family::V4) },
        }
    }

    /// The legs of a flow, the camera's and the viewer's.
    pub(crate) fn legs(self, flow: u32) -> [LegSpec; 2] {
        let camera = |family| leg(wire::camera_ends(family, flow));
        let viewer = |family| leg(wire::viewer_ends(family, flow));
        let (camera4, viewer4) = (camera(Family::V4), viewer(Family::V4));
        match self {
            Self::Plain => [camera4, viewer4],
            Self::Ipv6 => [camera(Family::V6), viewer(Family::V6)],
            Self::ToIpv6 => [camera4, viewer(Family::V6)],
            Self::Retag => [camera4, viewer4.retag(retag(flow))],
            Self::Vlan => [camera4, viewer4.vlan(Tags::one(Tag::vlan(VLAN)))],
            Self::Quality => [camera4.quality(true), viewer4],
            Self::Police => [camera4.limit(LIMIT), viewer4],
            Self::Punt => [camera4.punted(true), viewer4],
        }
    }
}

/// A leg that admits exactly its remote side.
fn leg(ends: Ends) -> LegSpec {
    LegSpec::new(ends.relay).remote(ends.terminal)
}

/// From what the generator sends to [`RETAGGED`].
fn retag(flow: u32) -> RetagSpec {
    let sent = RtpHeader::SENT;
    let continuity = Continuity::Offset {
        sequence: RETAGGED.sequence.wrapping_sub(sent.sequence),
        timestamp: RETAGGED.timestamp_offset,
    };
    RetagSpec::default()
        .ssrc(RETAGGED.ssrc + wire::ssrc(flow))
        .payload_type(sent.payload_type, RETAGGED.payload_type)
        .continuity(continuity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sink_expects_what_the_legs_are_told() {
        let [_, viewer] = Treatment::Retag.legs(3);
        let told = viewer.retag.unwrap();
        let expected = Treatment::Retag.delivers().rtp;
        assert_eq!(told.ssrc, Some(expected.ssrc + 3));
        assert_eq!(told.payload_types, [(RtpHeader::SENT.payload_type, expected.payload_type)]);
        let [_, viewer] = Treatment::Vlan.legs(0);
        assert_eq!(viewer.vlan, Tags::one(Tag::vlan(Treatment::Vlan.delivers().vlan.unwrap())));
    }

    #[test]
    fn every_template_can_be_built() {
        for treatment in Treatment::OPTIONS.into_iter().chain([Treatment::Plain, Treatment::Punt]) {
            for template in [treatment.sends(), treatment.delivers()] {
                assert!(template.headers(152).is_ok(), "{treatment:?}");
            }
        }
    }
}
