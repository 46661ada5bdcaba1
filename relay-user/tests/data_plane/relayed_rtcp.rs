//! RTCP that is relayed beside a stream that is retagged: each side reads the stream's name, times and numbers as it knows
//! them, whoever carries the packets.

use std::net::{SocketAddr, UdpSocket};

use relay_common::rtcp::{Compound, Packet, ReportBlock, SenderInfo, Writer};
use relay_user::{
    Continuity, InstallError, LegId, LegSpec, MediaKind, ModeChoice, Plan, RetagSpec, SourcePolicy,
    StreamSpec,
};
use testbed::Topology;

use crate::support::*;

on_every_backend! {
    reports_are_translated_both_ways,
    reports_beside_media_on_one_port_are_translated_both_ways,
    requests_and_goodbyes_are_translated,
    a_report_says_the_time_of_the_stream_that_a_switch_left_behind,
    reports_of_a_stream_that_has_not_begun_wait_for_the_next,
    what_is_no_rtcp_is_dropped_and_counted,
    reports_are_translated_from_the_installation_of_the_media_on,
}

const SSRC: u32 = 7;
const SSRC_OUT: u32 = 0x9999_0001;
const VIEWER: u32 = 50;
/// Added to sequence numbers and timestamps.
const SEQUENCE: u16 = 65_000;
const TIMESTAMP: u32 = 123_456;
const NTP: u64 = 0xe000_0010_8000_0000;

fn retag() -> RetagSpec {
    let continuity = Continuity::Offset { sequence: SEQUENCE, timestamp: TIMESTAMP };
    RetagSpec::default().ssrc(SSRC_OUT).continuity(continuity)
}

fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// The leg for the RTCP of a leg for RTP.
fn rtcp_of(leg: &LegSpec) -> LegSpec {
    LegSpec::new(above(leg.local)).remote(above(leg.remote.unwrap())).media(MediaKind::Rtcp)
}

const BOTH_WAYS: [StreamSpec; 4] = [
    StreamSpec { ingress: 0, egress: 1 },
    StreamSpec { ingress: 1, egress: 0 },
    StreamSpec { ingress: 2, egress: 3 },
    StreamSpec { ingress: 3, egress: 2 },
];

/// A camera whose stream the viewer sees under another name.
struct Session {
    bench: Bench,
    camera: UdpSocket,
    viewer: UdpSocket,
    camera_rtcp: UdpSocket,
    viewer_rtcp: UdpSocket,
    /// The legs that RTCP arrives on: the camera's and the viewer's.
    rtcp: [LegId; 2],
    above: bool,
}

impl Session {
    /// RTCP on ports of its own.
    fn start(mode: ModeChoice) -> Self {
        Self::on(Bench::with_mode(mode))
    }

