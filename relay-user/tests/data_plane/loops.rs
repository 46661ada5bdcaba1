//! Packets that come back: from another relay that sends them round in circles, from a far end that echoes, from ourselves.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use relay_user::{LegSpec, ModeChoice, Options, Plan, Relay, StreamSpec};
use testbed::{Side, Topology};
use tokio::runtime::Runtime;

on_every_backend! {
    what_two_relays_send_in_circles_ends,
    what_a_far_end_echoes_comes_back_once,
}

/// Ports of the second relay.
const ENTRY: u16 = 40000;
const EXIT: u16 = 40002;
/// Where the first relay gets back what the second one sends.
const BACK: u16 = 30004;
/// Packets that are sent round.
const PACKETS: u16 = 50;
/// Hops that a terminal's packet has (`net.ipv4.ip_default_ttl`, `net.ipv6.conf.*.hop_limit`).
const HOPS: u64 = 64;
/// Until all of them have come to their end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a relay of the viewer's machine.
fn second_relay(topology: &Topology, mode: ModeChoice) -> (Relay, Runtime) {
    let start = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let interfaces = vec![Topology::TERMINAL_DEVICE.into()];
        let options = Options { interfaces, mode, legs: 64, ..Options::default() };
        let relay = runtime.block_on(Relay::start(&options)).expect("the second relay starts");
        (relay, runtime)
    };
    topology.viewer.run(start).unwrap()
}

/// A counter of both relays together.
fn sum(relays: [&Relay; 2], name: &str) -> u64 {
    let counters = relays.into_iter().flat_map(Relay::counters);
    counters.filter(|(found, _)| *found == name).map(|(_, count)| count).sum()
}

/// The relay's address on a wire, and the terminal's.
fn addresses(side: Side, v6: bool) -> [IpAddr; 2] {
    if v6 { [side.relay6.into(), side.terminal6.into()] } else { [side.relay.into(), side.terminal.into()] }
}

/// What the camera sends goes out to the second relay, which sends it back, to be sent out again: each packet has as many
/// hops as it brought, and no more.
pub(crate) fn what_two_relays_send_in_circles_ends(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let (second, second_runtime) = second_relay(&bench.topology, mode);
    let mut expected = 0;
    for v6 in [false, true] {
        let ([near, camera], [ours, theirs]) =
            (addresses(Topology::CAMERA, v6), addresses(Topology::VIEWER, v6));
        let leg = |local, port, remote, remote_port| {
            LegSpec::new(SocketAddr::new(local, port)).remote(SocketAddr::new(remote, remote_port))
        };
        let circle = Plan {
            legs: on_their_path(vec![
                leg(near, CAMERA_LEG, camera, CAMERA_PORT),
                leg(ours, VIEWER_LEG, theirs, ENTRY),
                leg(ours, BACK, theirs, EXIT),
            ]),
            streams: vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 2, egress: 1 }],
        };
        let other_half = Plan {
            legs: on_their_path(vec![leg(theirs, ENTRY, ours, VIEWER_LEG), leg(theirs, EXIT, ours, BACK)]),
            streams: vec![StreamSpec { ingress: 0, egress: 1 }],
        };
        second_runtime.block_on(second.install(&other_half)).unwrap();
        bench.runtime.block_on(bench.relay.install(&circle)).unwrap();

        let camera = socket(&bench.topology.camera, SocketAddr::new(camera, CAMERA_PORT));
        for sequence in 0..PACKETS {
            camera.send_to(&rtp(sequence, 7), SocketAddr::new(near, CAMERA_LEG)).unwrap();
        }
        expected += u64::from(PACKETS);
        let relays = [&bench.relay, &second];
        let deadline = Instant::now() + PATIENCE;
        while sum(relays, "ttl_expired") < expected {
            assert!(
                Instant::now() < deadline,
                "{mode:?}: the storm goes on: {:?} {:?}",
                bench.relay.counters(),
                second.counters()
            );
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(SILENCE);
        // Each hop is one forwarding, but for the last, at which a packet is dropped and counted.
        wait_until("the books balance", || {
            (sum(relays, "forwarded"), sum(relays, "ttl_expired")) == (expected * (HOPS - 1), expected)
        });
    }
}

/// Whatever the viewer gets it sends back, to the very leg that it came from: it reaches the camera, and is over.
pub(crate) fn what_a_far_end_echoes_comes_back_once(mode: ModeChoice) {
    use relay_user::SourcePolicy::Pinned;
    let bench = Bench::with_mode(mode);
    let [camera_leg, viewer_leg] = bench.call(camera_leg(Pinned), viewer_leg(Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    let echo = |viewer: &UdpSocket| {
        let (packet, source) = receive(viewer);
        viewer.send_to(&packet, source).unwrap();
    };
    for sequence in 0..PACKETS {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        echo(&viewer);
        assert_eq!(receive(&camera), (rtp(sequence, 7), to_relay_from_camera()), "{mode:?}");
    }
    assert_silent(&camera);
    assert_silent(&viewer);
    for leg in [camera_leg, viewer_leg] {
        let packets = u64::from(PACKETS);
        let statistics = bench.statistics_when(leg, |leg| leg.received >= packets);
        assert_eq!(
            (statistics.received, statistics.forwarded),
            (packets, packets),
            "{mode:?} {statistics:?}"
        );
    }
}
