//! IPv4 on one side, IPv6 on the other, and IPv6 on both: what a terminal sees.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use relay_user::{Event, LegSpec, ModeChoice, SourcePolicy};
use testbed::Topology;

use crate::support::*;

on_every_backend! {
    media_flows_both_ways_between_all_families,
    a_source_of_ipv6_is_learned_whole_and_no_other_is_admitted,
    a_side_may_move_to_another_address_of_its_family_and_to_no_other,
}

fn camera_ips(v6: bool) -> (IpAddr, IpAddr) {
    let side = Topology::CAMERA;
    if v6 { (side.relay6.into(), side.terminal6.into()) } else { (side.relay.into(), side.terminal.into()) }
}

fn viewer_ips(v6: bool) -> (IpAddr, IpAddr) {
    let side = Topology::VIEWER;
    if v6 { (side.relay6.into(), side.terminal6.into()) } else { (side.relay.into(), side.terminal.into()) }
}

/// A call between these families: both sockets, and where they send.
struct Call {
    bench: Bench,
    camera: UdpSocket,
    viewer: UdpSocket,
    to_relay: [SocketAddr; 2],
}

fn call(mode: ModeChoice, camera_v6: bool, viewer_v6: bool, source: SourcePolicy) -> Call {
    call_on(Bench::with_mode(mode), camera_v6, viewer_v6, source)
}

fn call_on(bench: Bench, camera_v6: bool, viewer_v6: bool, source: SourcePolicy) -> Call {
    let (camera, viewer) = (camera_ips(camera_v6), viewer_ips(viewer_v6));
    let to_relay = [SocketAddr::new(camera.0, CAMERA_LEG), SocketAddr::new(viewer.0, VIEWER_LEG)];
    let terminals = [SocketAddr::new(camera.1, CAMERA_PORT), SocketAddr::new(viewer.1, VIEWER_PORT)];
    let leg = |at: usize| LegSpec::new(to_relay[at]).remote(terminals[at]).source(source);
    bench.call(leg(0), leg(1));
    let camera = socket(&bench.topology.camera, terminals[0]);
    let viewer = socket(&bench.topology.viewer, terminals[1]);
    Call { bench, camera, viewer, to_relay }
}

pub(crate) fn media_flows_both_ways_between_all_families(mode: ModeChoice) {
    let mut bench = Bench::with_mode(mode);
    for (camera_v6, viewer_v6) in [(true, true), (false, true), (true, false)] {
        for policy in [SourcePolicy::Pinned, SourcePolicy::LearnPort, SourcePolicy::Learn] {
            let call = call_on(bench, camera_v6, viewer_v6, policy);
            for sequence in 0..20 {
                call.camera.send_to(&rtp(sequence, 7), call.to_relay[0]).unwrap();
                assert_eq!(receive(&call.viewer), (rtp(sequence, 7), call.to_relay[1]), "{policy:?}");
                call.viewer.send_to(&rtp(sequence, 8), call.to_relay[1]).unwrap();
                assert_eq!(receive(&call.camera), (rtp(sequence, 8), call.to_relay[0]), "{policy:?}");
            }
            bench = call.bench;
            let legs: Vec<_> = bench.relay.legs().into_iter().map(|(leg, _)| leg).collect();
            bench.relay.remove(&legs);
        }
    }
}

pub(crate) fn a_source_of_ipv6_is_learned_whole_and_no_other_is_admitted(mode: ModeChoice) {
    let call = call(mode, true, true, SourcePolicy::Learn);
    let mut events = call.bench.relay.subscribe();
    let camera6: IpAddr = Topology::CAMERA.terminal6.into();
    // The fold of this address, the exclusive or of its words, is that of the camera's own.
    let folded = "fd78:1:0:1::3";
    let ip = ["-6", "address", "add", &format!("{folded}/128"), "dev", Topology::TERMINAL_DEVICE, "nodad"];
    call.bench.topology.camera.ip(&ip).unwrap();
    let twin = socket(&call.bench.topology.camera, format!("[{folded}]:{CAMERA_PORT}").parse().unwrap());

    call.camera.send_to(&rtp(1, 7), call.to_relay[0]).unwrap();
    receive(&call.viewer);
    twin.send_to(&rtp(2, 7), call.to_relay[0]).unwrap();
    assert_silent(&call.viewer);

    let leg = call.bench.relay.legs()[0].0;
    let statistics = call.bench.statistics_when(leg, |leg| leg.received == 2);
    assert_eq!(statistics.source, Some(SocketAddr::new(camera6, CAMERA_PORT)));
    assert_eq!(statistics.dropped, [("source_mismatch", 1)]);
    let learned = call.bench.next(&mut events);
    let source = SocketAddr::new(camera6, CAMERA_PORT);
    assert_eq!(learned, Event::SourceLearned { leg, source });
}

pub(crate) fn a_side_may_move_to_another_address_of_its_family_and_to_no_other(mode: ModeChoice) {
    let call = call(mode, true, false, SourcePolicy::Pinned);
    let leg = call.bench.relay.legs()[0].0;
    let moved = SocketAddr::new(Topology::CAMERA.terminal6.into(), CAMERA_PORT + 2);
    let set_remote = |remote| call.bench.runtime.block_on(call.bench.relay.set_remote(leg, Some(remote)));
    let error = set_remote((Topology::CAMERA.terminal, 5).into()).unwrap_err();
    assert!(error.to_string().contains("other family"), "{error}");
    set_remote(moved).unwrap();
    let camera = socket(&call.bench.topology.camera, moved);
    camera.send_to(&rtp(1, 7), call.to_relay[0]).unwrap();
    assert_eq!(receive(&call.viewer).0, rtp(1, 7));
    call.viewer.send_to(&rtp(2, 8), call.to_relay[1]).unwrap();
    assert_eq!(receive(&camera).0, rtp(2, 8));
}
