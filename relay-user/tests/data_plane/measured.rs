//! What is measured of a leg, and what is done about it: quality, limits, and sources that are learned anew.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use relay_user::{Event, LegId, LegSpec, ModeChoice, Quality, RateLimit, SourcePolicy};
use testbed::Topology;
use tokio::sync::broadcast;

use crate::support::*;

on_every_backend! {
    loss_order_and_duplicates_are_counted_where_they_happened,
    a_leg_that_does_not_measure_reports_no_quality,
    a_camera_beyond_its_limit_is_cut_and_others_are_not,
    an_idle_leg_learns_its_source_anew,
    an_idle_leg_of_ipv6_learns_another_address,
    what_was_learned_stays_where_nothing_says_otherwise,
}

impl Bench {
    /// A call whose camera leg was bent.
    fn bent(&self, bend: impl FnOnce(LegSpec) -> LegSpec) -> LegId {
        let camera = camera_leg(SourcePolicy::LearnPort).media(relay_user::MediaKind::Muxed);
        self.call(bend(camera), viewer_leg(SourcePolicy::Pinned))[0]
    }
}

pub(crate) fn loss_order_and_duplicates_are_counted_where_they_happened(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let leg = bench.bent(|leg| leg.quality(true).clock_rate(90_000));
    let camera = bench.camera_socket(CAMERA_PORT);
    let viewer = bench.viewer_socket(VIEWER_PORT);
    assert_eq!(bench.relay.statistics(leg).unwrap().quality, None, "nothing came yet");

    // Over the wrap: two are lost, one comes late, one twice.
    for sequence in [65_533, 65_534, 0, 65_535, 1, 1, 4, 5] {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        receive(&viewer);
    }
    // RTCP is no part of the sequence.
    camera.send_to(&[0x80, 200, 0, 1, 0, 0, 0, 7], to_relay_from_camera()).unwrap();
    receive(&viewer);

    let statistics = bench.statistics_when(leg, |leg| leg.received >= 9);
    let quality = statistics.quality.unwrap();
    let Quality { packets, expected, lost, reordered, duplicates, .. } = quality;
    assert_eq!((packets, expected, lost, reordered, duplicates), (8, 9, 2, 1, 1), "{quality:?}");
    assert_eq!((quality.ssrc, quality.highest_sequence), (Some(7), 65_536 + 5));
    assert_eq!((statistics.received, statistics.dropped.len()), (9, 0), "what was lost was lost before us");
    assert!(quality.jitter_time.is_some());

    camera.send_to(&rtp(100, 8), to_relay_from_camera()).unwrap();
    receive(&viewer);
    let quality = bench.statistics_when(leg, |leg| leg.received >= 10).quality.unwrap();
    assert_eq!((quality.ssrc, quality.ssrc_changes, quality.lost), (Some(8), 1, 2));
}

fn a_leg_that_does_not_measure_reports_no_quality(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let leg = bench.bent(|leg| leg);
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    // Sockets count what they sent once it is sent: the viewer may have it first.
    let statistics = bench.statistics_when(leg, |leg| leg.forwarded == 1);
    assert_eq!((statistics.received, statistics.quality), (1, None));
    let (xdp, user) = if mode == ModeChoice::User { (0, 1) } else { (1, 0) };
    let paths = statistics.paths;
    assert_eq!((paths.xdp, paths.user, paths.total()), (xdp, user, 1));
}

pub(crate) fn a_camera_beyond_its_limit_is_cut_and_others_are_not(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    // 50 packets in a burst of a second.
    let leg = bench.bent(|leg| leg.limit(RateLimit::packets(50)));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let start = Instant::now();
    for sequence in 0..200 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
    }
    let statistics = bench.statistics_when(leg, |leg| leg.received == 200);
    let most = 52 + 50 * start.elapsed().as_millis() / 1000;
    assert!((50..=most).contains(&u128::from(statistics.forwarded)), "{statistics:?} {most}");
    assert_eq!(statistics.dropped, [("rate_exceeded", 200 - statistics.forwarded)]);
    bench.statistics_when(leg, |leg| leg.sent == 200);

    // 8 kbit/s are a kilobyte in a second: five packets of 200 bytes.
    let bench = Bench::with_mode(mode);
    let leg = bench.bent(|leg| leg.limit(RateLimit::bits(8_000)));
    let camera = bench.camera_socket(CAMERA_PORT);
    let start = Instant::now();
    for sequence in 0..50 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
    }
    let statistics = bench.statistics_when(leg, |leg| leg.received == 50);
    let most = 9 + 5 * start.elapsed().as_millis() / 1000;
    assert!((5..=most).contains(&u128::from(statistics.forwarded)), "{statistics:?} {most}");
}

/// A second: the shortest time after which a source may be forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1);

