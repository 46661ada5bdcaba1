//! What a receiver sees when RTP is retagged on the way to it, and when its source is switched.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use relay_user::{
    Continuity, InstallError, LegId, LegSpec, ModeChoice, Plan, RetagSpec, SourcePolicy, StreamSpec,
};
use testbed::Topology;

use crate::kernel_path::Capture;
use crate::support::*;

on_every_backend! {
    every_field_is_changed_as_told_and_the_checksum_follows,
    the_other_direction_stays_as_it_is,
    payload_types_without_a_rule_and_the_marker_stay,
    a_switched_stream_goes_on_without_a_jump,
    packets_of_the_camera_that_nobody_sees_are_counted_and_not_sent,
    a_source_that_never_sent_a_packet_leaves_no_gap,
    a_leg_that_never_sent_may_be_switched_to_a_source,
    of_two_who_switch_at_the_same_moment_one_is_told_to_try_again,
    a_receiver_of_several_sources_keeps_only_the_one_that_it_is_switched_to,
    what_cannot_be_switched_is_refused_and_nothing_changes,
}

/// The header fields of an RTP packet that may be retagged: payload type with its marker, sequence, timestamp, SSRC.
fn header(packet: &[u8]) -> (u8, u16, u32, u32) {
    let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    (packet[1], u16::from_be_bytes([packet[2], packet[3]]), word(4), word(8))
}

fn retagged(mode: ModeChoice, retag: RetagSpec) -> (Bench, UdpSocket, UdpSocket) {
    let bench = Bench::with_mode(mode);
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned).retag(retag));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    (bench, camera, viewer)
}

pub(crate) fn every_field_is_changed_as_told_and_the_checksum_follows(mode: ModeChoice) {
    let offset = Continuity::Offset { sequence: 65_000, timestamp: u32::MAX };
    let retag = RetagSpec::default().ssrc(0x0a0b_0c0d).payload_type(96, 33).continuity(offset).dscp(46);
    let (bench, camera, viewer) = retagged(mode, retag);
    let capture = Capture::of(&bench.topology.viewer);
    for sequence in [0, 1, 535, 536, u16::MAX] {
        let sent = rtp(sequence, 7);
        camera.send_to(&sent, to_relay_from_camera()).unwrap();
        // The socket would not get a packet with a wrong checksum.
        let received = receive(&viewer).0;
        let timestamp = u32::from(sequence).wrapping_mul(3600).wrapping_sub(1);
        assert_eq!(header(&received), (33, sequence.wrapping_add(65_000), timestamp, 0x0a0b_0c0d));
        assert_eq!(received[12..], sent[12..]);
    }
    let traffic_classes: Vec<u8> = capture.ipv4_headers().iter().map(|header| header[1]).collect();
    assert_eq!(traffic_classes, [46 << 2; 5]);
}

pub(crate) fn the_other_direction_stays_as_it_is(mode: ModeChoice) {
    let (_bench, camera, viewer) = retagged(mode, RetagSpec::default().ssrc(1).payload_type(96, 97));
    viewer.send_to(&rtp(9, 8), to_relay_from_viewer()).unwrap();
    assert_eq!(receive(&camera).0, rtp(9, 8));
}

pub(crate) fn payload_types_without_a_rule_and_the_marker_stay(mode: ModeChoice) {
    let (_bench, camera, viewer) =
        retagged(mode, RetagSpec::default().payload_type(96, 97).payload_type(97, 96));
    for (sent, expected) in [(96, 97), (97, 96), (0x80 | 96, 0x80 | 97), (8, 8)] {
        let mut packet = rtp(1, 7);
        packet[1] = sent;
        camera.send_to(&packet, to_relay_from_camera()).unwrap();
        let received = receive(&viewer).0;
        assert_eq!(received[1], expected, "payload type {sent}");
        assert_eq!(header(&received).3, 7);
    }
}

/// Two cameras, of which the first is seen by the viewer, who sees one stream whatever happens.
struct TwoCameras {
    bench: Bench,
    legs: [LegId; 3],
    cameras: [UdpSocket; 2],
    viewer: UdpSocket,
}

const SECOND_LEG: u16 = CAMERA_LEG + 2;
const SECOND_PORT: u16 = CAMERA_PORT + 2;
const VIEWER_SSRC: u32 = 0xcafe_0001;