    fn on(bench: Bench) -> Self {
        let (camera, viewer) =
            (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned).retag(retag()));
        let legs = vec![camera.clone(), viewer.clone(), rtcp_of(&camera), rtcp_of(&viewer)];
        let plan = Plan { legs: on_their_path(legs), streams: BOTH_WAYS.to_vec() };
        let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
        Self {
            camera: bench.camera_socket(CAMERA_PORT),
            viewer: bench.viewer_socket(VIEWER_PORT),
            camera_rtcp: bench.camera_socket(CAMERA_PORT + 1),
            viewer_rtcp: bench.viewer_socket(VIEWER_PORT + 1),
            rtcp: [legs[2], legs[3]],
            above: true,
            bench,
        }
    }

    /// RTCP beside the media.
    fn muxed(bench: Bench) -> Self {
        let camera = camera_leg(SourcePolicy::Pinned).media(MediaKind::Muxed);
        let viewer = viewer_leg(SourcePolicy::Pinned).media(MediaKind::Muxed).retag(retag());
        let rtcp = bench.call(camera, viewer);
        let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
        let [camera_rtcp, viewer_rtcp] = [&camera, &viewer].map(|socket| socket.try_clone().unwrap());
        Self { bench, camera, viewer, camera_rtcp, viewer_rtcp, rtcp, above: false }
    }

    fn stream(&self, sequences: std::ops::Range<u32>) {
        for sequence in sequences {
            let sequence = u16::try_from(sequence & 0xffff).unwrap();
            self.camera.send_to(&rtp(sequence, SSRC), to_relay_from_camera()).unwrap();
            let received = receive(&self.viewer).0;
            assert_eq!(received[8..12], SSRC_OUT.to_be_bytes());
        }
    }

    fn at(&self, address: SocketAddr) -> SocketAddr {
        if self.above { above(address) } else { address }
    }

    /// What the viewer gets of RTCP that the camera sends.
    fn seen_by_viewer(&self, bytes: &[u8]) -> Vec<u8> {
        self.camera_rtcp.send_to(bytes, self.at(to_relay_from_camera())).unwrap();
        let (bytes, from) = receive(&self.viewer_rtcp);
        assert_eq!(from, self.at(to_relay_from_viewer()));
        bytes
    }

    /// What the camera gets of RTCP that the viewer sends.
    fn seen_by_camera(&self, bytes: &[u8]) -> Vec<u8> {
        self.viewer_rtcp.send_to(bytes, self.at(to_relay_from_viewer())).unwrap();
        let (bytes, from) = receive(&self.camera_rtcp);
        assert_eq!(from, self.at(to_relay_from_camera()));
        bytes
    }

    /// Reports of both sides reach the other side in its own terms, and the books say so.
    fn reports(&self) {
        self.stream(65_530..65_540);
        let bytes = self.seen_by_viewer(&sender_report(SSRC, 1_000));
        assert_eq!(bytes, sender_report(SSRC_OUT, 1_000 + TIMESTAMP));
        // The viewer has seen 65,530 + 65,000 - 65,536 first, so no wrap; the camera's own number has wrapped once.
        let bytes = self.seen_by_camera(&receiver_report(SSRC_OUT, 65_539 - 65_536 + u32::from(SEQUENCE)));
        assert_eq!(block(&bytes), report_block(SSRC, 65_539));
        assert_eq!(Compound::parse(&bytes).unwrap().sender(), Some(VIEWER));
        for leg in self.rtcp {
            let statistics = self.bench.statistics_when(leg, |leg| leg.forwarded >= 1);
            assert_eq!((statistics.received, &statistics.dropped[..]), (statistics.forwarded, &[][..]));
        }
        let counters = self.bench.relay.rtcp_counters();
        assert_eq!((counters.translated, counters.received), (2, 0), "{counters:?}");
    }
}

fn sender_report(ssrc: u32, rtp_timestamp: u32) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    let info = SenderInfo { ntp: NTP, rtp_timestamp, packets: 95, bytes: 15_200 };
    writer.sender_report(ssrc, &info, &[]).unwrap();
    writer.description(ssrc, b"camera@test").unwrap();
    writer.finish().to_vec()
}

fn report_block(ssrc: u32, extended_highest: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 1,
        cumulative_lost: 2,
        extended_highest,
        jitter: 3,
        last_sender_report: 4,
        delay: 5,
    }
}

fn receiver_report(about: u32, extended_highest: u32) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(VIEWER, &[report_block(about, extended_highest)]).unwrap();
    writer.description(VIEWER, b"viewer@test").unwrap();
    writer.finish().to_vec()
}

/// The one report block of a compound.
fn block(bytes: &[u8]) -> ReportBlock {
    let compound = Compound::parse(bytes).unwrap();
    let blocks = |packet| match packet {
        Packet::ReceiverReport(report) => report.blocks().collect(),
        _ => Vec::new(),
    };
    compound.packets().flat_map(blocks).next().expect("a block")
}

fn reports_are_translated_both_ways(mode: ModeChoice) {
    Session::start(mode).reports();
}

fn reports_beside_media_on_one_port_are_translated_both_ways(mode: ModeChoice) {
    Session::muxed(Bench::with_mode(mode)).reports();
}

fn requests_and_goodbyes_are_translated(mode: ModeChoice) {
    let session = Session::start(mode);
    session.stream(1..11);
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(VIEWER, &[]).unwrap();
    // Picture loss indication, and packets 3 and 4 again, as the viewer numbers them (RFC 4585 section 6).
    let [a, b, c, d] = SSRC_OUT.to_be_bytes();
    writer.packet(&[0x81, 206, 0, 2, 0, 0, 0, 50, a, b, c, d]).unwrap();
    let [high, low] = SEQUENCE.wrapping_add(3).to_be_bytes();
    writer.packet(&[0x81, 205, 0, 3, 0, 0, 0, 50, a, b, c, d, high, low, 0, 1]).unwrap();
    let bytes = session.seen_by_camera(writer.finish());
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    let &[Packet::ReceiverReport(_), Packet::PayloadFeedback(picture), Packet::TransportFeedback(again)] =
        &packets[..]
    else {
        unreachable!("{packets:?}")
    };
    assert_eq!((picture.ssrc, picture.media_ssrc), (VIEWER, SSRC));
    assert_eq!((again.media_ssrc, again.control), (SSRC, &[0, 3, 0, 1][..]));

    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(SSRC, &[]).unwrap();
    writer.goodbye(&[SSRC], b"").unwrap();
    let bytes = session.seen_by_viewer(writer.finish());
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    let &[Packet::ReceiverReport(report), Packet::Goodbye(goodbye)] = &packets[..] else {
        unreachable!("{packets:?}")
    };
    assert_eq!((report.ssrc, goodbye.sources().collect::<Vec<_>>()), (SSRC_OUT, vec![SSRC_OUT]));
}

