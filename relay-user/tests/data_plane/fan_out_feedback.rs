//! What receivers of a group say: reports that end at the relay and are put together, pictures that they ask for, and that
//! they are gone.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use relay_common::rtcp::{ReportBlock, Writer};
use relay_user::{
    Event, Leaving, LegId, LegSpec, MediaKind, Options, Plan, RetagSpec, SourcePolicy, StreamSpec,
};
use testbed::Topology;
use tokio::sync::broadcast;

use crate::engines::{Engine, with_every_engine};
use crate::support::*;

with_every_engine! {
    reports_end_here_and_the_worst_and_the_median_are_told,
    key_frames_are_wanted_by_who_joins_and_who_asks_but_not_too_often,
    who_says_goodbye_is_reported_and_stays,
    who_used_to_speak_and_is_silent_is_reported_once,
    who_answers_that_nobody_is_there_is_reported,
    who_is_not_there_over_ipv6_is_reported,
}

/// The first of the receivers' ports, theirs and ours; each may have the one above for RTCP.
const FIRST: u16 = 10_000;
const SSRC: u32 = 7;
/// Generous: the machine may be busy.
const SOON: Duration = Duration::from_secs(20);

/// A camera's leg with receivers that may speak.
struct Group {
    bench: Bench,
    camera: UdpSocket,
    source: LegId,
    /// Receivers' RTCP on a port of its own, which leads to the camera.
    rtcp: LegId,
    events: broadcast::Receiver<Event>,
}

impl Group {
    fn start(engine: Engine, change: impl FnOnce(Options) -> Options) -> Self {
        let bench = Bench::with_options(change(engine.options(64)));
        let camera = camera_leg(SourcePolicy::Pinned).media(MediaKind::Muxed).quality(true);
        let rtcp = at(FIRST + 1, MediaKind::Rtcp);
        let plan = Plan { legs: vec![camera, rtcp], streams: vec![StreamSpec { ingress: 1, egress: 0 }] };
        let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
        let events = bench.relay.subscribe();
        Self { camera: bench.camera_socket(CAMERA_PORT), bench, source: legs[0], rtcp: legs[1], events }
    }

    fn join(&self, receivers: &[LegSpec]) -> Vec<LegId> {
        self.bench.runtime.block_on(self.bench.relay.join(self.source, receivers)).unwrap()
    }

    /// A joined receiver on one port for both, and its socket.
    fn receiver(&self, port: u16) -> (LegId, UdpSocket) {
        (self.join(&[at(port, MediaKind::Muxed)])[0], self.bench.viewer_socket(port))
    }

    /// The next event about receivers, if there is one in this time.
    fn event(&mut self, within: Duration) -> Option<Event> {
        let next = async { tokio::time::timeout(within, self.events.recv()).await };
        self.bench.runtime.block_on(next).ok().map(|event| event.expect("no event was missed"))
    }

    /// Events that come within a time, but for those of key frames.
    fn gone(&mut self, within: Duration) -> Option<Event> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.event(left)? {
                Event::ReceiverGone { leg, source, leaving } => {
                    return Some(Event::ReceiverGone { leg, source, leaving });
                }
                _ => continue,
            }
        }
    }
}

/// A leg on a port at the viewer's side, which is the same on both ends.
fn at(port: u16, media: MediaKind) -> LegSpec {
    let side = Topology::VIEWER;
    LegSpec::new(SocketAddrV4::new(side.relay, port).into())
        .remote(SocketAddrV4::new(side.terminal, port).into())
        .media(media)
}

/// Where a receiver's packets for us go.
fn relay_at(port: u16) -> SocketAddr {
    SocketAddrV4::new(Topology::VIEWER.relay, port).into()
}

/// RTCP of a receiver: so much of a stream was lost, and what else is to be said.
fn report(stream: u32, fraction_lost: u8, jitter: u32, more: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    let block =
        ReportBlock { ssrc: stream, fraction_lost, jitter, cumulative_lost: 3, ..ReportBlock::default() };
    writer.receiver_report(50, &[block]).unwrap();
    writer.description(50, b"viewer").unwrap();
    for packet in more {
        writer.packet(packet).unwrap();
    }
    writer.finish().to_vec()
}

