//! Sessions over a data plane that only remembers: what is installed when, what is told, and what is left behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay_user::{
    LegSpec, LegStatistics, MediaKind, Plan, RateLimit, RtcpMode, SourcePolicy, StreamSpec, Tag, Tags,
};

use super::{
    DataPlane, Description, LegPolicy, LocalMedia, MediaLine, Network, PortGauge, Reach, Receiver, Sender,
    SessionCore, SessionError, SessionId, SessionOptions, Side,
};

const CALLER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 9));
const CALLEE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 9));

/// Remembers legs and streams; refuses when told to.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    legs: Mutex<BTreeMap<u32, LegSpec>>,
    streams: Mutex<Vec<StreamSpec>>,
    next: Mutex<u32>,
    /// How many of the next installs are refused.
    refuse_installs: AtomicU32,
    refuse_moves: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Memory {
    /// The installed legs: where they receive, where they send.
    fn legs(&self) -> Vec<(String, String)> {
        let text = |address: Option<SocketAddr>| address.map_or("-".into(), |address| address.to_string());
        self.0.legs.lock().unwrap().values().map(|leg| (leg.local.to_string(), text(leg.remote))).collect()
    }

    fn specs(&self) -> Vec<LegSpec> {
        self.0.legs.lock().unwrap().values().cloned().collect()
    }
}

impl DataPlane for Memory {
    type Leg = u32;
    type Error = Refused;

    async fn install(&self, plan: &Plan) -> Result<Vec<u32>, Refused> {
        let refusals = &self.0.refuse_installs;
        if refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Refused);
        }
        self.0.streams.lock().unwrap().extend(&plan.streams);
        let mut legs = self.0.legs.lock().unwrap();
        let mut next = self.0.next.lock().unwrap();
        Ok(plan
            .legs
            .iter()
            .map(|spec| {
                let taken = legs.values().any(|leg| leg.local == spec.local);
                assert!(!taken, "two legs on {}", spec.local);
                *next += 1;
                legs.insert(*next, spec.clone());
                *next
            })
            .collect())
    }

    async fn join(&self, source: u32, receiver: LegSpec) -> Result<u32, Refused> {
        assert!(self.0.legs.lock().unwrap().contains_key(&source));
        let joined = self.install(&Plan { legs: vec![receiver], streams: Vec::new() }).await?;
        Ok(joined[0])
    }

    fn remove(&self, legs: &[u32]) -> Vec<LegStatistics> {
        let counted = legs.iter().map(|leg| self.statistics(*leg).unwrap_or_default()).collect();
        self.0.legs.lock().unwrap().retain(|leg, _| !legs.contains(leg));
        counted
    }

    async fn set_remote(&self, leg: u32, remote: Option<SocketAddr>) -> Result<(), Refused> {
        if self.0.refuse_moves.load(Ordering::Relaxed) {
            return Err(Refused);
        }
        self.0.legs.lock().unwrap().get_mut(&leg).ok_or(Refused)?.remote = remote;
        Ok(())
    }

    /// Every leg has received ten packets.
    fn statistics(&self, leg: u32) -> Option<LegStatistics> {
        let known = self.0.legs.lock().unwrap().contains_key(&leg);
        let idle = Duration::from_secs(leg.into());
        known.then(|| LegStatistics {
            received: 10,
            dropped: vec![("late", 1)],
            idle,
            ..LegStatistics::default()
        })
    }

    async fn reach(&self, destination: IpAddr) -> Result<Reach, Refused> {
        match destination {
            IpAddr::V4(address) if address.octets()[0] == 10 => {
                let network = address.octets()[1];
                Ok(Reach { interface: format!("eth{network}"), source: IpAddr::from([10, network, 0, 1]) })
            }
            _ => Err(Refused),
        }
    }
}

fn network(number: u8) -> Network {
    Network {
        name: format!("n{number}"),
        interface: format!("eth{number}"),
        address: IpAddr::from([10, number, 0, 1]),
        advertise: None,
        vlan: Tags::NONE,
    }
}

