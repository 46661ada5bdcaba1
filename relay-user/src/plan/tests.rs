use std::time::Duration;

use super::*;
use crate::limit::RateLimit;
use crate::retag::RetagSpec;
use crate::vlan::{Tag, Tags};

fn leg(local: &str, remote: Option<&str>) -> LegSpec {
    let remote = remote.map(|remote| remote.parse().unwrap());
    LegSpec { remote, source: SourcePolicy::Learn, ..LegSpec::new(local.parse().unwrap()) }
}

fn plan(streams: &[(usize, usize)]) -> Plan {
    let legs =
        vec![leg("10.0.0.1:4000", Some("10.0.0.2:5000")), leg("[fd00::1]:4000", Some("[fd00::2]:5000"))];
    let streams = streams.iter().map(|(ingress, egress)| StreamSpec { ingress: *ingress, egress: *egress });
    Plan { legs, streams: streams.collect() }
}

/// The rule for which a leg alone is refused, and the words.
fn refused(leg: LegSpec) -> (&'static str, String) {
    match check(&Plan { legs: vec![leg], streams: vec![] }) {
        Err(InstallError::Rule { leg: 0, rule, problem }) => (rule, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_directions_of_a_call_fit_also_between_families() {
    let both = check(&plan(&[(0, 1), (1, 0)])).unwrap();
    assert_eq!(both, Checked { egress: vec![Some(1), Some(0)], sends: vec![true, true] });
    let one = check(&plan(&[(1, 0)])).unwrap();
    assert_eq!(one, Checked { egress: vec![None, Some(0)], sends: vec![true, false] });
}

#[test]
fn streams_join_two_different_legs_once() {
    assert!(matches!(check(&plan(&[(0, 0)])), Err(InstallError::Stream { .. })));
    assert!(matches!(check(&plan(&[(0, 2)])), Err(InstallError::Stream { egress: 2, legs: 2, .. })));
    assert!(matches!(check(&plan(&[(7, 0)])), Err(InstallError::Stream { ingress: 7, .. })));
    assert!(matches!(check(&plan(&[(0, 1), (0, 1)])), Err(InstallError::TwoStreams(0))));
}

#[test]
fn addresses_that_no_packet_carries_are_refused() {
    for (local, remote) in [
        ("0.0.0.0:4000", None),
        ("10.0.0.1:0", None),
        ("224.0.0.1:4000", None),
        ("[::]:4000", None),
        ("[ff02::1]:4000", None),
        ("[fe80::1]:4000", None),
        ("[::ffff:10.0.0.1]:4000", None),
        ("10.0.0.1:4000", Some("255.255.255.255:5000")),
        ("10.0.0.1:4000", Some("0.0.0.0:0")),
        ("10.0.0.1:4000", Some("10.0.0.1:4000")),
    ] {
        let plan = Plan { legs: vec![leg(local, remote)], streams: vec![] };
        assert!(matches!(check(&plan), Err(InstallError::Address { .. })), "{local} {remote:?}");
    }
}

#[test]
fn both_sides_of_a_leg_are_of_one_family() {
    for (local, remote) in [("10.0.0.1:4000", "[fd00::2]:5000"), ("[fd00::1]:4000", "10.0.0.2:0")] {
        let error = check(&Plan { legs: vec![leg(local, Some(remote))], streams: vec![] }).unwrap_err();
        assert!(error.to_string().contains("other family"), "{error}");
    }
}

#[test]
fn a_remote_side_may_keep_its_port_for_later() {
    let plan = Plan { legs: vec![leg("10.0.0.1:4000", Some("10.0.0.2:0"))], streams: vec![] };
    assert!(check(&plan).is_ok());
}

#[test]
fn only_learning_does_without_a_remote_address() {
    let mut plan = Plan { legs: vec![leg("10.0.0.1:4000", None)], streams: vec![] };
    assert!(check(&plan).is_ok());
    for policy in [SourcePolicy::Pinned, SourcePolicy::LearnPort] {
        plan.legs[0].source = policy;
        assert!(matches!(check(&plan), Err(InstallError::RemoteNeeded(0))));
    }
}

#[test]
fn one_address_and_port_is_one_leg() {
    let twice = vec![leg("10.0.0.1:4000", None), leg("10.0.0.1:4000", None)];
    assert!(matches!(check(&Plan { legs: twice, streams: vec![] }), Err(InstallError::Taken(_))));
}

#[test]
fn rules_that_contradict_each_other_are_refused_by_name() {
    let base = || leg("10.0.0.1:4000", Some("10.0.0.2:5000"));
    let second = Duration::from_secs(1);
    assert_eq!(refused(base().clock_rate(0)).0, "clock_rate");
    assert_eq!(refused(base().vlan(Tags::one(Tag::vlan(4095)))).0, "vlan");
    assert_eq!(refused(base().limit(RateLimit::packets(0))).0, "limit");
    assert_eq!(refused(base().media(MediaKind::Rtcp).quality(true)).0, "quality");
    assert_eq!(refused(base().rtcp(RtcpMode::Terminate)).0, "rtcp");
    assert_eq!(refused(base().source(SourcePolicy::Pinned).relearn_after(second)).0, "relearn_after");
    assert_eq!(refused(base().relearn_after(second / 2)).0, "relearn_after");
    assert_eq!(refused(base().retag(RetagSpec::default().dscp(64))).0, "retag");
    assert_eq!(refused(base().media(MediaKind::Rtcp).retag(RetagSpec::default().ssrc(1))).0, "retag");
    let continuing = RetagSpec::default().continuity(Continuity::Continue);
    assert!(refused(base().retag(continuing.clone().ssrc(1))).1.contains("clock_rate"));
    assert!(refused(base().clock_rate(8000).retag(continuing.clone())).1.contains("SSRC"));

    let everything = base()
        .media(MediaKind::Muxed)
        .clock_rate(90_000)
        .vlan(Tags::two(Tag::service(1), Tag::vlan(2)))
        .limit(RateLimit::bits(8_000_000))
        .quality(true)
        .rtcp(RtcpMode::Terminate)
        .relearn_after(second)
        .retag(continuing.ssrc(7).payload_type(96, 97).dscp(34))
        .owner(9);
    assert!(check(&Plan { legs: vec![everything], streams: vec![] }).is_ok());
}

#[test]
fn a_stream_that_continues_another_has_one_source() {
    let continuing = RetagSpec::default().continuity(Continuity::Continue).ssrc(1);
    let mut plan = plan(&[(0, 1), (2, 1)]);
    plan.legs.push(leg("10.0.0.1:4002", None));
    assert!(check(&plan).is_ok(), "two sources for one receiver are right without");
    plan.legs[1] = plan.legs[1].clone().clock_rate(90_000).retag(continuing);
    assert!(matches!(check(&plan), Err(InstallError::Rule { leg: 1, rule: "retag", .. })));
}

#[test]
fn streams_to_one_leg_are_bounded() {
    let gathered = |sources: u16| {
        let source = |port: u16| leg(&format!("10.0.0.1:{}", 5000 + port), None);
        let legs = [leg("10.0.1.1:4000", None)].into_iter().chain((0..sources).map(source)).collect();
        let streams = (1..=usize::from(sources)).map(|ingress| StreamSpec { ingress, egress: 0 }).collect();
        check(&Plan { legs, streams })
    };
    assert!(gathered(1_024).is_ok());
    let error = gathered(1_025).unwrap_err();
    assert!(matches!(&error, InstallError::Rule { leg: 0, rule: "streams", .. }), "{error}");
}

#[test]
fn a_shared_port_and_its_legs_fit_together() {
    let local = "10.0.0.1:4000";
    let port = || LegSpec::shared_port(local.parse().unwrap());
    let by_ssrc = |ssrc| leg(local, None).shared(Sharing::BySsrc).ssrc(ssrc);
    let by_source = |remote| leg(local, Some(remote)).shared(Sharing::BySource).source(SourcePolicy::Pinned);
    let legs = vec![port(), by_ssrc(1), by_ssrc(2), by_source("10.0.0.2:1"), by_source("10.0.0.2:2")];
    assert!(check(&Plan { legs: legs.clone(), streams: vec![] }).is_ok());

    for again in [port(), by_ssrc(2), by_source("10.0.0.2:1"), leg(local, None)] {
        let legs = legs.iter().cloned().chain([again]).collect();
        assert!(matches!(check(&Plan { legs, streams: vec![] }), Err(InstallError::Taken(_))));
    }
    let streams = vec![StreamSpec { ingress: 0, egress: 1 }];
    assert!(matches!(check(&Plan { legs, streams }), Err(InstallError::Rule { leg: 0, rule: "shared", .. })));
}

#[test]
fn what_a_shared_port_cannot_tell_apart_is_refused() {
    let base = || leg("10.0.0.1:4000", Some("10.0.0.2:5000"));
    assert_eq!(refused(base().shared(Sharing::Port)).0, "shared");
    assert_eq!(refused(base().shared(Sharing::BySsrc)).0, "shared");
    assert_eq!(refused(base().shared(Sharing::BySource)).0, "shared", "it learns");
    let portless = LegSpec { remote: Some("10.0.0.2:0".parse().unwrap()), ..base() };
    assert_eq!(refused(portless.source(SourcePolicy::Pinned).shared(Sharing::BySource)).0, "shared");
}
