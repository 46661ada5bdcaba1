//! What is remembered of a leg in a map that outlives the process, so that the next one can go on with it. Knows the
//! description of a leg and its record; which legs there are, `state` knows.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use relay_common::byte_order::Be32;
use relay_common::ledger::{
    Endpoint, Ledger, RETAG_CONTINUE, RETAG_DSCP, RETAG_OFFSET, RETAG_PAYLOAD_TYPES, RETAG_SSRC, RETAGGED,
    USED,
};
use relay_common::leg::Traffic;
use relay_common::retag::PayloadMap;

use crate::leg::{LegSpec, MediaKind, PayloadTypes, RtcpMode, Sharing, SourcePolicy};
use crate::limit::RateLimit;
use crate::retag::{Continuity, RetagSpec};
use crate::vlan::Tags;

const POLICIES: [SourcePolicy; 3] = [SourcePolicy::Pinned, SourcePolicy::LearnPort, SourcePolicy::Learn];
const MEDIA: [MediaKind; 3] = [MediaKind::Rtp, MediaKind::Rtcp, MediaKind::Muxed];
const SHARING: [Sharing; 4] = [Sharing::Alone, Sharing::Port, Sharing::BySsrc, Sharing::BySource];
const RTCP: [RtcpMode; 2] = [RtcpMode::Relay, RtcpMode::Terminate];

/// What there is to remember of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) spec: LegSpec,
    /// When it was installed, nanoseconds of CLOCK_BOOTTIME.
    pub(crate) created: u64,
    /// Where its remote side is: told at first, learned later.
    pub(crate) remote: Option<SocketAddr>,
    /// Slot of the leg that sends on what arrives on it.
    pub(crate) egress: Option<u32>,
    /// Next hop towards its remote side.
    pub(crate) hop: Option<u32>,
    /// Number of its table of payload types; 0 for none.
    pub(crate) payload_map: u16,
    /// Number of the shared port that it is, or belongs to; 0 for none.
    pub(crate) group: u16,
    /// What left here and came from legs that lead elsewhere now.
    pub(crate) sent_before: Traffic,
    /// What had been counted here when `egress` began to send it on.
    pub(crate) sent_elsewhere: Traffic,
    /// How often the admitted source changed.
    pub(crate) source_changes: u64,
}

impl Remembered {
    /// The record.
    pub(crate) fn record(&self) -> Ledger {
        let spec = &self.spec;
        let limit = spec.limit;
        let record = Ledger {
            owner: spec.owner,
            created: self.created,
            payload_types: halves(spec.payload_types.0),
            relearn_after: spec.relearn_after.map_or(0, nanoseconds),
            limit_bits: limit.and_then(|limit| limit.bits_per_second).unwrap_or(0),
            limit_burst: limit.map_or(0, |limit| nanoseconds(limit.burst)),
            limit_packets: limit.and_then(|limit| limit.packets_per_second).unwrap_or(0),
            state: USED,
            local: endpoint(Some(spec.local)),
            told: endpoint(spec.remote),
            remote: endpoint(self.remote),
            policy: number(&POLICIES, spec.source),
            media: number(&MEDIA, spec.media),
            sharing: number(&SHARING, spec.shared),
            group: self.group.into(),
            sent_before: self.sent_before,
            sent_elsewhere: self.sent_elsewhere,
            source_changes: self.source_changes,
            rtcp: number(&RTCP, spec.rtcp),
            quality: spec.quality.into(),
            punted: spec.punted.into(),
            ssrc_told: spec.ssrc.is_some().into(),
            ssrc: spec.ssrc.unwrap_or(0),
            clock_rate: spec.clock_rate.unwrap_or(0),
            tags: spec.vlan.wire().map(Be32::get),
            egress: self.egress.unwrap_or(0),
            next_hop: self.hop.unwrap_or(0),
            ..Ledger::default()
        };
        spec.retag.as_ref().map_or(record, |retag| with_retag(record, retag, self.payload_map))
    }