const PICTURE_LOSS: [u8; 12] = [0x81, 206, 0, 2, 0, 0, 0, 50, 0, 0, 0, 7];
const FULL_INTRA: [u8; 20] = [0x84, 206, 0, 4, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0];
const GOODBYE: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 50];

fn reports_end_here_and_the_worst_and_the_median_are_told(engine: Engine) {
    let group = Group::start(engine, |options| options);
    let apart = group.bench.viewer_socket(FIRST + 1);
    // Nobody has joined: this is RTCP that is relayed.
    apart.send_to(&report(SSRC, 0, 0, &[]), relay_at(FIRST + 1)).unwrap();
    assert_eq!(receive(&group.camera).0, report(SSRC, 0, 0, &[]));

    let renamed = at(FIRST + 6, MediaKind::Muxed).retag(RetagSpec::default().ssrc(99));
    let legs = group.join(&[
        at(FIRST, MediaKind::Rtp),
        at(FIRST + 2, MediaKind::Muxed),
        at(FIRST + 4, MediaKind::Muxed),
        renamed,
        at(FIRST + 8, MediaKind::Muxed),
    ]);
    let sockets: Vec<_> = (1..4).map(|number| group.bench.viewer_socket(FIRST + 2 * number)).collect();
    group.camera.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    sockets.iter().for_each(|socket| assert_eq!(receive(socket).0.len(), rtp(1, SSRC).len()));
    assert_eq!(group.bench.relay.group_quality(group.source), None);

    apart.send_to(&report(SSRC, 10, 400, &[]), relay_at(FIRST + 1)).unwrap();
    let said = [(SSRC, 128, 90), (SSRC, 0, 30), (99, 10, 500)];
    for ((socket, (stream, lost, jitter)), number) in sockets.iter().zip(said).zip(1..) {
        socket
            .send_to(&report(stream, lost, jitter, &[&PICTURE_LOSS]), relay_at(FIRST + 2 * number))
            .unwrap();
    }
    let deadline = Instant::now() + SOON;
    let quality = loop {
        match group.bench.relay.group_quality(group.source) {
            Some(quality) if quality.reporting == 4 => break quality,
            quality => assert!(Instant::now() < deadline, "{quality:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(quality.worst_receiver, legs[1]);
    assert_eq!((quality.worst.fraction_lost, quality.worst.jitter), (128, 90));
    assert_eq!((quality.median.fraction_lost, quality.median.jitter), (10, 500));
    let own = group.bench.relay.receiver_quality(legs[0]).unwrap();
    assert_eq!((own.fraction_lost, own.cumulative_lost, own.jitter), (10, 3, 400));
    assert_eq!(group.bench.relay.receiver_quality(legs[4]), None);

    assert_silent(&group.camera);
    for leg in [legs[1], legs[2], legs[3]] {
        let counted = group.bench.statistics_when(leg, |counted| counted.received == 1);
        assert_eq!(counted.dropped, [("rtcp_ended", 1)]);
    }
    let counted = group.bench.statistics_when(group.rtcp, |counted| counted.received == 2);
    assert_eq!((counted.forwarded, &counted.dropped[..]), (1, &[("rtcp_ended", 1)][..]));
    // Who has left does not count.
    group.bench.relay.remove(&legs[1..2]);
    assert_eq!(group.bench.relay.group_quality(group.source).unwrap().worst_receiver, legs[3]);
}

fn key_frames_are_wanted_by_who_joins_and_who_asks_but_not_too_often(engine: Engine) {
    let interval = Duration::from_secs(3);
    let mut group = Group::start(engine, |options| Options { key_frame_interval: interval, ..options });
    let wanted = Event::KeyFrameWanted { leg: group.source };
    let (_, first) = group.receiver(FIRST + 2);
    let start = Instant::now();
    assert_eq!(group.event(SOON), Some(wanted));
    let (_, second) = group.receiver(FIRST + 4);
    for _ in 0..5 {
        first.send_to(&report(SSRC, 0, 0, &[&PICTURE_LOSS]), relay_at(FIRST + 2)).unwrap();
        second.send_to(&report(SSRC, 0, 0, &[&FULL_INTRA]), relay_at(FIRST + 4)).unwrap();
    }
    assert_eq!(group.event(SOON), Some(wanted), "they are not forgotten");
    assert!(start.elapsed() + Duration::from_millis(200) >= interval, "{:?}", start.elapsed());
    assert_eq!(group.event(interval + Duration::from_secs(1)), None, "one for all of them");
    // A report alone asks for nothing; a request for a picture does, and at once.
    second.send_to(&report(SSRC, 0, 0, &[]), relay_at(FIRST + 4)).unwrap();
    assert_eq!(group.event(SILENCE), None);
    second.send_to(&report(SSRC, 0, 0, &[&PICTURE_LOSS]), relay_at(FIRST + 4)).unwrap();
    assert_eq!(group.event(SOON), Some(wanted));
    assert_silent(&group.camera);
}

fn who_says_goodbye_is_reported_and_stays(engine: Engine) {
    let mut group = Group::start(engine, |options| options);
    let (leg, socket) = group.receiver(FIRST + 2);
    let (_, other) = group.receiver(FIRST + 4);
    other.send_to(&report(SSRC, 0, 0, &[]), relay_at(FIRST + 4)).unwrap();
    socket.send_to(&report(SSRC, 0, 0, &[&GOODBYE]), relay_at(FIRST + 2)).unwrap();
    let gone = Event::ReceiverGone { leg, source: group.source, leaving: Leaving::Goodbye };
    assert_eq!(group.gone(SOON), Some(gone));
    assert_eq!(group.gone(SILENCE), None);
    group.camera.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&socket).0, rtp(1, SSRC), "who removes it is the caller");
}

fn who_used_to_speak_and_is_silent_is_reported_once(engine: Engine) {
    let silence = Some(Duration::from_secs(4));
    let mut group = Group::start(engine, |options| Options { receiver_silence: silence, ..options });
    let (leg, socket) = group.receiver(FIRST + 2);
    // This one never speaks, as many decoders do not.
    let (_, _mute) = group.receiver(FIRST + 4);
    let gone = Event::ReceiverGone { leg, source: group.source, leaving: Leaving::Silence };
    let start = Instant::now();
    for _ in 0..2 {
        socket.send_to(&report(SSRC, 0, 0, &[]), relay_at(FIRST + 2)).unwrap();
        assert_eq!(group.gone(SOON), Some(gone));
    }
    assert!(start.elapsed() >= Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(group.gone(Duration::from_secs(6)), None);
}

fn who_answers_that_nobody_is_there_is_reported(engine: Engine) {
    let mut group = Group::start(engine, |options| options);
    let (_, there) = group.receiver(FIRST + 2);
    let (leg, socket) = group.receiver(FIRST + 4);
    group.camera.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    assert_eq!((receive(&there).0, receive(&socket).0), (rtp(1, SSRC), rtp(1, SSRC)));
    assert_eq!(group.gone(SILENCE), None);
    // Its machine answers for it.
    drop(socket);
    for sequence in 2..5 {
        group.camera.send_to(&rtp(sequence, SSRC), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&there).0, rtp(sequence, SSRC));
    }
    let gone = Event::ReceiverGone { leg, source: group.source, leaving: Leaving::Unreachable };
    assert_eq!(group.gone(SOON), Some(gone));
    assert_eq!(group.gone(SILENCE), None, "once for all these packets");
}

fn who_is_not_there_over_ipv6_is_reported(engine: Engine) {
    let mut group = Group::start(engine, |options| options);
    let side = Topology::VIEWER;
    let receiver = LegSpec::new((side.relay6, FIRST + 2).into()).remote((side.terminal6, FIRST + 2).into());
    let leg = group.join(&[receiver])[0];
    group.camera.send_to(&rtp(1, SSRC), to_relay_from_camera()).unwrap();
    let gone = Event::ReceiverGone { leg, source: group.source, leaving: Leaving::Unreachable };
    assert_eq!(group.gone(SOON), Some(gone));
}