/// Two cameras, RTCP beside the media, of which the viewer sees the second after the first.
fn a_report_says_the_time_of_the_stream_that_a_switch_left_behind(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let side = Topology::CAMERA;
    let second =
        LegSpec::new((side.relay, CAMERA_LEG + 2).into()).remote((side.terminal, CAMERA_PORT + 2).into());
    let retag = RetagSpec::default().ssrc(SSRC_OUT).continuity(Continuity::Continue);
    let viewer = viewer_leg(SourcePolicy::Pinned).clock_rate(90_000).retag(retag);
    let legs = vec![camera_leg(SourcePolicy::Pinned), second, viewer];
    let legs = legs.into_iter().map(|leg| leg.media(MediaKind::Muxed)).collect();
    let plan = Plan { legs: on_their_path(legs), streams: vec![StreamSpec { ingress: 0, egress: 2 }] };
    let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
    let cameras = [bench.camera_socket(CAMERA_PORT), bench.camera_socket(CAMERA_PORT + 2)];
    let viewer = bench.viewer_socket(VIEWER_PORT);
    let send = |camera: usize, packet: &[u8]| {
        cameras[camera].send_to(packet, (side.relay, [CAMERA_LEG, CAMERA_LEG + 2][camera])).unwrap();
    };

    send(0, &rtp(10, 100));
    assert_eq!(receive(&viewer).0[4..8], 36_000_u32.to_be_bytes(), "the first keeps its own numbers");
    send(0, &sender_report(100, 36_000));
    assert_eq!(receive(&viewer).0, sender_report(SSRC_OUT, 36_000));

    bench.runtime.block_on(bench.relay.switch(legs[2], legs[1])).unwrap();
    // Which time this is in the viewer's stream, the first packet of the stream decides.
    send(1, &sender_report(101, 5_000));
    bench.statistics_when(legs[1], |leg| leg.dropped == [("rtcp_untranslated", 1)]);
    send(1, &rtp(1, 101));
    let seen = receive(&viewer).0;
    let offset = u32::from_be_bytes(seen[4..8].try_into().unwrap()).wrapping_sub(3_600);
    assert_ne!(offset, 0);
    send(1, &sender_report(101, 7_200));
    assert_eq!(receive(&viewer).0, sender_report(SSRC_OUT, 7_200_u32.wrapping_add(offset)));
}

fn reports_of_a_stream_that_has_not_begun_wait_for_the_next(mode: ModeChoice) {
    let session = Session::start(mode);
    // Nobody knows yet what the camera calls its stream: a report about another one is the terminals' business.
    let bytes = session.seen_by_camera(&receiver_report(4_711, 9));
    assert_eq!(block(&bytes), report_block(4_711, 9));
    // The camera itself says it.
    assert_eq!(session.seen_by_viewer(&sender_report(SSRC, 1)), sender_report(SSRC_OUT, 1 + TIMESTAMP));
}

fn what_is_no_rtcp_is_dropped_and_counted(mode: ModeChoice) {
    let session = Session::start(mode);
    let mut broken = sender_report(SSRC, 1_000);
    // It says that it is longer than it is.
    broken[3] = 200;
    session.camera_rtcp.send_to(&broken, session.at(to_relay_from_camera())).unwrap();
    let statistics = session.bench.statistics_when(session.rtcp[0], |leg| leg.received == 1);
    assert_eq!((statistics.forwarded, &statistics.dropped[..]), (0, &[("rtcp_untranslated", 1)][..]));
    assert_silent(&session.viewer_rtcp);
}