    /// What a record says; `None` if the slot is free, or the record makes no sense. `map` reads a table of payload
    /// types.
    pub(crate) fn from_record(record: &Ledger, map: impl FnOnce(u16) -> Option<PayloadMap>) -> Option<Self> {
        if record.state != USED {
            return None;
        }
        let value = |found: u64| (found != 0).then_some(found);
        let limit = value(record.limit_burst).map(|burst| RateLimit {
            bits_per_second: value(record.limit_bits),
            packets_per_second: (record.limit_packets != 0).then_some(record.limit_packets),
            burst: Duration::from_nanos(burst),
        });
        let [low, high] = record.payload_types.map(u128::from);
        let spec = LegSpec {
            local: socket_address(record.local)?,
            remote: socket_address(record.told),
            source: *POLICIES.get(record.policy as usize)?,
            media: *MEDIA.get(record.media as usize)?,
            ssrc: (record.ssrc_told != 0).then_some(record.ssrc),
            payload_types: PayloadTypes(high << 64 | low),
            clock_rate: (record.clock_rate != 0).then_some(record.clock_rate),
            vlan: Tags::from_words(record.tags),
            retag: retag(record, map),
            limit,
            quality: record.quality != 0,
            punted: record.punted != 0,
            rtcp: *RTCP.get(record.rtcp as usize)?,
            relearn_after: value(record.relearn_after).map(Duration::from_nanos),
            shared: *SHARING.get(record.sharing as usize)?,
            owner: record.owner,
        };
        Some(Self {
            spec,
            created: record.created,
            remote: socket_address(record.remote),
            egress: (record.egress != 0).then_some(record.egress),
            hop: (record.next_hop != 0).then_some(record.next_hop),
            payload_map: u16::try_from(record.retag_payload_map).ok()?,
            group: u16::try_from(record.group).ok()?,
            sent_before: record.sent_before,
            sent_elsewhere: record.sent_elsewhere,
            source_changes: record.source_changes,
        })
    }
}

/// Nanoseconds of CLOCK_BOOTTIME: goes on while the machine sleeps, and means the same to the next process.
pub(crate) fn boot_time() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives through the call, which fills it.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let [seconds, rest] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + rest
}

/// An address in network order, IPv4 mapped into IPv6.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address of [`octets`].
pub(crate) fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

fn endpoint(address: Option<SocketAddr>) -> Endpoint {
    address.map_or_else(Endpoint::default, |told| Endpoint {
        address: octets(told.ip()),
        port: told.port(),
        known: 1,
    })
}

fn socket_address(endpoint: Endpoint) -> Option<SocketAddr> {
    (endpoint.known != 0).then(|| SocketAddr::new(address(endpoint.address), endpoint.port))
}

