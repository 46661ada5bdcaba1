//! What a leg that the caller described looks like in the kernel's records. Nothing is written here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::{self as record, Addresses6, Admission, LegKey, Source};
use relay_common::limits::LEAST_BURST_NS;
use relay_common::police::{BYTE_COST_UNIT, Police};
use relay_common::quality::Quality;
use relay_common::retag::{self, Offsets, PAYLOAD_TYPES, PayloadMap, Retag};

use crate::leg::{LegSpec, MediaKind, Sharing, SourcePolicy};
use crate::leg_table::Place;
use crate::limit::RateLimit;
use crate::retag::{Continuity, RetagSpec};

const SECOND_NS: u64 = 1_000_000_000;

/// What finds a leg; `group` is the number of its shared port.
pub(crate) fn place(spec: &LegSpec, group: u16) -> Place {
    let home = match spec.local.ip() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let (key, address) = match spec.shared {
        Sharing::Alone | Sharing::Port => match spec.local.ip() {
            IpAddr::V4(address) => (LegKey::new(wire(address), port(spec.local)), None),
            IpAddr::V6(address) => (LegKey::v6(&wire6(address), port(spec.local)), Some(address)),
        },
        Sharing::BySsrc => (LegKey::ssrc(group, Be32::new(spec.ssrc.unwrap_or_default())), None),
        Sharing::BySource => {
            let remote = spec.remote.unwrap_or(spec.local);
            let address = match remote.ip() {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            };
            (LegKey::source(group, source_of(remote)), address)
        }
    };
    Place { key, address: address.map(wire6).unwrap_or_default(), home }
}

/// The rest of a leg that is not in its fast record; `next` and `generation` are the table's.
pub(crate) fn admission(spec: &LegSpec, has_stream: bool) -> Admission {
    let mut flags = match spec.media {
        MediaKind::Rtp => record::RTP,
        MediaKind::Rtcp => record::RTCP,
        MediaKind::Muxed => record::RTP | record::RTCP,
    };
    let conditions = [
        (spec.source != SourcePolicy::Learn, record::ADDRESS_TOLD),
        (spec.ssrc.is_some(), record::SSRC_TOLD),
        (spec.payload_types.0 != 0 && Admission::can_tell(spec.payload_types.0), record::PAYLOAD_TYPES_TOLD),
        (has_stream, record::HAS_STREAM),
    ];
    for (holds, flag) in conditions {
        flags |= if holds { flag } else { 0 };
    }
    Admission {
        flags,
        address: spec.remote.map(|remote| address_word(remote.ip())).unwrap_or_default(),
        ssrc: Be32::new(spec.ssrc.unwrap_or_default()),
        payload_types: Admission::payload_type_words(spec.payload_types.0),
        ..Admission::default()
    }
}

/// The source that a leg admits before it has learned any.
pub(crate) fn told_source(spec: &LegSpec) -> Source {
    match (spec.source, spec.remote) {
        (SourcePolicy::Pinned, Some(told)) if told.port() != 0 => source_of(told),
        _ => Source::NONE,
    }
}

/// The IPv6 addresses that the caller told: our own, and that of the source. One that is to be learned is empty: the
/// kernel half takes any other for one that was learned.
pub(crate) fn addresses6(spec: &LegSpec) -> Addresses6 {
    let told = spec.remote.filter(|_| spec.source != SourcePolicy::Learn);
    Addresses6 { local: v6(spec.local), source: told.map(v6).unwrap_or_default(), ..Addresses6::default() }
}

/// A source that no packet to a leg of this address can have: it is of the other family.
pub(crate) fn nobody(local: SocketAddr) -> Source {
    let port = Be16::new(0);
    if local.is_ipv4() { Source::v6(&Ipv6::default(), port) } else { Source::new(Be32::new(0), port) }
}

