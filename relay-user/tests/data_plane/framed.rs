//! RTP over TCP arrives for a leg as if it had come by UDP.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use relay_user::{Feed, Framing, InletError, LegId, LegSpec, ModeChoice, Path, Plan, StreamSpec};
use testbed::Topology;

use crate::support::*;

on_every_backend! {
    packets_of_either_framing_go_on_as_they_came,
    a_connection_over_ipv6_feeds_a_leg,
}

/// The port that the relay listens on; the leg's own is another.
const LISTENED: u16 = 9_000;

/// A camera's connection to the relay, both ends.
struct Connected {
    camera: TcpStream,
    relay: TcpStream,
}

impl Connected {
    fn over(bench: &Bench, relay: SocketAddr) -> Self {
        let listener = bench.topology.relay.run(|| TcpListener::bind(relay).unwrap()).unwrap();
        let camera = bench.topology.camera.run(|| TcpStream::connect(relay).unwrap()).unwrap();
        camera.set_nodelay(true).unwrap();
        Self { camera, relay: listener.accept().unwrap().0 }
    }

    /// Has it feed a leg at `local`, which feeds the viewer's.
    fn feed(self, bench: &Bench, local: SocketAddr, viewer: LegSpec) -> (TcpStream, Feed, [LegId; 2]) {
        self.relay.set_nonblocking(true).unwrap();
        let runtime = &bench.runtime;
        let _inside = runtime.enter();
        let connection = tokio::net::TcpStream::from_std(self.relay).unwrap();
        let inlet = runtime.block_on(bench.relay.inlet(connection, local)).unwrap();
        let plan = Plan {
            legs: vec![LegSpec::new(local).remote(inlet.remote()), viewer],
            streams: vec![StreamSpec { ingress: 0, egress: 1 }],
        };
        let legs = runtime.block_on(bench.relay.install(&plan)).unwrap();
        (self.camera, inlet.start(), legs.try_into().unwrap())
    }
}

fn framed(framing: Framing, packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    let front: &[u8] = if framing == Framing::Length { &[] } else { b"$\0" };
    [front, &length, packet].concat()
}

fn camera_side() -> (SocketAddr, SocketAddr) {
    let relay = Topology::CAMERA.relay;
    ((relay, LISTENED).into(), (relay, CAMERA_LEG).into())
}

fn packets_of_either_framing_go_on_as_they_came(mode: ModeChoice) {
    for framing in [Framing::Length, Framing::Interleaved] {
        let bench = Bench::with_mode(mode);
        let (listened, local) = camera_side();
        let (mut camera, feed, legs) = Connected::over(&bench, listened).feed(
            &bench,
            local,
            viewer_leg(relay_user::SourcePolicy::Pinned),
        );
        let viewer = bench.viewer_socket(VIEWER_PORT);
        for sequence in 0..200 {
            camera.write_all(&framed(framing, &rtp(sequence, 7))).unwrap();
            assert_eq!(receive(&viewer), (rtp(sequence, 7), (Topology::VIEWER.relay, VIEWER_LEG).into()));
        }
        // A picture in one go, cut anywhere.
        let burst: Vec<u8> = (200..300).flat_map(|sequence| framed(framing, &rtp(sequence, 7))).collect();
        for piece in burst.chunks(1_111) {
            camera.write_all(piece).unwrap();
        }
        for sequence in 200..300 {
            assert_eq!(receive(&viewer).0, rtp(sequence, 7));
        }
        let statistics = feed.statistics();
        assert_eq!((statistics.framing, statistics.packets), (Some(framing), 300));
        assert_eq!((statistics.skipped, statistics.lost), (0, 0));
        let counted = bench.statistics_when(legs[0], |counted| counted.forwarded == 300);
        let path = if mode == ModeChoice::User { Path::User } else { Path::Xdp };
        assert_eq!((counted.path, counted.dropped), (path, Vec::new()));
    }
}

