//! One medium of a session: what both sides said of it, the ports that it holds, and the legs that follow from both.
//! Pure: it says which legs should exist; `core` makes them so.

use std::net::SocketAddr;

use relay_user::{LegSpec, MediaKind, PayloadTypes, RtcpMode, SourcePolicy, StreamSpec, Tags};

use super::report::LegReport;
use super::{LegPolicy, MediaLine, PortPair, Side};

/// One medium.
#[derive(Debug)]
pub(super) struct Medium<L> {
    /// The pairs that face the caller and the callee; taken when the medium is first offered.
    pub(super) ports: Option<Ports>,
    /// What both sides said when they last agreed.
    pub(super) agreed: Option<Agreement>,
    /// The legs that are installed.
    pub(super) legs: Vec<Leg<L>>,
    /// What legs counted that this medium had earlier.
    pub(super) retired: Vec<LegReport>,
}

/// The pairs of one medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) caller: PortPair,
    pub(super) callee: PortPair,
}

/// What decides about legs beside the agreement: the configuration, and the networks of the sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) policy: LegPolicy,
    pub(super) caller_vlan: Tags,
    pub(super) callee_vlan: Tags,
}

/// What both sides said of one medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) caller: MediaLine,
    pub(super) callee: MediaLine,
}

/// A leg that should exist or does.
#[derive(Clone, Debug)]
pub(super) struct WantedLeg {
    pub(super) side: Side,
    pub(super) spec: LegSpec,
}

/// An installed leg.
#[derive(Clone, Debug)]
pub(super) struct Leg<L> {
    pub(super) id: L,
    pub(super) wanted: WantedLeg,
}

/// How the legs that exist become the legs that should.
#[derive(Debug)]
pub(super) enum Change {
    /// They are the same.
    Nothing,
    /// They are the same but for where the sides are: by index of the leg, the new address.
    Readdress(Vec<(usize, Option<SocketAddr>)>),
    /// They must be taken down, if there are any, and others put up, if any.
    Replace(Vec<WantedLeg>),
}

impl Ports {
    pub(super) fn of(self, side: Side) -> PortPair {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }
}

impl Agreement {
    fn of(&self, side: Side) -> &MediaLine {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// Whether both sides take part.
    pub(super) fn is_active(&self) -> bool {
        !self.caller.rejected && !self.callee.rejected
    }

    /// Whether a side said that nobody is to send.
    pub(super) fn is_silent(&self) -> bool {
        self.caller.silent || self.callee.silent
    }
}

impl<L> Default for Medium<L> {
    fn default() -> Self {
        Self { ports: None, agreed: None, legs: Vec::new(), retired: Vec::new() }
    }
}

impl<L> Medium<L> {
    /// What has to change for the agreement to come true.
    pub(super) fn change(&self, agreement: &Agreement, rules: &Rules) -> Change {
        let wanted = self.wanted(agreement, rules);
        let same_legs = wanted.len() == self.legs.len()
            && wanted.iter().zip(&self.legs).all(|(wanted, leg)| is_same_leg(&wanted.spec, &leg.wanted.spec));
        if !same_legs {
            return Change::Replace(wanted);
        }
        let moved: Vec<_> = (0..)
            .zip(wanted.iter().zip(&self.legs))
            .filter(|(_, (wanted, leg))| wanted.spec.remote != leg.wanted.spec.remote)
            .map(|(index, (wanted, _))| (index, wanted.spec.remote))
            .collect();
        if moved.is_empty() { Change::Nothing } else { Change::Readdress(moved) }
    }