fn core_with(plane: &Memory, change: impl FnOnce(&mut SessionOptions)) -> SessionCore<Memory> {
    let mut options = SessionOptions {
        networks: vec![network(1), network(2)],
        ports: 30000..=30007,
        quarantine: Duration::from_secs(30),
        legs: LegPolicy::default(),
        most_sessions: 100,
    };
    change(&mut options);
    SessionCore::new(plane.clone(), options).unwrap()
}

fn core(plane: &Memory) -> SessionCore<Memory> {
    core_with(plane, |_| {})
}

fn line(address: &str) -> MediaLine {
    let remote: SocketAddr = address.parse().unwrap();
    MediaLine {
        remote: Some(remote),
        rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        payload_types: vec![96],
        ..MediaLine::default()
    }
}

fn rejected() -> MediaLine {
    MediaLine { rejected: true, ..MediaLine::default() }
}

fn description(media: impl IntoIterator<Item = MediaLine>) -> Description {
    Description { media: media.into_iter().collect() }
}

fn one(address: &str) -> Description {
    description([line(address)])
}

/// A session in which caller and callee agreed on one medium.
async fn call(core: &SessionCore<Memory>) -> (SessionId, LocalMedia, LocalMedia) {
    let (id, to_callee) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    let to_caller = core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    (id, to_callee[0], to_caller[0])
}

const UNUSED: PortGauge = PortGauge { in_use: 0, quarantined: 0, free: 8 };

#[tokio::test]
async fn each_side_is_told_our_address_on_its_own_network() {
    let (_, to_callee, to_caller) = call(&core(&Memory::default())).await;
    assert_eq!(to_callee.rtp.ip(), IpAddr::from([10, 2, 0, 1]));
    assert_eq!(to_caller.rtp.ip(), IpAddr::from([10, 1, 0, 1]));
    assert_eq!(to_callee.rtp.port() % 2, 0);
    assert_eq!(to_callee.rtcp.port(), to_callee.rtp.port() + 1);
}

#[tokio::test]
async fn a_nat_address_is_told_and_the_real_one_is_used() {
    let plane = Memory::default();
    let core = core_with(&plane, |options| {
        options.networks[0].advertise = Some(IpAddr::from([203, 0, 113, 5]));
    });
    let (_, _, to_caller) = call(&core).await;
    assert_eq!(to_caller.rtp.ip(), IpAddr::from([203, 0, 113, 5]));
    assert_eq!(plane.specs()[0].local, SocketAddr::new([10, 1, 0, 1].into(), to_caller.rtp.port()));
}

#[tokio::test]
async fn the_legs_are_there_when_the_answer_is() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, to_callee) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    let to_caller = core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    let expected = [
        (to_caller[0].rtp, "10.1.0.9:4000"),
        (to_callee[0].rtp, "10.2.0.9:5000"),
        (to_caller[0].rtcp, "10.1.0.9:4001"),
        (to_callee[0].rtcp, "10.2.0.9:5001"),
    ];
    let expected = expected.map(|(local, remote)| (local.to_string(), remote.to_string()));
    assert_eq!(plane.legs(), expected);
    let streams: Vec<_> = plane.0.streams.lock().unwrap().iter().map(|s| (s.ingress, s.egress)).collect();
    assert_eq!(streams, [(0, 1), (1, 0), (2, 3), (3, 2)]);
}

#[tokio::test]
async fn media_that_overtakes_the_answer_is_expected_from_the_callee_alone() {
    for source in [SourcePolicy::Pinned, SourcePolicy::LearnPort] {
        let plane = Memory::default();
        let core = core_with(&plane, |options| options.legs.source = source);
        let (id, to_callee) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
        let before: Vec<u32> = plane.0.legs.lock().unwrap().keys().copied().collect();
        let callee = plane.specs().into_iter().find(|leg| leg.local == to_callee[0].rtp).unwrap();
        assert_eq!(callee.remote, Some(SocketAddr::new(CALLEE, 0)), "any port, but no other address");
        assert_eq!(callee.payload_types, [96].into_iter().collect());
        assert_eq!(core.idle(id).await, None, "silence before the answer means nothing");
        core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
        let after: Vec<u32> = plane.0.legs.lock().unwrap().keys().copied().collect();
        assert_eq!(before, after, "the answer takes no leg down");
    }
}