impl TwoCameras {
    fn start(mode: ModeChoice) -> Self {
        let bench = Bench::with_mode(mode);
        let side = Topology::CAMERA;
        let second =
            LegSpec::new((side.relay, SECOND_LEG).into()).remote((side.terminal, SECOND_PORT).into());
        let retag = RetagSpec::default().ssrc(VIEWER_SSRC).continuity(Continuity::Continue);
        let viewer = viewer_leg(SourcePolicy::Pinned).clock_rate(90_000).retag(retag);
        let legs = vec![camera_leg(SourcePolicy::Pinned), second, viewer];
        let plan = Plan { legs: on_their_path(legs), streams: vec![StreamSpec { ingress: 0, egress: 2 }] };
        let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap().try_into().unwrap();
        let cameras = [bench.camera_socket(CAMERA_PORT), bench.camera_socket(SECOND_PORT)];
        let viewer = bench.viewer_socket(VIEWER_PORT);
        Self { bench, legs, cameras, viewer }
    }

    fn send(&self, camera: usize, sequence: u16, timestamp: u32) {
        let mut packet = rtp(sequence, 100 + u32::try_from(camera).unwrap());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        let side = Topology::CAMERA;
        self.cameras[camera].send_to(&packet, (side.relay, [CAMERA_LEG, SECOND_LEG][camera])).unwrap();
    }

    fn see(&self) -> (u16, u32) {
        let (_, sequence, timestamp, ssrc) = header(&receive(&self.viewer).0);
        assert_eq!(ssrc, VIEWER_SSRC);
        (sequence, timestamp)
    }

    fn switch_to(&self, camera: usize) -> Result<(), InstallError> {
        self.bench.runtime.block_on(self.bench.relay.switch(self.legs[2], self.legs[camera]))
    }
}

pub(crate) fn a_switched_stream_goes_on_without_a_jump(mode: ModeChoice) {
    let two = TwoCameras::start(mode);
    let mut last = (0, 0);
    for (number, sequence) in (65_530..65_540_u32).enumerate() {
        two.send(0, (sequence & 0xffff) as u16, 1_000_000 + 3600 * u32::try_from(number).unwrap());
        last = two.see();
    }
    assert_eq!(last, (3, 1_000_000 + 3600 * 9), "the first source keeps its own numbers");
    // The second camera runs already, with numbers of its own; nobody sees it.
    two.send(1, 40_000, 5);
    two.bench.statistics_when(two.legs[1], |leg| leg.received == 1);

    for (camera, first) in [(1, 40_001_u16), (0, 9), (1, 50)] {
        let before = Instant::now();
        two.switch_to(camera).unwrap();
        std::thread::sleep(Duration::from_millis(40));
        for step in 0..5 {
            two.send(camera, first.wrapping_add(step), 77_000 + 3600 * u32::from(step));
            let seen = two.see();
            assert_eq!(seen.0, last.0.wrapping_add(1), "camera {camera}, packet {step}");
            let passed = seen.1.wrapping_sub(last.1);
            if step == 0 {
                // 40 ms are 3,600 ticks; the machine may be slow, and clocks are told in milliseconds.
                let most = (before.elapsed() + Duration::from_millis(50)).as_millis() * 90;
                assert!((3_000..).contains(&passed) && u128::from(passed) <= most + 9_000, "{passed} ticks");
            } else {
                assert_eq!(passed, 3600, "camera {camera}, packet {step}");
            }
            last = seen;
        }
    }
}

fn packets_of_the_camera_that_nobody_sees_are_counted_and_not_sent(mode: ModeChoice) {
    let two = TwoCameras::start(mode);
    two.send(0, 1, 1);
    two.see();
    two.switch_to(1).unwrap();
    two.send(0, 2, 2);
    assert_silent(&two.viewer);
    two.send(1, 9, 9);
    two.see();

    let [first, second, viewer] = two.legs.map(|leg| {
        // What left is counted once it left.
        two.bench.statistics_when(leg, |counted| counted.forwarded.max(counted.sent / 2) == 1)
    });
    assert_eq!((first.forwarded, first.dropped), (1, vec![("no_stream", 1)]));
    assert_eq!((second.forwarded, second.dropped.len()), (1, 0));
    assert_eq!(viewer.sent, 2, "what left by the leg is what both sent there");
    assert_eq!(viewer.sent_bytes, first.forwarded_bytes + second.forwarded_bytes);
}

