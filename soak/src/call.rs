//! Calls between the terminals: every kind that the data plane has, chosen at random.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use relay_user::{
    Continuity, LegId, LegSpec, MediaKind, Plan, RateLimit, RetagSpec, SourcePolicy, StreamSpec, Tag, Tags,
};
use testbed::{Side, Topology};

use crate::random::Random;
use crate::traffic::ends;

/// Ports of the relay, on each of its addresses, that calls may have; as many above them are for second cameras.
pub(crate) const PORTS: u16 = 16;
/// Ports of a terminal that it sends from.
pub(crate) const SOURCES: u16 = 4;

/// The relay's port of this number.
pub(crate) const fn local_port(number: u16) -> u16 {
    30_000 + number
}

/// The terminal's port of this number.
pub(crate) const fn source_port(number: u16) -> u16 {
    5_004 + number
}

/// An installed call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Its port number, on both sides.
    pub(crate) port: u16,
    /// The camera's leg, the viewer's, and that of a second camera, which the viewer may be switched to.
    pub(crate) legs: [LegId; 3],
    /// Whether the viewer sees the second camera.
    pub(crate) switched: bool,
    /// Where the terminals of the legs are.
    pub(crate) terminals: [IpAddr; 3],
}

/// What to install for a call on this port, and where its terminals are.
pub(crate) fn plan(port: u16, random: &mut Random) -> (Plan, [IpAddr; 3]) {
    let (camera, at_camera) = leg(Topology::CAMERA, port, random);
    let (viewer, at_viewer) = leg(Topology::VIEWER, port, random);
    let (second, at_second) = leg(Topology::CAMERA, PORTS + port, random);
    let streams = vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }];
    (Plan { legs: vec![camera, viewer, second], streams }, [at_camera, at_viewer, at_second])
}

fn leg(side: Side, port: u16, random: &mut Random) -> (LegSpec, IpAddr) {
    let (terminal, relay) = ends(side)[random.below(2)];
    let mut spec = LegSpec::new(SocketAddr::new(relay, local_port(port)))
        .remote(SocketAddr::new(terminal, source_port(0)))
        .media(MediaKind::Muxed)
        .owner(u64::from(port));
    spec = match random.below(3) {
        0 => spec,
        1 => spec.source(SourcePolicy::LearnPort),
        _ => spec.source(SourcePolicy::Learn).relearn_after(Duration::from_secs(1)),
    };
    if random.one(2) {
        spec = spec.quality(true).clock_rate(90_000);
    }
    if random.one(2) {
        let retag = RetagSpec::default().ssrc(random.word()).payload_type(96, 97);
        let shift = Continuity::Offset { sequence: 1_000, timestamp: random.word() };
        spec = spec.retag(if random.one(2) { retag.continuity(shift) } else { retag.dscp(46) });
        // Beside it, RTCP would go through user space, which these books do not follow over a restart.
        spec = spec.media(MediaKind::Rtp);
    }
    if random.one(4) {
        spec = spec.limit(RateLimit::packets(20).burst(Duration::from_millis(200)));
    }
    if random.one(8) {
        spec = spec.vlan(Tags::one(Tag::vlan(100)));
    }
    (spec, terminal)
}
