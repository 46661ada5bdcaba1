//! Media between two terminals through the relay, over real veth pairs.

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::support::*;
use relay_user::{Event, LegId, LegSpec, Mode, ModeChoice, SourcePolicy};
use testbed::Topology;

on_every_backend! {
    the_first_packet_of_a_learning_leg_arrives,
    media_flows_both_ways_and_is_counted,
    answers_follow_the_learned_source,
    another_source_is_dropped_counted_and_reported,
    a_moved_remote_side_is_followed_and_admitted,
    a_port_that_is_not_told_yet_is_learned_from_the_told_address_until_it_is,
    a_port_that_is_not_told_yet_is_not_learned_from_elsewhere,
    nothing_is_forwarded_after_removal,
    a_neighbour_that_changes_its_address_is_followed,
    a_route_that_changes_is_followed,
}

pub(crate) fn the_first_packet_of_a_learning_leg_arrives(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    bench.call(camera_leg(SourcePolicy::Learn), viewer_leg(SourcePolicy::Learn));
    // Not the port that was told: the source has to be learned.
    let camera = bench.camera_socket(CAMERA_PORT + 100);
    let viewer = bench.viewer_socket(VIEWER_PORT);

    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();

    let (packet, source) = receive(&viewer);
    assert_eq!(packet, rtp(1, 7), "the payload is untouched");
    assert_eq!(source, to_relay_from_viewer(), "it comes from the relay's own leg");
}

pub(crate) fn media_flows_both_ways_and_is_counted(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [camera_leg, viewer_leg] =
        bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);

    for sequence in 0..100 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, 7));
    }
    for sequence in 0..50 {
        viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
        assert_eq!(receive(&camera).0, rtp(sequence, 8));
    }

    let statistics = bench.relay.remove(&[camera_leg, viewer_leg]);
    assert_eq!((statistics[0].received, statistics[0].sent), (100, 50));
    assert_eq!((statistics[1].received, statistics[1].sent), (50, 100));
    assert!(statistics.iter().all(|leg| leg.dropped.is_empty()), "{statistics:?}");
}

pub(crate) fn answers_follow_the_learned_source(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [leg, _] = bench.call(camera_leg(SourcePolicy::LearnPort), viewer_leg(SourcePolicy::Learn));
    let camera = bench.camera_socket(CAMERA_PORT + 100);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);

    let learned = camera.local_addr().unwrap();
    bench.statistics_when(leg, |statistics| statistics.remote == Some(learned));
    viewer.send_to(&rtp(1, 8), to_relay_from_viewer()).unwrap();

    assert_eq!(receive(&camera).0, rtp(1, 8));
}

pub(crate) fn another_source_is_dropped_counted_and_reported(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [leg, _] = bench.call(camera_leg(SourcePolicy::Learn), viewer_leg(SourcePolicy::Learn));
    let mut events = bench.relay.subscribe();
    let camera = bench.camera_socket(CAMERA_PORT);
    let intruder = bench.camera_socket(CAMERA_PORT + 1);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);

    intruder.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();

    assert_silent(&viewer);
    let statistics = bench.statistics_when(leg, |statistics| statistics.received == 2);
    assert_eq!(statistics.dropped, [("source_mismatch", 1)]);
    assert_eq!(statistics.source, Some(camera.local_addr().unwrap()));
    let learned = bench.next(&mut events);
    assert_eq!(learned, Event::SourceLearned { leg, source: camera.local_addr().unwrap() });
    let refused = bench.next(&mut events);
    assert_eq!(refused, Event::SourceRefused { leg, source: intruder.local_addr().unwrap() });
}

pub(crate) fn a_moved_remote_side_is_followed_and_admitted(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT + 2);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_silent(&viewer);

    bench.runtime.block_on(bench.relay.set_remote(leg, camera.local_addr().ok())).unwrap();

    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(2, 7));
    viewer.send_to(&rtp(3, 8), to_relay_from_viewer()).unwrap();
    assert_eq!(receive(&camera).0, rtp(3, 8));
}