    /// The legs that the agreement asks for, in pairs: caller, callee; RTP before RTCP. A kind whose address one side
    /// has not told has no legs unless the policy is to learn addresses: nobody could be admitted.
    pub(super) fn wanted(&self, agreement: &Agreement, rules: &Rules) -> Vec<WantedLeg> {
        let Some(ports) = self.ports.filter(|_| agreement.is_active()) else {
            return Vec::new();
        };
        let muxed = agreement.caller.rtcp_mux && agreement.callee.rtcp_mux;
        let kinds: &[MediaKind] =
            if muxed { &[MediaKind::Muxed] } else { &[MediaKind::Rtp, MediaKind::Rtcp] };
        let mut wanted = Vec::new();
        for &kind in kinds {
            let pair = [Side::Caller, Side::Callee].map(|side| self.leg(agreement, ports, side, kind, rules));
            if rules.policy.source == SourcePolicy::Learn || pair.iter().all(|leg| leg.spec.remote.is_some())
            {
                wanted.extend(pair);
            }
        }
        wanted
    }

    fn leg(
        &self,
        agreement: &Agreement,
        ports: Ports,
        side: Side,
        kind: MediaKind,
        rules: &Rules,
    ) -> WantedLeg {
        let (policy, line, pair) = (rules.policy, agreement.of(side), ports.of(side));
        let rtcp = matches!(kind, MediaKind::Rtcp);
        let local = if rtcp { pair.rtcp() } else { pair.rtp() };
        let told = if rtcp { line.rtcp } else { line.remote };
        // A side on hold tells no address; it is still where it was.
        let before = self.legs.iter().find(|leg| leg.wanted.spec.local == local);
        let remote = told.or_else(|| before.and_then(|leg| leg.wanted.spec.remote));
        let spec = LegSpec {
            remote,
            source: policy.source,
            media: kind,
            ssrc: line.ssrc.filter(|_| !rtcp),
            payload_types: if rtcp { PayloadTypes::ANY } else { admitted_types(agreement) },
            clock_rate: clock_rate(agreement).filter(|_| !rtcp),
            vlan: match side {
                Side::Caller => rules.caller_vlan,
                Side::Callee => rules.callee_vlan,
            },
            limit: policy.limit,
            quality: policy.quality && !rtcp,
            rtcp: if kind == MediaKind::Rtp { RtcpMode::Relay } else { policy.rtcp },
            relearn_after: policy.relearn_after.filter(|_| policy.source != SourcePolicy::Pinned),
            ..LegSpec::new(local)
        };
        WantedLeg { side, spec }
    }
}

/// Each side sends with the payload types that the other named (RFC 3264 section 5.1), and real ones with their own.
/// If either names none, all are admitted.
fn admitted_types(agreement: &Agreement) -> PayloadTypes {
    let (one, two) = (&agreement.caller.payload_types, &agreement.callee.payload_types);
    if one.is_empty() || two.is_empty() {
        return PayloadTypes::ANY;
    }
    one.iter().chain(two).copied().collect()
}

/// The clock rate of what is most likely sent: of the first payload type that both sides name.
fn clock_rate(agreement: &Agreement) -> Option<u32> {
    let (one, two) = (&agreement.caller, &agreement.callee);
    let common = one.clock_rates.iter().find(|(payload_type, _)| two.payload_types.contains(payload_type));
    common.or(one.clock_rates.first()).map(|(_, rate)| *rate)
}

/// Whether one becomes the other by a new remote address. What a source must look like matters only while it is to be
/// learned, and a pinned leg learns at most before its answer.
fn is_same_leg(one: &LegSpec, two: &LegSpec) -> bool {
    let same_look = one.ssrc == two.ssrc && one.payload_types == two.payload_types;
    one.local == two.local
        && one.media == two.media
        && one.source == two.source
        && one.clock_rate == two.clock_rate
        && (same_look || one.source == SourcePolicy::Pinned)
}

/// The streams between legs that come in pairs, both ways; `first` is the index of the first leg in the plan.
pub(super) fn streams(first: usize, legs: usize) -> impl Iterator<Item = StreamSpec> {
    (0..legs).map(move |leg| StreamSpec { ingress: first + leg, egress: first + (leg ^ 1) })
}