fn a_connection_over_ipv6_feeds_a_leg(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let relay = Topology::CAMERA.relay6;
    let (mut camera, _feed, _) = Connected::over(&bench, (relay, LISTENED).into()).feed(
        &bench,
        (relay, CAMERA_LEG).into(),
        viewer_leg(relay_user::SourcePolicy::Pinned),
    );
    let viewer = bench.viewer_socket(VIEWER_PORT);
    for sequence in 0..20 {
        camera.write_all(&framed(Framing::Length, &rtp(sequence, 7))).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, 7));
    }
}

#[test]
fn a_group_is_fed() {
    let bench = Bench::start();
    let (listened, local) = camera_side();
    let connected = Connected::over(&bench, listened);
    connected.relay.set_nonblocking(true).unwrap();
    let _inside = bench.runtime.enter();
    let connection = tokio::net::TcpStream::from_std(connected.relay).unwrap();
    let inlet = bench.runtime.block_on(bench.relay.inlet(connection, local)).unwrap();
    let plan = Plan { legs: vec![LegSpec::new(local).remote(inlet.remote())], streams: Vec::new() };
    let source = bench.runtime.block_on(bench.relay.install(&plan)).unwrap()[0];
    let _feed = inlet.start();
    let side = Topology::VIEWER;
    let receivers: Vec<LegSpec> = (0..20)
        .map(|number| {
            LegSpec::new((side.relay, 10_000 + number).into()).remote((side.terminal, 10_000 + number).into())
        })
        .collect();
    let sockets: Vec<_> = (0..20).map(|number| bench.viewer_socket(10_000 + number)).collect();
    bench.runtime.block_on(bench.relay.join(source, &receivers)).unwrap();
    let mut camera = connected.camera;
    for sequence in 0..50 {
        camera.write_all(&framed(Framing::Interleaved, &rtp(sequence, 7))).unwrap();
        for socket in &sockets {
            assert_eq!(receive(socket).0, rtp(sequence, 7));
        }
    }
}

#[test]
fn a_packet_that_no_device_takes_leaves_in_fragments() {
    let bench = Bench::start();
    let (listened, local) = camera_side();
    let (mut camera, feed, _legs) =
        Connected::over(&bench, listened).feed(&bench, local, viewer_leg(relay_user::SourcePolicy::Pinned));
    let viewer = bench.viewer_socket(VIEWER_PORT);
    for (sequence, length) in [(1, 4_000), (2, 60_000), (3, 200)] {
        let mut packet = rtp(sequence, 7);
        packet.resize(length, 0x77);
        camera.write_all(&framed(Framing::Length, &packet)).unwrap();
        assert_eq!(receive(&viewer).0, packet);
    }
    assert_eq!(feed.statistics().lost, 0);
}

#[test]
fn the_end_of_a_connection_is_told_and_what_is_no_media_too() {
    let bench = Bench::start();
    let (listened, local) = camera_side();
    let spec = || viewer_leg(relay_user::SourcePolicy::Pinned);
    let (camera, mut feed, legs) = Connected::over(&bench, listened).feed(&bench, local, spec());
    drop(camera);
    bench.runtime.block_on(feed.ended()).unwrap();
    bench.relay.remove(&legs);

    let (mut camera, mut feed, _) =
        Connected::over(&bench, (Topology::CAMERA.relay, LISTENED + 1).into()).feed(&bench, local, spec());
    let writer = std::thread::spawn(move || {
        // It is closed in the middle.
        while camera.write_all(&[0x11; 4_096]).is_ok() {}
    });
    let error = bench.runtime.block_on(feed.ended()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    writer.join().unwrap();
}

#[test]
fn a_leg_of_another_family_is_refused() {
    let bench = Bench::start();
    let (listened, _) = camera_side();
    let connected = Connected::over(&bench, listened);
    connected.relay.set_nonblocking(true).unwrap();
    let _inside = bench.runtime.enter();
    let connection = tokio::net::TcpStream::from_std(connected.relay).unwrap();
    let local = (Topology::CAMERA.relay6, CAMERA_LEG).into();
    let refused = bench.runtime.block_on(bench.relay.inlet(connection, local)).err().unwrap();
    assert!(matches!(refused, InletError::Families { .. }), "{refused}");
}
