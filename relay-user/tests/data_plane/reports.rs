//! RTCP that ends at the relay: the source is told what arrived, the receiver what was sent, and what a receiver asks
//! for reaches the source.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use relay_common::rtcp::{
    Compound, Feedback, Packet, ReportBlock, SenderInfo, SenderReport, Writer, middle_of_ntp,
};
use relay_user::{
    LegId, LegSpec, MediaKind, ModeChoice, RetagSpec, RtcpCounters, RtcpMode, SourcePolicy, StreamSpec,
};
use testbed::Topology;

use crate::kernel_path::Capture;
use crate::support::*;

on_every_backend! {
    source_and_receiver_are_told_what_came_and_what_went,
    on_one_port_rtcp_ends_and_rtp_goes_on,
}

const SSRC: u32 = 7;
const SSRC_OUT: u32 = 0x9999;
const NTP: u64 = 0xe000_0010_8000_0000;
/// Camera and viewer with RTCP on the ports above those of RTP, ended at the relay.
struct Session {
    bench: Bench,
    camera: UdpSocket,
    camera_rtcp: UdpSocket,
    viewer: UdpSocket,
    viewer_rtcp: UdpSocket,
    legs: Vec<LegId>,
}

fn rtcp_of(leg: &LegSpec) -> LegSpec {
    let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    LegSpec::new(above(leg.local))
        .remote(above(leg.remote.unwrap()))
        .media(MediaKind::Rtcp)
        .rtcp(RtcpMode::Terminate)
}

/// Reports that may say nothing of what was sent before the one that does.
const REPORTS: u32 = 3;

impl Session {
    fn start() -> Self {
        Self::with_mode(ModeChoice::Native)
    }

    fn with_mode(mode: ModeChoice) -> Self {
        Self::on(Bench::with_mode(mode))
    }

    fn on(bench: Bench) -> Self {
        let camera_leg = camera_leg(SourcePolicy::Pinned).quality(true).clock_rate(90_000);
        let viewer_leg =
            viewer_leg(SourcePolicy::Pinned).retag(RetagSpec::default().ssrc(SSRC_OUT)).clock_rate(90_000);
        let legs = vec![camera_leg.clone(), viewer_leg.clone(), rtcp_of(&camera_leg), rtcp_of(&viewer_leg)];
        let streams = vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }];
        let plan = relay_user::Plan { legs, streams };
        let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
        Self {
            camera: bench.camera_socket(CAMERA_PORT),
            camera_rtcp: bench.camera_socket(CAMERA_PORT + 1),
            viewer: bench.viewer_socket(VIEWER_PORT),
            viewer_rtcp: bench.viewer_socket(VIEWER_PORT + 1),
            legs,
            bench,
        }
    }

    /// RTP from the camera, but for the sequence numbers in `lost`.
    fn stream(&self, sequences: std::ops::Range<u16>, lost: &[u16]) {
        for sequence in sequences.filter(|sequence| !lost.contains(sequence)) {
            self.camera.send_to(&rtp(sequence, SSRC), to_relay_from_camera()).unwrap();
            receive(&self.viewer);
        }
    }

    /// Waits until the counters are as wanted: what is sent is counted once it has left.
    fn counted(&self, wanted: impl Fn(&RtcpCounters) -> bool) -> RtcpCounters {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counters = self.bench.relay.rtcp_counters();
            if wanted(&counters) {
                return counters;
            }
            assert!(Instant::now() < deadline, "{counters:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A report that says nothing of what was sent may have been on its way already; not one after the other.
    fn assert_patience(&self, tries: &mut std::ops::Range<u32>, report: &[u8]) {
        let relay = &self.bench.relay;
        let counted =
            || (relay.rtcp_counters(), relay.statistics(self.legs[0]), relay.statistics(self.legs[2]));
        assert!(tries.next().is_some(), "{:?} {:#?}", blocks(report), counted());
    }

    fn to_camera_rtcp(&self) -> SocketAddr {
        above(to_relay_from_camera())
    }
}

fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// The next compound that arrives, with where it came from: one is due within one and a half intervals of five seconds.
fn report(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    receive(socket)
}

/// The report blocks of a compound, whichever report carries them.
fn blocks(bytes: &[u8]) -> Vec<ReportBlock> {
    let compound = Compound::parse(bytes).unwrap();
    let blocks = |packet| match packet {
        Packet::SenderReport(report) => report.blocks().collect(),
        Packet::ReceiverReport(report) => report.blocks().collect(),
        _ => Vec::new(),
    };
    compound.packets().flat_map(blocks).collect()
}

fn sender_report(bytes: &[u8]) -> Option<SenderReport<'_>> {
    Compound::parse(bytes).unwrap().packets().find_map(|packet| match packet {
        Packet::SenderReport(report) => Some(report),
        _ => None,
    })
}