#[tokio::test]
async fn a_call_without_an_answer_leaves_nothing() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    core.end(id).await.unwrap();
    assert!(plane.legs().is_empty());
}

#[tokio::test]
async fn an_offer_whose_legs_are_refused_is_answered_all_the_same() {
    let plane = Memory::default();
    let core = core(&plane);
    plane.0.refuse_installs.store(1, Ordering::Relaxed);
    let (id, _) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    assert_eq!(plane.legs().len(), 4);
}

#[tokio::test]
async fn rtp_and_rtcp_share_a_leg_where_both_sides_can() {
    for (callee_muxes, kinds) in [
        (true, vec![MediaKind::Muxed; 2]),
        (false, vec![MediaKind::Rtp, MediaKind::Rtp, MediaKind::Rtcp, MediaKind::Rtcp]),
    ] {
        let plane = Memory::default();
        let core = core(&plane);
        let muxed = |address, rtcp_mux| description([MediaLine { rtcp_mux, ..line(address) }]);
        let (id, _) = core.offer(CALLER, CALLEE, &muxed("10.1.0.9:4000", true)).await.unwrap();
        core.answer(id, &muxed("10.2.0.9:5000", callee_muxes)).await.unwrap();
        assert_eq!(plane.specs().iter().map(|leg| leg.media).collect::<Vec<_>>(), kinds);
    }
}

#[tokio::test]
async fn a_leg_admits_what_its_side_announced() {
    let plane = Memory::default();
    let core = core_with(&plane, |options| options.legs.source = SourcePolicy::LearnPort);
    let (id, _) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    let answer = MediaLine { ssrc: Some(7), payload_types: vec![97], ..line("10.2.0.9:5000") };
    core.answer(id, &description([answer])).await.unwrap();
    let specs = plane.specs();
    assert_eq!((specs[0].ssrc, specs[1].ssrc), (None, Some(7)));
    assert_eq!(specs[1].payload_types, [96, 97].into_iter().collect());
    assert_eq!((specs[3].ssrc, specs[3].payload_types), (None, relay_user::PayloadTypes::ANY));
}

#[tokio::test]
async fn refused_media_have_no_legs() {
    let plane = Memory::default();
    let core = core(&plane);
    let offer = description([line("10.1.0.9:4000"), rejected(), line("10.1.0.9:4004")]);
    let (id, to_callee) = core.offer(CALLER, CALLEE, &offer).await.unwrap();
    assert_eq!(to_callee.iter().map(|local| local.rejected).collect::<Vec<_>>(), [false, true, false]);
    let answer = description([line("10.2.0.9:5000"), rejected(), rejected()]);
    let to_caller = core.answer(id, &answer).await.unwrap();
    assert_eq!(to_caller.iter().map(|local| local.rejected).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(plane.legs().len(), 4);
}

#[tokio::test]
async fn an_answer_that_comes_again_changes_only_what_it_changes() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, _) = call(&core).await;
    let before: Vec<u32> = plane.0.legs.lock().unwrap().keys().copied().collect();
    core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    core.answer(id, &one("10.2.0.9:6000")).await.unwrap();
    let after: Vec<u32> = plane.0.legs.lock().unwrap().keys().copied().collect();
    assert_eq!(before, after);
    assert_eq!(plane.legs()[1].1, "10.2.0.9:6000");
    assert_eq!(plane.legs()[3].1, "10.2.0.9:6001");
}

#[tokio::test]
async fn a_later_offer_from_the_callee_moves_the_callee() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, told) = call(&core).await;
    let to_caller = core.reoffer(id, Side::Callee, &one("10.2.0.9:7000")).await.unwrap();
    assert_eq!(to_caller[0], told, "a medium keeps its ports");
    assert_eq!(plane.legs()[1].1, "10.2.0.9:5000", "not before the answer");
    core.answer(id, &one("10.1.0.9:4000")).await.unwrap();
    assert_eq!(plane.legs()[1].1, "10.2.0.9:7000");
    assert_eq!(plane.legs()[0].1, "10.1.0.9:4000");
}