pub(crate) fn a_port_that_is_not_told_yet_is_learned_from_the_told_address_until_it_is(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let mut expected = camera_leg(SourcePolicy::Pinned);
    expected.remote.as_mut().unwrap().set_port(0);
    let [leg, _] = bench.call(expected, viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    viewer.send_to(&rtp(1, 8), to_relay_from_viewer()).unwrap();
    assert_silent(&camera);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(1, 7), "media may overtake the answer");

    bench.runtime.block_on(bench.relay.set_remote(leg, camera.local_addr().ok())).unwrap();

    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(2, 7));
    viewer.send_to(&rtp(2, 8), to_relay_from_viewer()).unwrap();
    assert_eq!(receive(&camera).0, rtp(2, 8));
    let statistics = bench.statistics_when(leg, |leg| leg.received == 2);
    assert!(statistics.dropped.is_empty(), "{statistics:?}");
}

fn a_port_that_is_not_told_yet_is_not_learned_from_elsewhere(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let mut expected = camera_leg(SourcePolicy::Pinned);
    expected.remote = Some(SocketAddrV4::new(Topology::VIEWER.terminal, 0).into());
    let [leg, _] = bench.call(expected, viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_silent(&viewer);
    let statistics = bench.statistics_when(leg, |statistics| statistics.received == 1);
    assert_eq!(statistics.dropped, [("source_mismatch", 1)]);
}

pub(crate) fn nothing_is_forwarded_after_removal(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let legs = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);

    assert_eq!(bench.relay.remove(&legs)[0].received, 1);

    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    assert_silent(&viewer);
    assert_eq!(bench.relay.occupancy().0, 0);
}

pub(crate) fn a_neighbour_that_changes_its_address_is_followed(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);

    let device = Topology::TERMINAL_DEVICE;
    bench.topology.viewer.ip(&["link", "set", device, "address", "02:00:00:00:00:77"]).unwrap();
    let route =
        ["neigh", "replace", "10.78.2.2", "lladdr", "02:00:00:00:00:77", "dev", Topology::VIEWER.device];
    bench.topology.relay.ip(&route).unwrap();

    // The change takes a moment.
    viewer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    wait_until("media goes to the new address", || {
        camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
        viewer.recv_from(&mut [0; 2048]).is_ok()
    });
}

pub(crate) fn a_route_that_changes_is_followed(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    // The viewer has a second address, which is no neighbour: a route leads there.
    let address = std::net::Ipv4Addr::new(192, 0, 2, 9);
    bench.topology.viewer.ip(&["address", "add", "192.0.2.9/32", "dev", "lo"]).unwrap();
    let relay = &bench.topology.relay;
    relay.ip(&["route", "add", "192.0.2.0/24", "via", "10.78.2.2"]).unwrap();
    let far = LegSpec { remote: Some((address, VIEWER_PORT).into()), ..viewer_leg(SourcePolicy::Pinned) };
    let [leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), far);
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.topology.viewer.run(|| UdpSocket::bind((address, VIEWER_PORT)).unwrap()).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    viewer.set_read_timeout(Some(SILENCE)).unwrap();
    let arrives = || {
        camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
        viewer.recv_from(&mut [0; 2048]).is_ok()
    };

    // A router that does not exist, then the right one again.
    relay.ip(&["route", "replace", "192.0.2.0/24", "via", "10.78.2.77"]).unwrap();
    wait_until("media goes the old way no more", || {
        // The network stack keeps a few packets for a neighbour, and tells nobody of the others.
        !arrives() && (mode == ModeChoice::User || is_dropped_as(&bench, leg, "next_hop_unresolved"))
    });
    relay.ip(&["route", "replace", "192.0.2.0/24", "via", "10.78.2.2"]).unwrap();
    wait_until("media goes the new way", arrives);
}

fn is_dropped_as(bench: &Bench, leg: LegId, reason: &str) -> bool {
    bench.relay.statistics(leg).unwrap().dropped.iter().any(|(name, _)| *name == reason)
}

