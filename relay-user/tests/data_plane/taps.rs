//! Taps: every packet of a tapped leg is copied, as it arrived and as it left, and of no other leg.

use std::time::{Duration, SystemTime};

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use relay_user::tap::{Direction, MOST_TAPS, Tap, TapError, TapFrame, pcapng};
use relay_user::{LegSpec, MediaKind, ModeChoice, RateLimit, RetagSpec, RtcpMode, SourcePolicy};
use testbed::Topology;

use crate::support::*;

on_every_backend! {
    a_tap_sees_both_directions_of_its_leg,
    a_capture_reads_back_what_passed,
    what_is_translated_and_what_ends_here_is_seen,
    packets_beyond_a_limit_are_seen_as_they_arrived,
    two_taps_of_a_leg_see_the_same_and_the_last_one_ends_the_copies,
    a_moved_remote_side_stays_tapped,
    a_tap_ends_with_its_leg,
    taps_are_limited,
}

/// The frame that comes next, if one comes soon.
fn next(bench: &Bench, tap: &mut Tap) -> Option<TapFrame> {
    let wait = async { tokio::time::timeout(PATIENCE, tap.next()).await };
    bench.runtime.block_on(wait).ok().flatten()
}

fn is_silent(bench: &Bench, tap: &mut Tap) -> bool {
    bench.runtime.block_on(async { tokio::time::timeout(SILENCE, tap.next()).await }).is_err()
}

/// Source and destination port, and the payload.
fn udp(frame: &TapFrame) -> (u16, u16, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(&frame.bytes).unwrap();
    assert!(matches!(packet.net, Some(NetHeaders::Ipv4(..))));
    let header = packet.transport.and_then(TransportHeader::udp).unwrap();
    (header.source_port, header.destination_port, packet.payload.slice().to_vec())
}

pub(crate) fn a_tap_sees_both_directions_of_its_leg(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, viewer_leg] =
        bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(viewer_leg).unwrap();
    assert_eq!(tap.leg(), viewer_leg);

    let before = SystemTime::now();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(1, 7));
    let left = next(&bench, &mut tap).unwrap();
    assert_eq!(left.direction, Direction::Out);
    assert_eq!(udp(&left), (VIEWER_LEG, VIEWER_PORT, rtp(1, 7)), "as the viewer gets it");
    assert_eq!((&*left.interface, left.length), (Topology::VIEWER.device, 42 + 172));
    assert_eq!(left.bytes.len(), 42 + 172);
    let ago = left.time.duration_since(before - Duration::from_millis(5)).unwrap();
    assert!(ago < PATIENCE, "{ago:?}");

    viewer.send_to(&rtp(2, 8), to_relay_from_viewer()).unwrap();
    receive(&camera);
    let arrived = next(&bench, &mut tap).unwrap();
    assert_eq!(arrived.direction, Direction::In);
    assert_eq!(udp(&arrived), (VIEWER_PORT, VIEWER_LEG, rtp(2, 8)), "as the viewer sent it");
    assert_eq!(&*arrived.interface, Topology::VIEWER.device);
    assert!(is_silent(&bench, &mut tap), "what passes the other leg is not the tap's");

    let mut other = bench.relay.tap(camera_leg).unwrap();
    camera.send_to(&rtp(3, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    let arrived = next(&bench, &mut other).unwrap();
    assert_eq!(udp(&arrived), (CAMERA_PORT, CAMERA_LEG, rtp(3, 7)), "as the camera sent it");
    assert_eq!(&*arrived.interface, Topology::CAMERA.device);
    assert_eq!(udp(&next(&bench, &mut tap).unwrap()), (VIEWER_LEG, VIEWER_PORT, rtp(3, 7)));
    assert_eq!((tap.lost(), other.lost()), (0, 0));
}

fn two_taps_of_a_leg_see_the_same_and_the_last_one_ends_the_copies(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut first = bench.relay.tap(camera_leg).unwrap();
    let mut second = bench.relay.tap(camera_leg).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    assert_eq!(next(&bench, &mut first).unwrap(), next(&bench, &mut second).unwrap());

    drop(first);
    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    assert_eq!(udp(&next(&bench, &mut second).unwrap()).2, rtp(2, 7));

    drop(second);
    let mut third = bench.relay.tap(camera_leg).unwrap();
    assert!(is_silent(&bench, &mut third), "nothing is left over for the next one");
}

fn a_moved_remote_side_stays_tapped(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let camera = bench.camera_socket(CAMERA_PORT);
    let (_, elsewhere) = (bench.viewer_socket(VIEWER_PORT), bench.viewer_socket(VIEWER_PORT + 2));
    let [_, viewer_leg] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(viewer_leg).unwrap();
    let remote = elsewhere.local_addr().unwrap();
    bench.runtime.block_on(bench.relay.set_remote(viewer_leg, Some(remote))).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&elsewhere);
    assert_eq!(udp(&next(&bench, &mut tap).unwrap()), (VIEWER_LEG, VIEWER_PORT + 2, rtp(1, 7)));
}