#[tokio::test]
async fn a_medium_can_be_added_and_taken_out() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, _) = call(&core).await;
    let both = |a, b| description([line(a), line(b)]);
    core.reoffer(id, Side::Caller, &both("10.1.0.9:4000", "10.1.0.9:4010")).await.unwrap();
    core.answer(id, &both("10.2.0.9:5000", "10.2.0.9:5010")).await.unwrap();
    assert_eq!(plane.legs().len(), 8);
    core.reoffer(id, Side::Caller, &description([rejected(), line("10.1.0.9:4010")])).await.unwrap();
    core.answer(id, &description([rejected(), line("10.2.0.9:5010")])).await.unwrap();
    assert_eq!(plane.legs().len(), 4);
    let short = core.reoffer(id, Side::Caller, &one("10.1.0.9:4000")).await;
    assert!(matches!(short, Err(SessionError::MediaCount { found: 1, expected: 2 })));
    let report = core.end(id).await.unwrap();
    assert_eq!(report.legs.len(), 8, "what the first medium counted is not lost");
    assert!(report.legs.iter().all(|leg| leg.statistics.received == 10));
}

#[tokio::test]
async fn hold_keeps_the_legs_where_they_are() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, _) = call(&core).await;
    let held = MediaLine { remote: None, rtcp: None, silent: true, ..line("10.1.0.9:4000") };
    core.reoffer(id, Side::Caller, &description([held])).await.unwrap();
    core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    assert_eq!(plane.legs()[0].1, "10.1.0.9:4000");
    assert_eq!(core.idle(id).await, None, "silence on hold means nothing");
    core.reoffer(id, Side::Caller, &one("10.1.0.9:4000")).await.unwrap();
    core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    assert_eq!(core.idle(id).await, Some(Duration::from_secs(1)), "the least of all legs");
}

#[tokio::test]
async fn nobody_is_admitted_before_an_address_is_told_unless_addresses_are_learned() {
    for (source, legs) in [(SourcePolicy::Pinned, 0), (SourcePolicy::LearnPort, 0), (SourcePolicy::Learn, 4)]
    {
        let plane = Memory::default();
        let core = core_with(&plane, |options| options.legs.source = source);
        let nowhere = description([MediaLine { remote: None, rtcp: None, ..line("10.1.0.9:1") }]);
        let (id, _) = core.offer(CALLER, CALLEE, &nowhere).await.unwrap();
        core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
        assert_eq!(plane.legs().len(), legs, "{source:?}");
    }
}

#[tokio::test]
async fn the_end_removes_everything_and_reports_it() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, _) = call(&core).await;
    assert_eq!(core.ports().in_use, 2);
    assert_eq!(core.all().await.len(), 1);
    let report = core.end(id).await.unwrap();
    assert_eq!((report.caller, report.callee), (CALLER, CALLEE));
    let roles: Vec<_> = report.legs.iter().map(|leg| (leg.side, leg.kind, leg.statistics.received)).collect();
    let expected = [
        (Side::Caller, MediaKind::Rtp, 10),
        (Side::Callee, MediaKind::Rtp, 10),
        (Side::Caller, MediaKind::Rtcp, 10),
        (Side::Callee, MediaKind::Rtcp, 10),
    ];
    assert_eq!(roles, expected);
    assert!(plane.legs().is_empty());
    assert_eq!(core.ports(), PortGauge { in_use: 0, quarantined: 2, free: 6 });
    assert!(matches!(core.end(id).await, Err(SessionError::Unknown { .. })));
    assert!(matches!(core.answer(id, &one("10.2.0.9:5000")).await, Err(SessionError::Unknown { .. })));
    assert_eq!((core.statistics(id).await, core.count()), (None, 0));
}