#[test]
fn a_route_is_followed_however_often_neighbours_change() {
    let bench = Bench::start();
    let relay = &bench.topology.relay;
    relay.ip(&["route", "add", "192.0.2.0/24", "via", "10.78.2.2"]).unwrap();
    let far = LegSpec { remote: Some("192.0.2.9:6004".parse().unwrap()), ..viewer_leg(SourcePolicy::Pinned) };
    let [leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), far);
    let camera = bench.camera_socket(CAMERA_PORT);
    relay.ip(&["route", "replace", "192.0.2.0/24", "via", "10.78.2.77"]).unwrap();

    // One change every 10 ms or so; the relay waits longer than that for routes to settle.
    let mut number = 0_u8;
    wait_until("media goes the old way no more", || {
        number = number.wrapping_add(1);
        let mac = format!("02:00:00:00:00:{number:02x}");
        relay
            .ip(&["neigh", "replace", "10.78.2.88", "lladdr", &mac, "dev", Topology::VIEWER.device])
            .unwrap();
        camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
        is_dropped_as(&bench, leg, "next_hop_unresolved")
    });
}

#[test]
fn everything_else_reaches_the_kernel() {
    let bench = Bench::start();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let address = (Topology::CAMERA.relay, 5060);
    let signalling = bench.topology.relay.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    let camera = bench.camera_socket(5060);

    camera.send_to(b"OPTIONS sip:relay SIP/2.0\r\n\r\n", address).unwrap();

    assert_eq!(receive(&signalling).0, b"OPTIONS sip:relay SIP/2.0\r\n\r\n");
    let counters = bench.relay.counters();
    assert!(counters.iter().any(|(name, count)| *name == "no_leg" && *count >= 1), "{counters:?}");
    assert!(counters.iter().any(|(name, count)| *name == "not_ip" && *count >= 1), "ARP: {counters:?}");
}

#[test]
fn generic_mode_forwards_too_and_says_why() {
    let bench = Bench::with_mode(ModeChoice::Generic);
    assert!(bench.relay.interfaces().iter().all(|interface| interface.mode == Mode::Generic));
    assert_eq!(bench.relay.interfaces()[0].reason, "the configuration asks for generic mode");
    bench.call(camera_leg(SourcePolicy::Learn), viewer_leg(SourcePolicy::Learn));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    for sequence in 0..20 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, 7));
    }
}

// Sockets leave it to the kernel to make fragments, so there is no such test of theirs.
#[test]
fn a_sender_learns_the_path_mtu() {
    a_sender_learns_the_path_mtu_of(ModeChoice::Native);
}

#[test]
fn a_sender_learns_the_path_mtu_in_generic_mode() {
    a_sender_learns_the_path_mtu_of(ModeChoice::Generic);
}

fn a_sender_learns_the_path_mtu_of(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let large = [0x80; 1400];
    camera.send_to(&large, to_relay_from_camera()).unwrap();
    receive(&viewer);
    be_quiet(&bench.topology);

    bench.topology.relay.ip(&["link", "set", Topology::VIEWER.device, "mtu", "1300"]).unwrap();
    forbid_fragments(&camera);
    // Less than the 15 seconds after which the relay asks for its neighbours again: that would wake a device, too.
    wait_within(Duration::from_secs(10), "the camera's own network stack refuses what is too big", || {
        camera
            .send_to(&large, to_relay_from_camera())
            .is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE))
    });
    assert!(camera.send_to(&large[..1200], to_relay_from_camera()).is_ok());
}

/// From now on nothing is sent to the camera of itself: an answer that comes has come by itself. Both ends must know each
/// other.
fn be_quiet(topology: &Topology) {
    let side = Topology::CAMERA;
    let ends = [
        (&topology.camera, Topology::TERMINAL_DEVICE, side.relay),
        (&topology.relay, side.device, side.terminal),
    ];
    for (namespace, device, neighbour) in ends {
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let neighbour = neighbour.to_string();
        namespace.ip(&["neigh", "replace", &neighbour, "dev", device, "nud", "permanent"]).unwrap();
    }
}

/// Packets that are too big are refused instead of fragmented.
fn forbid_fragments(socket: &UdpSocket) {
    let value = libc::IP_PMTUDISC_DO;
    // SAFETY: an open socket, and a value that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of_val(&value).try_into().unwrap(),
        )
    };
    assert_eq!(result, 0);
}