fn a_tap_ends_with_its_leg(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [camera_leg, viewer_leg] =
        bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(camera_leg).unwrap();
    bench.relay.remove(&[camera_leg, viewer_leg]);
    let ended = bench.runtime.block_on(async { tokio::time::timeout(PATIENCE, tap.next()).await });
    assert_eq!(ended, Ok(None));
    assert_eq!(bench.relay.tap(camera_leg).unwrap_err(), TapError::NoLeg(camera_leg));
}

fn taps_are_limited(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let open: Vec<Tap> = (0..MOST_TAPS).map(|_| bench.relay.tap(camera_leg).unwrap()).collect();
    assert_eq!(bench.relay.tap(camera_leg).unwrap_err(), TapError::TooMany);
    drop(open);
    assert!(bench.relay.tap(camera_leg).is_ok());
}

#[test]
fn what_the_ring_could_not_take_is_counted_and_still_forwarded() {
    const SENT: u64 = 3_000;
    // Nobody reads the ring meanwhile.
    let bench = Bench::unattended();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(camera_leg).unwrap();
    let mut packet = rtp(1, 7);
    packet.resize(1_400, 0);
    for _ in 0..SENT {
        camera.send_to(&packet, to_relay_from_camera()).unwrap();
        receive(&viewer);
    }
    let lost = tap.lost();
    // A record takes 2,088 bytes of 4 MiB.
    assert_eq!(lost, SENT - (4 << 20) / 2_088);
    let mut copied = 0;
    while let Some(frame) = next(&bench, &mut tap) {
        assert_eq!((frame.length, frame.bytes.len()), (1_442, 1_442));
        copied += 1;
        if copied + tap.lost() == SENT {
            break;
        }
    }
    assert_eq!(copied + tap.lost(), SENT);
}

/// The packets of a capture: direction, bytes on the wire, and those that were captured.
fn read_back(mut file: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let mut packets = Vec::new();
    while !file.is_empty() {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let size = |at: usize| usize::try_from(word(at)).unwrap();
        let block = size(4);
        assert_eq!(word(block - 4), word(4), "both lengths of a block agree");
        if word(0) == pcapng::PACKET_BLOCK {
            let captured = size(20);
            // Behind the bytes the option for flags, whose lowest bits are the direction.
            let flags = 28 + captured.next_multiple_of(4) + 4;
            packets.push((word(flags) & 3, word(24), file[28..28 + captured].to_vec()));
        }
        file = &file[block..];
    }
    packets
}

/// Ports, bytes on the wire, and payload of a packet.
type Seen = (u16, u16, u32, Vec<u8>);

/// What a tap has seen, written to a capture and read back: ports and payload of what came in, and of what went out.
fn capture(bench: &Bench, tap: &mut Tap, frames: usize) -> [Vec<Seen>; 2] {
    let mut file = pcapng::Writer::new(Vec::new(), "a leg").unwrap();
    for _ in 0..frames {
        let TapFrame { direction, interface, time, length, bytes } = next(bench, tap).expect("a frame");
        file.packet(&interface, direction, time, &bytes, length).unwrap();
    }
    assert!(is_silent(bench, tap), "no frame is copied twice");
    assert_eq!(tap.lost(), 0);
    let mut seen = [Vec::new(), Vec::new()];
    for (direction, length, bytes) in read_back(file.get_mut()) {
        let packet = etherparse::LaxPacketHeaders::from_ethernet(&bytes).unwrap();
        let header = packet.transport.and_then(TransportHeader::udp).unwrap();
        let payload = packet.payload.slice().to_vec();
        let side = usize::try_from(direction).unwrap() - 1;
        seen[side].push((header.source_port, header.destination_port, length, payload));
    }
    seen
}