fn a_source_that_never_sent_a_packet_leaves_no_gap(mode: ModeChoice) {
    let two = TwoCameras::start(mode);
    two.send(0, 100, 1000);
    assert_eq!(two.see().0, 100);
    two.switch_to(1).unwrap();
    two.switch_to(0).unwrap();
    two.send(0, 500, 9);
    assert_eq!(two.see().0, 101);
}

fn a_leg_that_never_sent_may_be_switched_to_a_source(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let legs = vec![camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned)];
    let legs = bench.runtime.block_on(bench.relay.install(&Plan { legs, streams: vec![] })).unwrap();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_silent(&viewer);

    bench.runtime.block_on(bench.relay.switch(legs[1], legs[0])).unwrap();
    // Again is nothing new.
    bench.runtime.block_on(bench.relay.switch(legs[1], legs[0])).unwrap();

    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(2, 7));
}

fn of_two_who_switch_at_the_same_moment_one_is_told_to_try_again(mode: ModeChoice) {
    let two = TwoCameras::start(mode);
    let third = LegSpec::new((Topology::CAMERA.relay, SECOND_LEG + 2).into())
        .remote((Topology::CAMERA.terminal, SECOND_PORT + 2).into());
    let plan = Plan { legs: vec![third], streams: vec![] };
    let third = two.bench.runtime.block_on(two.bench.relay.install(&plan)).unwrap()[0];
    let (relay, viewer) = (&two.bench.relay, two.legs[2]);
    let (one, other) = two
        .bench
        .runtime
        .block_on(async { tokio::join!(relay.switch(viewer, two.legs[1]), relay.switch(viewer, third)) });
    assert!(one.is_ok(), "{one:?}");
    assert!(matches!(other, Err(InstallError::Unfit { leg, .. }) if leg == viewer), "{other:?}");
    two.send(1, 9, 9);
    two.see();
}

fn a_receiver_of_several_sources_keeps_only_the_one_that_it_is_switched_to(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let side = Topology::CAMERA;
    let second = LegSpec::new((side.relay, SECOND_LEG).into()).remote((side.terminal, SECOND_PORT).into());
    let legs = vec![camera_leg(SourcePolicy::Pinned), second, viewer_leg(SourcePolicy::Pinned)];
    let streams = [0, 1].map(|ingress| StreamSpec { ingress, egress: 2 }).to_vec();
    let legs = bench.runtime.block_on(bench.relay.install(&Plan { legs, streams })).unwrap();
    let cameras = [bench.camera_socket(CAMERA_PORT), bench.camera_socket(SECOND_PORT)];
    let viewer = bench.viewer_socket(VIEWER_PORT);
    let send = |camera: usize, sequence| {
        let to = (side.relay, [CAMERA_LEG, SECOND_LEG][camera]);
        cameras[camera].send_to(&rtp(sequence, 7), to).unwrap();
    };
    for camera in [0, 1] {
        send(camera, 1);
        receive(&viewer);
    }
    bench.runtime.block_on(bench.relay.switch(legs[2], legs[1])).unwrap();
    send(0, 2);
    assert_silent(&viewer);
    send(1, 3);
    assert_eq!(receive(&viewer).0, rtp(3, 7));
}

fn what_cannot_be_switched_is_refused_and_nothing_changes(mode: ModeChoice) {
    let two = TwoCameras::start(mode);
    let [first, _, viewer] = two.legs;
    let other = LegSpec::new((Topology::VIEWER.relay, VIEWER_LEG + 2).into())
        .remote((Topology::VIEWER.terminal, VIEWER_PORT + 2).into());
    let plan = Plan { legs: vec![other], streams: vec![] };
    let other = two.bench.runtime.block_on(two.bench.relay.install(&plan)).unwrap()[0];
    let switch = |egress, ingress| two.bench.runtime.block_on(two.bench.relay.switch(egress, ingress));

    let error = switch(other, first).unwrap_err();
    assert!(matches!(error, InstallError::Unfit { leg, .. } if leg == first), "{error}");
    assert!(error.to_string().contains("feeds another leg"), "{error}");
    assert!(matches!(switch(viewer, viewer), Err(InstallError::Unfit { .. })));
    two.bench.relay.remove(&[other]);
    assert!(matches!(switch(other, first), Err(InstallError::Gone)));
    assert!(matches!(switch(viewer, other), Err(InstallError::Gone)));

    two.send(0, 1, 1);
    two.see();
}
