//! Many sources on one local port, told apart by their SSRC or by where they come from.

use std::net::{SocketAddr, UdpSocket};

use relay_user::{Event, InstallError, LegId, LegSpec, ModeChoice, Plan, Sharing, SourcePolicy, StreamSpec};
use testbed::Topology;

use crate::support::*;

on_every_backend! {
    sources_on_one_port_are_told_apart_by_ssrc_and_by_source,
    both_directions_of_a_leg_on_a_shared_port_work,
    legs_come_and_go_while_others_run_and_strangers_are_reported,
    what_a_shared_port_cannot_hold_is_refused_whole,
}

fn port() -> SocketAddr {
    to_relay_from_camera()
}

fn by_ssrc(ssrc: u32) -> LegSpec {
    LegSpec::new(port()).source(SourcePolicy::Learn).shared(Sharing::BySsrc).ssrc(ssrc)
}

fn by_source(remote_port: u16) -> LegSpec {
    LegSpec::new(port()).remote((Topology::CAMERA.terminal, remote_port).into()).shared(Sharing::BySource)
}

/// A viewer of its own for each leg.
fn viewer_at(number: u16) -> LegSpec {
    LegSpec::new((Topology::VIEWER.relay, VIEWER_LEG + 2 * number).into())
        .remote((Topology::VIEWER.terminal, VIEWER_PORT + 2 * number).into())
}

impl Bench {
    fn try_install(
        &self,
        legs: Vec<LegSpec>,
        streams: &[(usize, usize)],
    ) -> Result<Vec<LegId>, InstallError> {
        let streams =
            streams.iter().map(|(ingress, egress)| StreamSpec { ingress: *ingress, egress: *egress });
        self.runtime
            .block_on(self.relay.install(&Plan { legs: on_their_path(legs), streams: streams.collect() }))
    }

    fn viewer_number(&self, number: u16) -> UdpSocket {
        self.viewer_socket(VIEWER_PORT + 2 * number)
    }
}

pub(crate) fn sources_on_one_port_are_told_apart_by_ssrc_and_by_source(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    // The port may come after its legs: a plan is one thing.
    let legs = vec![by_ssrc(1), by_ssrc(2), by_source(7000), LegSpec::shared_port(port())];
    let viewers = (0..3).map(viewer_at);
    let legs =
        bench.try_install(legs.into_iter().chain(viewers).collect(), &[(0, 4), (1, 5), (2, 6)]).unwrap();
    let viewers = [0, 1, 2].map(|number| bench.viewer_number(number));
    let camera = bench.camera_socket(CAMERA_PORT);
    let other = bench.camera_socket(CAMERA_PORT + 1);
    let pinned = bench.camera_socket(7000);

    camera.send_to(&rtp(1, 1), port()).unwrap();
    other.send_to(&rtp(2, 2), port()).unwrap();
    // Its source is its own, whatever it carries.
    pinned.send_to(&rtp(3, 1), port()).unwrap();

    for (viewer, packet) in viewers.iter().zip([rtp(1, 1), rtp(2, 2), rtp(3, 1)]) {
        assert_eq!(receive(viewer).0, packet);
    }
    for leg in &legs[..3] {
        let statistics = bench.statistics_when(*leg, |leg| leg.forwarded > 0);
        assert_eq!((statistics.received, statistics.forwarded), (1, 1), "{leg}");
    }
    // A leg on a shared port has a source policy of its own.
    other.send_to(&rtp(4, 1), port()).unwrap();
    assert_silent(&viewers[0]);
    bench.statistics_when(legs[0], |leg| leg.dropped == [("source_mismatch", 1)]);
}