/// Packets of so many bytes both ways, and what a tap of the viewer's leg shows of them.
fn both_ways(bench: &Bench, camera: LegSpec, viewer: LegSpec, bytes: usize) {
    let (at_camera, at_viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [_, viewer_leg] = bench.call(camera, viewer);
    let mut tap = bench.relay.tap(viewer_leg).unwrap();
    let packet = |sequence| {
        let mut packet = rtp(sequence, 7);
        packet.resize(bytes, 0x5a);
        packet
    };
    for sequence in 0..3 {
        at_camera.send_to(&packet(sequence), to_relay_from_camera()).unwrap();
        assert!(receive(&at_viewer).0 == packet(sequence));
        at_viewer.send_to(&packet(sequence + 100), to_relay_from_viewer()).unwrap();
        assert!(receive(&at_camera).0 == packet(sequence + 100));
    }
    let length = u32::try_from(42 + bytes).unwrap();
    let captured = bytes.min(2_048 - 42);
    let expected = |from, to, first: u16| -> Vec<_> {
        (first..first + 3).map(|number| (from, to, length, packet(number)[..captured].to_vec())).collect()
    };
    let [came, went] = capture(bench, &mut tap, 6);
    assert!(came == expected(VIEWER_PORT, VIEWER_LEG, 100), "{came:?}");
    assert!(went == expected(VIEWER_LEG, VIEWER_PORT, 0), "{went:?}");
}

fn a_capture_reads_back_what_passed(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    both_ways(&bench, camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned), 172);
}

#[test]
fn a_capture_shows_what_af_xdp_workers_send() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let bench = Bench::with_mode(mode);
        let (camera, viewer) = (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
        both_ways(&bench, camera.punted(true), viewer.punted(true), 172);
        assert_eq!(bench.relay.punt_path().unwrap().counters.sent, 6);
    }
}

#[test]
fn a_capture_shows_what_the_kernel_path_carries() {
    let bench = Bench::start();
    // In fragments on the wires, and whole in the capture.
    both_ways(&bench, camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned), 4_096);
}

#[test]
fn a_capture_shows_once_what_no_worker_takes() {
    let bench = Bench::without_af_xdp(ModeChoice::Native);
    let (camera, viewer) = (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    both_ways(&bench, camera.punted(true), viewer.punted(true), 172);
    assert!(bench.relay.counters().contains(&("no_worker", 6)));
}

fn what_is_translated_and_what_ends_here_is_seen(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let camera = camera_leg(SourcePolicy::Pinned).media(MediaKind::Muxed);
    let viewer = viewer_leg(SourcePolicy::Pinned).media(MediaKind::Muxed).rtcp(RtcpMode::Terminate);
    let [camera_leg, viewer_leg] = bench.call(camera, viewer.retag(RetagSpec::default().ssrc(99)));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [mut before, mut after] = [camera_leg, viewer_leg].map(|leg| bench.relay.tap(leg).unwrap());
    // An empty receiver report of source 7, and of source 99.
    let report = |ssrc: u8| [0x80, 201, 0, 1, 0, 0, 0, ssrc];
    camera.send_to(&report(7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, report(99));
    let [came, _] = capture(&bench, &mut before, 1);
    assert_eq!(came, [(CAMERA_PORT, CAMERA_LEG, 50, report(7).to_vec())]);
    let [_, went] = capture(&bench, &mut after, 1);
    assert_eq!(went, [(VIEWER_LEG, VIEWER_PORT, 50, report(99).to_vec())]);
    viewer.send_to(&report(5), to_relay_from_viewer()).unwrap();
    let [came, _] = capture(&bench, &mut after, 1);
    assert_eq!(came, [(VIEWER_PORT, VIEWER_LEG, 50, report(5).to_vec())]);
}

pub(crate) fn packets_beyond_a_limit_are_seen_as_they_arrived(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let limited = camera_leg(SourcePolicy::Pinned).limit(RateLimit::packets(10));
    let [camera_leg, _] = bench.call(limited, viewer_leg(SourcePolicy::Pinned));
    let (camera, _viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let mut tap = bench.relay.tap(camera_leg).unwrap();
    for sequence in 0..100 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
    }
    bench.statistics_when(camera_leg, |leg| leg.received == 100);
    let [came, _] = capture(&bench, &mut tap, 100);
    assert_eq!(came.len(), 100);
    let statistics = bench.relay.statistics(camera_leg).unwrap();
    assert!(statistics.dropped.iter().any(|(name, count)| *name == "rate_exceeded" && *count > 50));
}

#[test]
fn reports_of_the_relay_itself_are_seen() {
    for mode in [ModeChoice::Native, ModeChoice::User] {
        let bench = Bench::with_mode(mode);
        let camera = camera_leg(SourcePolicy::Pinned).media(MediaKind::Muxed).rtcp(RtcpMode::Terminate);
        let [camera_leg, _] = bench.call(camera, viewer_leg(SourcePolicy::Pinned));
        let camera = bench.camera_socket(CAMERA_PORT);
        camera.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
        let mut tap = bench.relay.tap(camera_leg).unwrap();
        let (report, _) = receive(&camera);
        let frame = next(&bench, &mut tap).unwrap();
        assert_eq!(udp(&frame), (CAMERA_LEG, CAMERA_PORT, report), "{mode:?}");
        assert_eq!((frame.direction, &*frame.interface), (Direction::Out, Topology::CAMERA.device));
    }
}