#[tokio::test]
async fn an_offer_that_cannot_be_relayed_takes_nothing() {
    let plane = Memory::default();
    let core = core_with(&plane, |options| options.most_sessions = 1);
    let media = description((0..5).map(|_| line("10.1.0.9:4000")));
    let exhausted = core.offer(CALLER, CALLEE, &media).await.unwrap_err();
    assert!(matches!(exhausted, SessionError::Port(_)) && exhausted.is_overload(), "{exhausted}");
    let elsewhere = core.offer(CALLER, IpAddr::from([10, 3, 0, 9]), &one("10.1.0.9:4000")).await.unwrap_err();
    assert!(elsewhere.to_string().contains("interface = \"eth3\""), "{elsewhere}");
    let nowhere = core.offer(IpAddr::from([192, 0, 2, 1]), CALLEE, &one("10.1.0.9:4000")).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "the terminal 192.0.2.1 cannot be reached: refused");
    assert_eq!(core.ports(), UNUSED);
    call(&core).await;
    let second = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap_err();
    assert!(matches!(second, SessionError::TooMany { limit: 1 }) && second.is_overload());
    assert_eq!(core.ports().in_use, 2);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_changes_nothing() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _) = core.offer(CALLER, CALLEE, &one("10.1.0.9:4000")).await.unwrap();
    assert!(matches!(core.answer(id, &description([])).await, Err(SessionError::MediaCount { .. })));
    plane.0.refuse_moves.store(true, Ordering::Relaxed);
    let error = core.answer(id, &one("10.2.0.9:5000")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the relay does not take the legs of session {id}: refused"));
    plane.0.refuse_moves.store(false, Ordering::Relaxed);
    core.answer(id, &one("10.2.0.9:5000")).await.unwrap();
    assert_eq!(plane.legs().len(), 4);
}

#[tokio::test]
async fn a_change_that_fails_half_way_is_undone() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, _, _) = call(&core).await;
    let before = plane.legs();
    let both = |a, b| description([line(a), line(b)]);
    core.reoffer(id, Side::Caller, &both("10.1.0.9:8000", "10.1.0.9:8010")).await.unwrap();
    plane.0.refuse_installs.store(1, Ordering::Relaxed);
    core.answer(id, &both("10.2.0.9:9000", "10.2.0.9:9010")).await.unwrap_err();
    assert_eq!(plane.legs(), before, "moved legs are moved back");
    plane.0.refuse_moves.store(true, Ordering::Relaxed);
    let muxed = |address| description([MediaLine { rtcp_mux: true, ..line(address) }]);
    core.reoffer(id, Side::Callee, &one("10.2.0.9:9000")).await.unwrap();
    core.answer(id, &one("10.1.0.9:4000")).await.unwrap_err();
    assert_eq!(plane.legs(), before);
    plane.0.refuse_installs.store(1, Ordering::Relaxed);
    core.reoffer(id, Side::Callee, &muxed("10.2.0.9:5000")).await.unwrap();
    core.answer(id, &muxed("10.1.0.9:4000")).await.unwrap_err();
    assert_eq!(plane.legs(), before, "legs that made room are put back");
    core.answer(id, &muxed("10.1.0.9:4000")).await.unwrap();
    assert_eq!(plane.legs().len(), 2, "legs of another kind take their place");
    assert_eq!(core.end(id).await.unwrap().legs.len(), 6, "what all kinds counted");
}

#[tokio::test]
async fn legs_are_as_the_configuration_says() {
    let plane = Memory::default();
    let (limit, after) = (RateLimit::packets(1_000), Duration::from_secs(20));
    let core = core_with(&plane, |options| {
        options.legs = LegPolicy {
            source: SourcePolicy::Learn,
            relearn_after: Some(after),
            quality: true,
            limit: Some(limit),
            rtcp: RtcpMode::Terminate,
        };
        options.networks[1].vlan = Tags::one(Tag::vlan(7));
    });
    let rates =
        |address| description([MediaLine { clock_rates: vec![(9, 1), (96, 90_000)], ..line(address) }]);
    let (id, _) = core.offer(CALLER, CALLEE, &rates("10.1.0.9:4000")).await.unwrap();
    core.answer(id, &rates("10.2.0.9:5000")).await.unwrap();
    let legs = plane.specs();
    assert_eq!(legs.len(), 4);
    for leg in legs {
        let (rtp, callee) = (leg.media == MediaKind::Rtp, leg.local.ip() == IpAddr::from([10, 2, 0, 1]));
        assert_eq!((leg.limit, leg.relearn_after, leg.quality), (Some(limit), Some(after), rtp), "{leg:?}");
        assert_eq!(leg.rtcp, if rtp { RtcpMode::Relay } else { RtcpMode::Terminate });
        assert_eq!(leg.clock_rate, rtp.then_some(90_000), "of the first payload type that both name");
        assert_eq!(leg.vlan, if callee { Tags::one(Tag::vlan(7)) } else { Tags::NONE });
    }
}