pub(crate) fn an_idle_leg_learns_its_source_anew(mode: ModeChoice) {
    // A machine that is so busy that it keeps the camera from sending for a second says nothing.
    let kept = (0..20).find_map(|_| LearnedCamera::kept(mode)).expect("no second without a pause");
    let LearnedCamera { bench, leg, mut events, cameras: [_first, second], viewer } = kept;
    viewer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait_until("the other camera is learned", || {
        second.send_to(&rtp(50, 8), to_relay_from_camera()).unwrap();
        viewer.recv_from(&mut [0; 2048]).is_ok()
    });
    let source = second.local_addr().unwrap();
    let statistics = bench.statistics_when(leg, |leg| {
        // It is not forgotten meanwhile.
        second.send_to(&rtp(51, 8), to_relay_from_camera()).unwrap();
        (leg.source, leg.remote) == (Some(source), Some(source))
    });
    assert_eq!(statistics.source_changes, 1);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match bench.next(&mut events) {
            Event::SourceLearned { source, .. } => seen.push((true, source.port())),
            Event::SourceForgotten { source, .. } => seen.push((false, source.port())),
            _ => {}
        }
    }
    assert_eq!(seen, [(true, CAMERA_PORT), (false, CAMERA_PORT), (true, CAMERA_PORT + 2)]);
    // Answers follow.
    viewer.send_to(&rtp(1, 9), to_relay_from_viewer()).unwrap();
    assert_eq!(receive(&second).0, rtp(1, 9));
}

/// A call whose leg has learned the first of two cameras, and whose viewer has seen nothing of the second.
struct LearnedCamera {
    bench: Bench,
    leg: LegId,
    events: broadcast::Receiver<Event>,
    cameras: [UdpSocket; 2],
    viewer: UdpSocket,
}

impl LearnedCamera {
    /// Both send, longer than it takes to forget: packets of another source do not count, and do not keep a leg alive.
    /// `None` if the first was silent for so long that it may have been forgotten.
    fn kept(mode: ModeChoice) -> Option<Self> {
        let bench = Bench::with_mode(mode);
        let leg = bench.bent(|leg| leg.relearn_after(FORGOTTEN));
        let events = bench.relay.subscribe();
        let cameras = [CAMERA_PORT, CAMERA_PORT + 2].map(|port| bench.camera_socket(port));
        let [first, second] = &cameras;
        let viewer = bench.viewer_socket(VIEWER_PORT);
        first.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&viewer).0, rtp(1, 7));
        let (start, mut last) = (Instant::now(), Instant::now());
        let mut sequence = 1;
        while start.elapsed() < FORGOTTEN + Duration::from_millis(500) {
            sequence += 1;
            second.send_to(&rtp(sequence, 8), to_relay_from_camera()).unwrap();
            first.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
            let seen = receive(&viewer).0;
            // The packet before was counted a moment before `last`.
            if last.elapsed() > FORGOTTEN * 9 / 10 {
                return None;
            }
            last = Instant::now();
            assert_eq!(seen, rtp(sequence, 7));
            thread::sleep(Duration::from_millis(100));
        }
        Some(Self { bench, leg, events, cameras, viewer })
    }
}

fn an_idle_leg_of_ipv6_learns_another_address(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let side = Topology::CAMERA;
    let local = (side.relay6, CAMERA_LEG).into();
    // Longer than whatever keeps the test from looking.
    let camera = LegSpec::new(local).source(SourcePolicy::Learn).relearn_after(Duration::from_secs(4));
    let [leg, _] = bench.call(camera, viewer_leg(SourcePolicy::Pinned));
    let ip = ["-6", "address", "add", "fd78:1::7/64", "dev", Topology::TERMINAL_DEVICE, "nodad"];
    bench.topology.camera.ip(&ip).unwrap();
    let viewer = bench.viewer_socket(VIEWER_PORT);
    let socket = |address: &str| {
        let address = format!("[{address}]:{CAMERA_PORT}");
        bench.topology.camera.run(|| UdpSocket::bind(address).unwrap()).unwrap()
    };
    let (first, second) = (socket("fd78:1::2"), socket("fd78:1::7"));
    first.send_to(&rtp(1, 7), local).unwrap();
    receive(&viewer);
    second.send_to(&rtp(2, 7), local).unwrap();
    assert_silent(&viewer);
    bench.statistics_when(leg, |leg| leg.source == first.local_addr().ok());
    viewer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait_until("the other address is learned", || {
        second.send_to(&rtp(3, 7), local).unwrap();
        viewer.recv_from(&mut [0; 2048]).is_ok()
    });
    bench.statistics_when(leg, |leg| leg.source == second.local_addr().ok());
    first.send_to(&rtp(4, 7), local).unwrap();
    assert_silent(&viewer);
}

fn what_was_learned_stays_where_nothing_says_otherwise(mode: ModeChoice) {
    let bench = Bench::with_mode(mode);
    let leg = bench.bent(|leg| leg);
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    bench.statistics_when(leg, |leg| leg.forwarded == 1);
    // Longer than the time between two looks at all legs.
    thread::sleep(Duration::from_millis(1_200));
    let statistics = bench.relay.statistics(leg).unwrap();
    assert_eq!((statistics.source, statistics.source_changes), (camera.local_addr().ok(), 0));
    assert!(statistics.idle >= Duration::from_secs(1), "{:?}", statistics.idle);
}