/// The schedules of a limit. Ranges were checked with the plan.
pub(crate) fn police(limit: &RateLimit) -> Police {
    let cost = |unit: u64, rate: u64| u32::try_from(unit.div_ceil(rate.max(1))).unwrap_or(u32::MAX);
    let burst = u64::try_from(limit.burst.as_nanos()).unwrap_or(u64::MAX);
    Police {
        packet_cost: limit.packets_per_second.map_or(0, |rate| cost(SECOND_NS, u64::from(rate))),
        byte_cost: limit.bits_per_second.map_or(0, |rate| cost(8 * SECOND_NS * BYTE_COST_UNIT, rate)),
        burst: burst.max(LEAST_BURST_NS),
        ..Police::default()
    }
}

/// The empty measurement of a leg.
pub(crate) fn quality(spec: &LegSpec) -> Quality {
    Quality { tick: Quality::tick_of(spec.clock_rate.unwrap_or_default()), ..Quality::default() }
}

/// How packets are retagged from the first on; `payload_map` is the number of their table.
pub(crate) fn retag(spec: &RetagSpec, payload_map: u16, clock_rate: Option<u32>) -> Retag {
    let mut flags = 0;
    let conditions = [
        (spec.ssrc.is_some(), retag::SSRC),
        (!spec.payload_types.is_empty(), retag::PAYLOAD_TYPE),
        (spec.continuity != Continuity::Keep, retag::OFFSETS),
        (spec.dscp.is_some(), retag::DSCP),
    ];
    for (holds, flag) in conditions {
        flags |= if holds { flag } else { 0 };
    }
    let offsets = match spec.continuity {
        Continuity::Offset { sequence, timestamp } => Offsets::new(sequence, timestamp),
        Continuity::Keep | Continuity::Continue => Offsets::new(0, 0),
    };
    Retag {
        offsets: offsets.word(),
        ssrc: Be32::new(spec.ssrc.unwrap_or_default()),
        clock: clock_rate.unwrap_or_default(),
        payload_map,
        flags,
        dscp: spec.dscp.unwrap_or_default(),
        ..Retag::default()
    }
}

/// The table of a map of payload types.
pub(crate) fn payload_map(pairs: &[(u8, u8)]) -> PayloadMap {
    let mut map = [0; PAYLOAD_TYPES];
    for (payload_type, place) in (0..).zip(&mut map) {
        *place = payload_type;
    }
    for (from, to) in pairs {
        if let Some(place) = map.get_mut(usize::from(*from)) {
            *place = *to;
        }
    }
    map
}

/// An address and port as the source of packets.
pub(crate) fn source_of(address: SocketAddr) -> Source {
    match address.ip() {
        IpAddr::V4(ip) => Source::new(wire(ip), port(address)),
        IpAddr::V6(ip) => Source::v6(&wire6(ip), port(address)),
    }
}

/// The address and port of a source; `v6` is its whole address if it is of IPv6.
pub(crate) fn address_of(source: Source, v6: &Ipv6) -> Option<SocketAddr> {
    if source == Source::NONE {
        return None;
    }
    let ip = if source.is_v6() {
        IpAddr::from(v6.octets())
    } else {
        IpAddr::V4(Ipv4Addr::from(source.address_word().get()))
    };
    Some(SocketAddr::new(ip, source.port().get()))
}

/// An IPv4 address as it lies in the packet; zero for one of IPv6.
pub(crate) fn address_word(address: IpAddr) -> Be32 {
    match address {
        IpAddr::V4(address) => wire(address),
        IpAddr::V6(_) => Be32::default(),
    }
}

/// An IPv6 address as it lies in the packet; zero for one of IPv4.
pub(crate) fn v6(address: SocketAddr) -> Ipv6 {
    match address.ip() {
        IpAddr::V4(_) => Ipv6::default(),
        IpAddr::V6(address) => wire6(address),
    }
}

fn wire(address: Ipv4Addr) -> Be32 {
    Be32::new(address.to_bits())
}

fn wire6(address: Ipv6Addr) -> Ipv6 {
    Ipv6::from_octets(address.octets())
}