const CAMERA: Sender = Sender { address: CALLEE, clock_rate: 90_000 };

fn receiver(address: &str, ssrc: u32) -> Receiver {
    Receiver { address: address.parse().unwrap(), ssrc }
}

#[tokio::test]
async fn broadcast_admits_its_sender_from_any_port_and_gives_each_receiver_its_own() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, told, _) = core.open(CAMERA).await.unwrap();
    assert_eq!(told.rtp.ip(), IpAddr::from([10, 2, 0, 1]));
    let (first, from) = core.join(id, receiver("10.1.0.9:6000", 1)).await.unwrap();
    assert_eq!(from.ip(), IpAddr::from([10, 1, 0, 1]), "the receiver's own network");
    core.join(id, receiver("10.2.0.8:6000", 2)).await.unwrap();
    core.sender_is(id, "10.2.0.9:5000".parse().unwrap(), false).await.unwrap();
    let specs = plane.specs();
    let [rtp, rtcp, one, other] = specs.as_slice() else { panic!("{specs:?}") };
    assert_eq!((rtp.remote, rtp.source), (Some(SocketAddr::new(CALLEE, 0)), SourcePolicy::LearnPort));
    assert!(rtp.quality && rtp.relearn_after.is_some() && rtcp.rtcp == RtcpMode::Terminate);
    assert_eq!(rtcp.remote, Some("10.2.0.9:5001".parse().unwrap()));
    let ssrc = |leg: &LegSpec| leg.retag.as_ref().and_then(|retag| retag.ssrc);
    assert_eq!((ssrc(one), ssrc(other), one.media), (Some(1), Some(2), MediaKind::Muxed));

    assert!(core.leave(id, first).await.is_some() && core.leave(id, first).await.is_none());
    assert_eq!(core.broadcast(id).await.unwrap().receivers.len(), 1);
    core.close(id).await.unwrap();
    assert!(plane.specs().is_empty());
    assert_eq!((core.ports().in_use, core.ports().quarantined), (0, 3));
    assert!(matches!(core.join(id, receiver("10.1.0.9:6000", 1)).await, Err(SessionError::Unknown { .. })));
}

#[tokio::test]
async fn sender_that_is_elsewhere_is_admitted_there() {
    let plane = Memory::default();
    let core = core(&plane);
    let (id, ..) = core.open(CAMERA).await.unwrap();
    core.sender_is(id, "10.2.0.77:65535".parse().unwrap(), true).await.unwrap();
    let specs = plane.specs();
    assert_eq!(specs[0].remote, Some("10.2.0.77:0".parse().unwrap()));
    assert_eq!(specs[1].remote, Some(SocketAddr::new(CALLEE, 0)), "there is no port after the last");
}

#[tokio::test]
async fn broadcast_and_receivers_that_are_refused_hold_no_port() {
    let plane = Memory::default();
    let core = core(&plane);
    plane.0.refuse_installs.store(1, Ordering::Relaxed);
    assert!(matches!(core.open(CAMERA).await, Err(SessionError::Install { .. })));
    assert_eq!(core.ports(), UNUSED);
    let (id, ..) = core.open(CAMERA).await.unwrap();
    plane.0.refuse_installs.store(1, Ordering::Relaxed);
    assert!(core.join(id, receiver("10.1.0.9:6000", 1)).await.is_err());
    assert!(core.join(id, receiver("192.0.2.1:6000", 1)).await.is_err(), "no network reaches it");
    assert_eq!(core.ports().in_use, 1);
}