fn source_and_receiver_are_told_what_came_and_what_went(mode: ModeChoice) {
    both_are_told(&Session::with_mode(mode));
}

#[test]
fn without_af_xdp_both_are_told_all_the_same() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let session = Session::on(Bench::without_af_xdp(mode));
        both_are_told(&session);
        assert!(session.bench.relay.counters().contains(&("no_worker", 1)), "by the kernel path");
    }
}

/// What terminals say of themselves is lost then, and counted; what they need in order to go on is not.
#[test]
fn without_any_user_space_sources_are_told_what_came() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let session = Session::on(Bench::without_user_space(mode));
        session.stream(1..101, &[10, 20, 30, 40, 50]);
        session.camera_rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], session.to_camera_rtcp()).unwrap();
        let (bytes, from) = report(&session.camera_rtcp);
        assert_eq!(from, session.to_camera_rtcp());
        let told = blocks(&bytes)[0];
        assert_eq!((told.ssrc, told.cumulative_lost, told.extended_highest), (SSRC, 5, 100), "{mode:?}");
        assert!(session.bench.relay.counters().contains(&("no_worker", 1)));
    }
}

#[test]
fn punted_legs_are_told_too() {
    let bench = Bench::start();
    let muxed = |leg: LegSpec| leg.media(MediaKind::Muxed).rtcp(RtcpMode::Terminate).punted(true);
    let camera_leg = muxed(camera_leg(SourcePolicy::Pinned)).quality(true);
    let [leg, _] = bench.call(camera_leg, muxed(viewer_leg(SourcePolicy::Pinned)));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    receive(&viewer);
    camera.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], to_relay_from_camera()).unwrap();
    assert_silent(&viewer);
    assert_eq!(blocks(&report(&camera).0)[0].ssrc, SSRC);
    let statistics = bench.statistics_when(leg, |leg| leg.received == 2);
    assert_eq!((statistics.paths.af_xdp, &statistics.dropped[..]), (1, &[("rtcp_ended", 1)][..]));
}