fn reports_are_translated_from_the_installation_of_the_media_on(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let (camera, viewer) =
        (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned).retag(retag()));
    bench.call(rtcp_of(&camera), rtcp_of(&viewer));
    let (camera_rtcp, viewer_rtcp) =
        (bench.camera_socket(CAMERA_PORT + 1), bench.viewer_socket(VIEWER_PORT + 1));
    let report = |expected: Vec<u8>, about: &str| {
        camera_rtcp.send_to(&sender_report(SSRC, 1_000), above(to_relay_from_camera())).unwrap();
        assert_eq!(receive(&viewer_rtcp).0, expected, "{about}");
    };
    report(sender_report(SSRC, 1_000), "nothing is retagged yet");
    let media = bench.call(camera, viewer);
    report(sender_report(SSRC_OUT, 1_000 + TIMESTAMP), "with the media");
    let media_socket = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    media_socket.0.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    receive(&media_socket.1);
    viewer_rtcp.send_to(&receiver_report(SSRC_OUT, 65_001), above(to_relay_from_viewer())).unwrap();
    assert_eq!(block(&receive(&camera_rtcp).0), report_block(SSRC, 1));
    bench.relay.remove(&media);
    report(sender_report(SSRC, 1_000), "nothing is retagged any more");
}

#[test]
fn punted_legs_translate_too() {
    all_punted(|| Session::muxed(Bench::with_mode(ModeChoice::Native)).reports());
}

#[test]
fn without_af_xdp_the_kernel_path_translates() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let session = Session::on(Bench::without_af_xdp(mode));
        session.reports();
        for leg in session.rtcp {
            let statistics = session.bench.relay.statistics(leg).unwrap();
            assert_eq!(statistics.paths.user, statistics.forwarded, "{mode:?} {statistics:?}");
        }
        assert!(session.bench.relay.counters().contains(&("no_worker", 2)));
    }
}

#[test]
fn without_any_way_through_user_space_it_is_refused() {
    let bench = Bench::without_user_space(ModeChoice::Native);
    let install = |legs| {
        let plan = Plan { legs, streams: BOTH_WAYS.to_vec() };
        bench.runtime.block_on(bench.relay.install(&plan)).map(|legs| legs.len())
    };
    let (camera, viewer) = (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let retagged = viewer.clone().retag(retag());
    let legs = vec![camera.clone(), retagged.clone(), rtcp_of(&camera), rtcp_of(&viewer)];
    let error = install(legs).unwrap_err();
    assert!(matches!(&error, InstallError::NoUserSpace { local, .. } if *local == retagged.local), "{error}");
    let text = error.to_string();
    assert!(text.contains("RTCP") && text.contains("CAP_NET_RAW"), "{text}");
    let muxed = |leg: &LegSpec| leg.clone().media(MediaKind::Muxed);
    let plan = call(muxed(&camera), muxed(&retagged));
    let error = bench.runtime.block_on(bench.relay.install(&plan)).unwrap_err();
    assert!(matches!(error, InstallError::NoUserSpace { .. }), "{error}");
    // What needs no user space is carried all the same.
    let dscp = viewer.clone().retag(RetagSpec::default().dscp(46));
    assert_eq!(install(vec![camera.clone(), dscp, rtcp_of(&camera), rtcp_of(&viewer)]).unwrap(), 4);
}

/// RTCP of a stream that keeps its name never leaves the kernel.
#[test]
fn reports_of_a_stream_that_is_not_retagged_stay_in_the_kernel() {
    let bench = Bench::start();
    let (camera, viewer) = (camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let viewer = viewer.retag(RetagSpec::default().payload_type(96, 97).dscp(46));
    let legs = vec![camera.clone(), viewer.clone(), rtcp_of(&camera), rtcp_of(&viewer)];
    let plan = Plan { legs, streams: BOTH_WAYS.to_vec() };
    let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
    let (from, to) = (bench.camera_socket(CAMERA_PORT + 1), bench.viewer_socket(VIEWER_PORT + 1));
    from.send_to(&sender_report(SSRC, 1), above(to_relay_from_camera())).unwrap();
    assert_eq!(receive(&to).0, sender_report(SSRC, 1));
    let statistics = bench.statistics_when(legs[2], |leg| leg.received == 1);
    assert_eq!((statistics.paths.xdp, statistics.paths.af_xdp), (1, 0));
    assert_eq!(bench.relay.statistics(legs[0]).unwrap().quality, None, "nor is it measured for that");
}