fn number<T: PartialEq + Copy>(values: &[T], value: T) -> u32 {
    let at = values.iter().position(|known| *known == value).unwrap_or(0);
    u32::try_from(at).unwrap_or(0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a word is taken apart")]
fn halves(word: u128) -> [u64; 2] {
    [word as u64, (word >> 64) as u64]
}

fn with_retag(record: Ledger, spec: &RetagSpec, payload_map: u16) -> Ledger {
    let (continuity, sequence, timestamp) = match spec.continuity {
        Continuity::Keep => (0, 0, 0),
        Continuity::Offset { sequence, timestamp } => (RETAG_OFFSET, sequence, timestamp),
        Continuity::Continue => (RETAG_CONTINUE, 0, 0),
    };
    let flag = |set: bool, flag| if set { flag } else { 0 };
    Ledger {
        retag: RETAGGED
            | continuity
            | flag(spec.ssrc.is_some(), RETAG_SSRC)
            | flag(spec.dscp.is_some(), RETAG_DSCP)
            | flag(payload_map != 0, RETAG_PAYLOAD_TYPES),
        retag_ssrc: spec.ssrc.unwrap_or(0),
        retag_sequence: sequence.into(),
        retag_timestamp: timestamp,
        retag_dscp: spec.dscp.unwrap_or(0).into(),
        retag_payload_map: payload_map.into(),
        ..record
    }
}

fn retag(record: &Ledger, map: impl FnOnce(u16) -> Option<PayloadMap>) -> Option<RetagSpec> {
    let has = |flag| record.retag & flag != 0;
    let number = u16::try_from(record.retag_payload_map).ok().filter(|_| has(RETAG_PAYLOAD_TYPES));
    let map = number.and_then(map);
    let pairs = map.iter().flatten().zip(0_u8..).map(|(to, from)| (from, *to));
    has(RETAGGED).then(|| RetagSpec {
        ssrc: has(RETAG_SSRC).then_some(record.retag_ssrc),
        payload_types: pairs.filter(|(from, to)| from != to).collect(),
        continuity: if has(RETAG_OFFSET) {
            let sequence = u16::try_from(record.retag_sequence).unwrap_or(0);
            Continuity::Offset { sequence, timestamp: record.retag_timestamp }
        } else if has(RETAG_CONTINUE) {
            Continuity::Continue
        } else {
            Continuity::Keep
        },
        dscp: has(RETAG_DSCP).then(|| u8::try_from(record.retag_dscp).ok()).flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlan::Tag;

    fn remembered(spec: LegSpec) -> Remembered {
        Remembered {
            spec,
            created: 7,
            remote: None,
            egress: None,
            hop: None,
            payload_map: 0,
            group: 4095,
            sent_before: Traffic { packets: 1, bytes: 2 },
            sent_elsewhere: Traffic { packets: 3, bytes: 4 },
            source_changes: 5,
        }
    }

    fn survives(leg: &Remembered, map: Option<PayloadMap>) {
        assert_eq!(Remembered::from_record(&leg.record(), |_| map).as_ref(), Some(leg));
    }

    #[test]
    fn nothing_of_a_leg_is_forgotten() {
        let local = "10.0.0.1:4000".parse().unwrap();
        survives(&remembered(LegSpec::new(local)), None);
        let spec = LegSpec::new("[2001:db8::1]:4000".parse().unwrap())
            .remote("[2001:db8::2]:0".parse().unwrap())
            .source(SourcePolicy::Learn)
            .media(MediaKind::Muxed)
            .ssrc(0)
            .payload_types(PayloadTypes::ANY.with(0).with(127))
            .clock_rate(90_000)
            .vlan(Tags::two(Tag::service(100), Tag { priority: 5, ..Tag::vlan(7) }))
            .limit(RateLimit::bits(8_000_000).burst(Duration::from_millis(20)))
            .quality(true)
            .punted(true)
            .rtcp(RtcpMode::Terminate)
            .relearn_after(Duration::from_secs(5))
            .shared(Sharing::BySource)
            .owner(u64::MAX);
        let remote = Some("[2001:db8::2]:5004".parse().unwrap());
        survives(&Remembered { remote, egress: Some(9), hop: Some(3), ..remembered(spec) }, None);
    }

    #[test]
    fn retagging_is_remembered() {
        let leg = |retag| remembered(LegSpec::new("10.0.0.1:4000".parse().unwrap()).retag(retag));
        survives(&leg(RetagSpec::default().ssrc(0).dscp(0)), None);
        survives(&leg(RetagSpec::default().continuity(Continuity::Continue)), None);
        let offset = Continuity::Offset { sequence: u16::MAX, timestamp: u32::MAX };
        survives(&leg(RetagSpec::default().continuity(offset)), None);
        let mut map: PayloadMap = std::array::from_fn(|at| u8::try_from(at).unwrap());
        map[96] = 98;
        let leg = leg(RetagSpec::default().payload_type(96, 98));
        survives(&Remembered { payload_map: 17, ..leg }, Some(map));
    }

    #[test]
    fn a_record_that_makes_no_sense_is_no_leg() {
        let good = remembered(LegSpec::new("10.0.0.1:4000".parse().unwrap())).record();
        for bad in [
            Ledger { state: 0, ..good },
            Ledger { policy: 3, ..good },
            Ledger { media: 3, ..good },
            Ledger { sharing: 4, ..good },
            Ledger { local: Endpoint::default(), ..good },
        ] {
            assert_eq!(Remembered::from_record(&bad, |_| None), None, "{bad:?}");
        }
    }
}