pub(crate) fn both_directions_of_a_leg_on_a_shared_port_work(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let legs = vec![LegSpec::shared_port(port()), by_source(CAMERA_PORT), viewer_at(0)];
    bench.try_install(legs, &[(1, 2), (2, 1)]).unwrap();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_number(0));
    camera.send_to(&rtp(1, 1), port()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(1, 1));
    viewer.send_to(&rtp(2, 8), to_relay_from_viewer()).unwrap();
    assert_eq!(receive(&camera), (rtp(2, 8), port()));
}

pub(crate) fn legs_come_and_go_while_others_run_and_strangers_are_reported(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let legs = vec![LegSpec::shared_port(port()), by_ssrc(1), viewer_at(0)];
    let first = bench.try_install(legs, &[(1, 2)]).unwrap();
    let mut events = bench.relay.subscribe();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_number(0));
    let second_viewer = bench.viewer_number(1);
    let running = |sequence| {
        camera.send_to(&rtp(sequence, 1), port()).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, 1));
    };
    running(1);
    let stranger = bench.camera_socket(CAMERA_PORT + 1);
    stranger.send_to(&rtp(9, 2), port()).unwrap();
    assert_silent(&second_viewer);
    let found = loop {
        if let Event::UnknownSource { leg, source, ssrc } = bench.next(&mut events) {
            break (leg, source, ssrc);
        }
    };
    assert_eq!(found, (first[0], stranger.local_addr().unwrap(), 2));
    bench.statistics_when(first[0], |leg| leg.dropped == [("unknown_ssrc", 1)]);

    let second = bench.try_install(vec![by_ssrc(2), viewer_at(1)], &[(0, 1)]).unwrap();
    stranger.send_to(&rtp(10, 2), port()).unwrap();
    assert_eq!(receive(&second_viewer).0, rtp(10, 2));
    running(2);

    assert_eq!(bench.relay.remove(&second)[0].forwarded, 1);
    stranger.send_to(&rtp(11, 2), port()).unwrap();
    assert_silent(&second_viewer);
    running(3);

    // With the port its legs go.
    bench.relay.remove(&first[..1]);
    assert_eq!(bench.relay.statistics(first[1]), None);
    assert_eq!(bench.relay.occupancy().0, 1, "the viewer's leg");
    camera.send_to(&rtp(4, 1), port()).unwrap();
    assert_silent(&viewer);
}

fn what_a_shared_port_cannot_hold_is_refused_whole(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let refused = |legs: Vec<LegSpec>| {
        let before = bench.relay.occupancy();
        let error = bench.try_install(legs, &[]).unwrap_err();
        assert_eq!(bench.relay.occupancy(), before, "{error}");
        error
    };
    assert!(matches!(refused(vec![by_ssrc(1)]), InstallError::NoSharedPort(at) if at == port()));
    // An ordinary leg has the port.
    let alone = bench.try_install(vec![camera_leg(SourcePolicy::Pinned)], &[]).unwrap();
    assert!(matches!(refused(vec![LegSpec::shared_port(port()), by_ssrc(1)]), InstallError::Taken(_)));
    bench.relay.remove(&alone);

    // The refused plan left no port open.
    assert!(matches!(refused(vec![by_ssrc(1)]), InstallError::NoSharedPort(_)));
    let legs =
        bench.try_install(vec![LegSpec::shared_port(port()), by_ssrc(1), by_source(7000)], &[]).unwrap();
    assert!(matches!(refused(vec![by_ssrc(1)]), InstallError::Taken(_)));
    assert!(matches!(refused(vec![LegSpec::shared_port(port())]), InstallError::Taken(_)));
    assert!(matches!(refused(vec![camera_leg(SourcePolicy::Pinned)]), InstallError::Taken(_)));
    let moved = |leg| bench.runtime.block_on(bench.relay.set_remote(leg, "10.78.1.2:7002".parse().ok()));
    assert!(matches!(moved(legs[2]), Err(InstallError::FoundBySource)));
    assert!(matches!(moved(legs[0]), Err(InstallError::Unfit { .. })));
    assert!(moved(legs[1]).is_ok());
}