fn both_are_told(session: &Session) {
    session.stream(1..101, &[10, 20, 30, 40, 50]);
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    let info = SenderInfo { ntp: NTP, rtp_timestamp: 360_000, packets: 95, bytes: 15_200 };
    writer.sender_report(SSRC, &info, &[]).unwrap();
    writer.description(SSRC, b"camera@test").unwrap();
    let sent = Instant::now();
    session.camera_rtcp.send_to(writer.finish(), session.to_camera_rtcp()).unwrap();

    // The camera: what was lost on its way to us, and when its report came.
    let mut tries = 0..REPORTS;
    let (told, last) = loop {
        let (bytes, from) = report(&session.camera_rtcp);
        session.assert_patience(&mut tries, &bytes);
        assert_eq!(from, session.to_camera_rtcp());
        if let [block] = blocks(&bytes)[..]
            && block.last_sender_report != 0
        {
            break (block, sent.elapsed());
        }
    };
    assert_eq!((told.ssrc, told.cumulative_lost, told.extended_highest), (SSRC, 5, 100));
    assert_eq!(told.last_sender_report, middle_of_ntp(NTP));
    let delay = Duration::from_nanos(u64::from(told.delay) * 1_000_000_000 / 65_536);
    // Until it was sent; a busy machine may let it lie for a while before it is read here.
    assert!((1..=last.as_nanos()).contains(&delay.as_nanos()), "{delay:?} of {last:?}");
    assert!(delay + Duration::from_secs(5) > last, "{delay:?} of {last:?}");

    // The viewer: the camera's report, in the stream's own name, as of now.
    let mut tries = 0..REPORTS;
    let (told, elapsed) = loop {
        let (bytes, from) = report(&session.viewer_rtcp);
        session.assert_patience(&mut tries, &bytes);
        assert_eq!(from, above(to_relay_from_viewer()));
        if let Some(report) = sender_report(&bytes) {
            let compound = Compound::parse(&bytes).unwrap();
            let name = compound.packets().find_map(|packet| match packet {
                Packet::Description(description) => description.chunks().next(),
                _ => None,
            });
            let (ssrc, mut items) = name.unwrap();
            assert_eq!((ssrc, items.next()), (SSRC_OUT, Some((1, &b"camera@test"[..]))));
            break ((report.ssrc, report.info), sent.elapsed());
        }
    };
    assert_eq!((told.0, told.1.packets, told.1.bytes), (SSRC_OUT, 95, 95 * 160));
    let ticks = told.1.rtp_timestamp - 360_000;
    let passed = u64::from(ticks) * 1_000 / 90;
    // It may have waited in the socket while the camera's was read.
    assert!(passed > 0 && u128::from(passed) <= elapsed.as_micros(), "{passed} us of {elapsed:?}");
    let ntp = ((told.1.ntp - NTP) * 1_000_000) >> 32;
    assert!(ntp.abs_diff(passed) < 100, "both clocks went on alike: {ntp} {passed}");

    // And nothing of the camera's own RTCP went through; the books say where it is.
    let statistics = session.bench.statistics_when(session.legs[2], |leg| leg.received == 1);
    assert_eq!((statistics.forwarded, &statistics.dropped[..]), (0, &[("rtcp_ended", 1)][..]));
    let counters = session.counted(|counters| counters.reports >= 2);
    assert_eq!((counters.received, counters.malformed, counters.lost, counters.unsent), (1, 0, 0, 0));
}

#[test]
fn losses_are_told_for_each_interval() {
    let session = Session::start();
    let next = || blocks(&report(&session.camera_rtcp).0)[0];
    let told_up_to =
        |last: u16| std::iter::repeat_with(next).find(|told| told.extended_highest == last.into());
    session.stream(1..101, &[]);
    let first = told_up_to(100).unwrap();
    assert_eq!((first.fraction_lost, first.cumulative_lost), (0, 0));
    // Of each interval a half is lost, of all less. On a slow machine a report may fall into an interval: then another.
    let mut lost = 0;
    let told = (101..2_001).step_by(100).find_map(|start| {
        let last = start + 99;
        session.stream(start..start + 100, &(start..start + 50).collect::<Vec<_>>());
        lost += 50;
        let told = next();
        if told.extended_highest == last.into() {
            return Some(told);
        }
        told_up_to(last).and(None)
    });
    let told = told.expect("no interval without a report");
    assert_eq!((told.fraction_lost, told.cumulative_lost), (128, lost));
}

#[test]
fn a_receiver_that_asks_for_a_picture_gets_one_from_the_source() {
    let session = Session::start();
    session.stream(1..11, &[]);
    // Until the relay knows the leg.
    report(&session.camera_rtcp);
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(50, &[]).unwrap();
    let picture_loss: [u8; 12] = [0x81, 206, 0, 2, 0, 0, 0, 50, 0, 0, 0x99, 0x99];
    writer.packet(&picture_loss).unwrap();
    let request = writer.finish();
    session.viewer_rtcp.send_to(request, above(to_relay_from_viewer())).unwrap();
    let asked = loop {
        let (bytes, _) = report(&session.camera_rtcp);
        let asked = Compound::parse(&bytes).unwrap().packets().find_map(|packet| match packet {
            Packet::PayloadFeedback(Feedback { media_ssrc, format, .. }) => Some((media_ssrc, format)),
            _ => None,
        });
        if let Some(asked) = asked {
            break asked;
        }
    };
    assert_eq!(asked, (SSRC, 1), "about the source's own SSRC");
    session.counted(|counters| counters.feedback == 1);
    // A burst, of which the source gets as much as it can use; on a slow machine a few more as time goes on.
    for _ in 0..300 {
        session.viewer_rtcp.send_to(request, above(to_relay_from_viewer())).unwrap();
    }
    let counters = session.counted(|counters| counters.feedback + counters.held_back + counters.lost == 301);
    assert!(counters.held_back > 0 && counters.feedback >= 100, "{counters:?}");
}