fn port(address: SocketAddr) -> Be16 {
    Be16::new(address.port())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spec(local: &str, remote: &str) -> LegSpec {
        LegSpec::new(local.parse().unwrap()).remote(remote.parse().unwrap())
    }

    #[test]
    fn sources_survive_their_word() {
        for text in ["10.0.0.2:5004", "[fd00::2]:5004"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(address_of(source_of(address), &v6(address)), Some(address));
        }
        assert_eq!(address_of(Source::NONE, &Ipv6::default()), None);
    }

    #[test]
    fn only_a_pinned_leg_with_a_port_admits_before_it_learns() {
        let pinned = spec("10.0.0.1:4000", "10.0.0.2:5004");
        assert_eq!(told_source(&pinned), source_of("10.0.0.2:5004".parse().unwrap()));
        assert_eq!(told_source(&pinned.clone().remote("10.0.0.2:0".parse().unwrap())), Source::NONE);
        assert_eq!(told_source(&pinned.source(SourcePolicy::LearnPort)), Source::NONE);
    }

    #[test]
    fn an_address_that_is_to_be_learned_is_empty() {
        let leg = spec("[fd00::1]:4000", "[fd00::2]:5004");
        assert_eq!(addresses6(&leg).source, v6("[fd00::2]:1".parse().unwrap()));
        assert_eq!(addresses6(&leg.clone().source(SourcePolicy::Learn)).source, Ipv6::default());
        assert_eq!(addresses6(&leg).local, v6("[fd00::1]:1".parse().unwrap()));
    }

    #[test]
    fn nobody_is_set_and_of_the_other_family() {
        for text in ["10.0.0.1:4000", "[fd00::1]:4000"] {
            let local: SocketAddr = text.parse().unwrap();
            assert!(nobody(local).is_set() && nobody(local).is_v6() == local.is_ipv4());
        }
    }

    #[test]
    fn legs_of_a_shared_port_have_places_of_their_own() {
        let by_ssrc = |ssrc| spec("10.0.0.1:4000", "10.0.0.2:1").shared(Sharing::BySsrc).ssrc(ssrc);
        let by_source = |remote| spec("[fd00::1]:4000", remote).shared(Sharing::BySource);
        let places = [
            place(&spec("10.0.0.1:4000", "10.0.0.2:1"), 0),
            place(&by_ssrc(1), 1),
            place(&by_ssrc(2), 1),
            place(&by_ssrc(1), 2),
            place(&by_source("[fd00::2]:1"), 1),
            // The fold of this address is that of the one before.
            place(&by_source("[fd00::1:0:1]:1"), 1),
        ];
        for (at, place) in places.iter().enumerate() {
            assert!(!places[..at].contains(place), "{at}");
        }
        assert_eq!(places[1].home, places[0].home, "they lie beside each other");
    }

    #[test]
    fn a_limit_admits_its_rate() {
        let limit = RateLimit::bits(8_000_000).burst(Duration::from_millis(100));
        let record = police(&limit);
        assert_eq!((record.byte_cost, record.packet_cost), (256_000, 0), "a byte takes a microsecond");
        assert_eq!(record.burst, 100_000_000);
        assert_eq!(police(&RateLimit::packets(50)).packet_cost, 20_000_000);
        // The lowest rates that can be told fit the record, too.
        let slowest =
            RateLimit { packets_per_second: Some(1), ..RateLimit::bits(crate::limit::LEAST_BITS_PER_SECOND) };
        assert_eq!(police(&slowest).packet_cost, 1_000_000_000);
        assert_eq!(u64::from(police(&slowest).byte_cost), 8 * SECOND_NS * BYTE_COST_UNIT / 512);
    }

    #[test]
    fn a_map_changes_what_it_names() {
        let map = payload_map(&[(96, 97), (97, 96), (0, 8)]);
        assert_eq!((map[96], map[97], map[0], map[8], map[127]), (97, 96, 8, 8, 127));
    }

    #[test]
    fn a_stream_that_may_continue_another_begins_with_its_own_numbers() {
        let record = retag(&RetagSpec::default().continuity(Continuity::Continue).ssrc(7), 0, Some(90_000));
        assert_eq!(record.offsets, Offsets::new(0, 0).word());
        assert_eq!(
            (record.flags, record.clock, record.ssrc),
            (retag::OFFSETS | retag::SSRC, 90_000, Be32::new(7))
        );
        assert_eq!(retag(&RetagSpec::default().dscp(46), 0, None).flags, retag::DSCP);
    }
}