fn on_one_port_rtcp_ends_and_rtp_goes_on(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let muxed = |leg: LegSpec| leg.media(MediaKind::Muxed).rtcp(RtcpMode::Terminate);
    let camera_leg = muxed(camera_leg(SourcePolicy::LearnPort)).quality(true);
    let [_, _] = bench.call(camera_leg, muxed(viewer_leg(SourcePolicy::Pinned)));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    for sequence in 0..10 {
        camera.send_to(&rtp(sequence, SSRC), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, SSRC));
    }
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(SSRC, &[]).unwrap();
    camera.send_to(writer.finish(), to_relay_from_camera()).unwrap();
    assert_silent(&viewer);
    let (bytes, from) = report(&camera);
    assert_eq!((from, blocks(&bytes)[0].ssrc), (to_relay_from_camera(), SSRC));
}

/// Datagrams that came to a port that no socket has (/proc/net/snmp).
fn unclaimed(namespace: &testbed::Namespace) -> u64 {
    let output = namespace.command("cat").arg("/proc/net/snmp").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "NoPorts").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// ffmpeg sends RTP and RTCP, and reads the reports that come back (`rtcpport` is where it listens).
#[test]
fn ffmpeg_is_reported_to() {
    let session = Session::start();
    let (relay, camera) = (Topology::CAMERA.relay, Topology::CAMERA.terminal);
    let Session { bench, camera: camera_rtp, camera_rtcp, viewer, viewer_rtcp, legs } = session;
    let capture = Capture::of(&bench.topology.camera);
    // ffmpeg takes the camera's place, and its ports.
    let [rtp_port, rtcp_port] = [&camera_rtp, &camera_rtcp].map(|socket| socket.local_addr().unwrap().port());
    drop((camera_rtp, camera_rtcp));
    let target = format!(
        "rtp://{relay}:{CAMERA_LEG}?rtcpport={}&localrtpport={rtp_port}&localrtcpport={rtcp_port}&localaddr={camera}",
        CAMERA_LEG + 1
    );
    let mut command = bench.topology.camera.command("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-re"]);
    command.args([
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440",
        "-t",
        "120",
        "-c:a",
        "pcm_mulaw",
        "-ar",
        "8000",
    ]);
    command.args(["-f", "rtp", &target]);
    let mut ffmpeg =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("ffmpeg: apt-get install ffmpeg");
    // The viewer gets its media, and reports in ffmpeg's name.
    receive(&viewer);
    let start = Instant::now();
    let heard = loop {
        let (bytes, _) = report(&viewer_rtcp);
        if let Some(report) = sender_report(&bytes) {
            break report.ssrc;
        }
        assert!(start.elapsed() < 2 * PATIENCE, "no sender report comes");
    };
    assert_eq!(heard, SSRC_OUT);
    let counters = bench.relay.rtcp_counters();
    assert!(counters.received >= 1 && counters.malformed == 0, "ffmpeg's reports are read: {counters:?}");

    // And ffmpeg gets reports of what it sends, from where it sends its own to, by a socket of its own.
    let mut block = None;
    while block.is_none() {
        let to_ffmpeg =
            capture.datagrams().into_iter().filter(|(ports, _)| *ports == [CAMERA_LEG + 1, rtcp_port]);
        block = to_ffmpeg.flat_map(|(_, payload)| blocks(&payload)).next();
        assert!(start.elapsed() < 4 * PATIENCE, "no receiver report comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (block, quality) = (block.unwrap(), bench.relay.statistics(legs[0]).unwrap().quality.unwrap());
    assert_eq!((Some(block.ssrc), block.cumulative_lost), (quality.ssrc, 0), "{block:?}");
    assert!(block.extended_highest & 0xffff <= quality.highest_sequence & 0xffff, "{block:?} {quality:?}");
    assert_eq!(unclaimed(&bench.topology.camera), 0, "a socket takes it");
    ffmpeg.kill().unwrap();
    ffmpeg.wait().unwrap();
}
