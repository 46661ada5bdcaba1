//! A group gets another source while both send: what each receiver sees of it.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use relay_user::{Continuity, Event, InstallError, LegId, LegSpec, Plan, RetagSpec};
use testbed::Topology;

use crate::engines::{Engine, with_every_engine};
use crate::support::*;

with_every_engine! {
    every_receiver_sees_one_stream_whoever_sends_it,
    a_receiver_that_continues_nothing_sees_the_numbers_of_the_new_source,
    receivers_keep_their_places_when_the_old_source_goes,
    what_cannot_be_switched_is_refused_and_nothing_changes,
}

/// The first of the receivers' ports, theirs and ours.
const FIRST: u16 = 10_000;
/// Hertz of the RTP clock.
const CLOCK: u32 = 90_000;
/// From one packet of a camera to the next.
const INTERVAL: Duration = Duration::from_millis(1);
/// The SSRC that every receiver sees.
const SSRC: u32 = 0x0a0b_0c0d;

/// The camera with this number: our leg, and where it is.
fn camera(number: u16) -> [SocketAddr; 2] {
    let side = Topology::CAMERA;
    [(side.relay, CAMERA_LEG + 2 * number), (side.terminal, CAMERA_PORT + 2 * number)]
        .map(|(address, port)| SocketAddrV4::new(address, port).into())
}

/// The receiver with this number.
fn receiver(number: u16) -> LegSpec {
    let side = Topology::VIEWER;
    LegSpec::new(SocketAddrV4::new(side.relay, FIRST + number).into())
        .remote(SocketAddrV4::new(side.terminal, FIRST + number).into())
        .clock_rate(CLOCK)
}

fn continuing(number: u16) -> LegSpec {
    receiver(number).retag(RetagSpec::default().ssrc(SSRC).continuity(Continuity::Continue))
}

/// A relay with two cameras.
struct Scene {
    bench: Bench,
    cameras: [LegId; 2],
}

impl Scene {
    fn start(engine: Engine) -> Self {
        let bench = Bench::with_options(engine.options(128));
        let leg = |number| {
            let [local, remote] = camera(number);
            LegSpec::new(local).remote(remote)
        };
        let plan = Plan { legs: vec![leg(0), leg(1)], streams: Vec::new() };
        let cameras = bench.runtime.block_on(bench.relay.install(&plan)).unwrap().try_into().unwrap();
        Self { bench, cameras }
    }

    fn join(&self, source: LegId, receivers: &[LegSpec]) -> Vec<LegId> {
        self.bench.runtime.block_on(self.bench.relay.join(source, receivers)).unwrap()
    }

    fn switch(&self, source: LegId, next: LegId) -> Result<(), InstallError> {
        self.bench.runtime.block_on(self.bench.relay.switch_group(source, next))
    }

    /// Sockets of the first receivers, with room for all that comes.
    fn sockets(&self, count: u16) -> Vec<UdpSocket> {
        let open = |number| {
            let socket = self.bench.viewer_socket(FIRST + number);
            socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 20).unwrap();
            socket
        };
        (0..count).map(open).collect()
    }

    fn forwarded(&self, camera: usize) -> u64 {
        self.bench.relay.statistics(self.cameras[camera]).unwrap().forwarded
    }

    /// Waits until so many more packets of a camera were sent on.
    fn flows(&self, camera: usize, packets: u64) {
        let before = self.forwarded(camera);
        wait_until("media flows", || self.forwarded(camera) >= before + packets);
    }
}

/// A camera that sends until it is stopped, with numbers and times of its own.
struct Camera {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

impl Camera {
    fn start(scene: &Scene, number: u16, first: u16) -> Self {
        let [to, from] = camera(number);
        let socket = socket(&scene.bench.topology.camera, from);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            for count in (0_u16..).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                let mut packet = rtp(first.wrapping_add(count), number.into());
                packet[4..8]
                    .copy_from_slice(&((u32::from(first) << 15) + u32::from(count) * 90).to_be_bytes());
                packet[12..14].copy_from_slice(&[number.to_be_bytes()[1], 0]);
                packet[14..16].copy_from_slice(&count.to_be_bytes());
                socket.send_to(&packet, to).unwrap();
                std::thread::sleep(INTERVAL);
                sent += 1;
            }
            sent
        });
        Self { stop, sender }
    }

    /// Returns how many packets it has sent.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap()
    }
}

/// What a receiver sees of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    camera: usize,
    /// The camera's own count.
    count: u16,
}

fn read(socket: &UdpSocket, packets: u64) -> Vec<Seen> {
    let seen = |_| {
        let packet = receive(socket).0;
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        Seen {
            sequence: number(2),
            timestamp: word(4),
            ssrc: word(8),
            camera: packet[12].into(),
            count: number(14),
        }
    };
    (0..packets).map(seen).collect()
}

/// Sequence numbers without a gap, times that go on.
fn assert_one_stream(stream: &[Seen]) {
    for pair in stream.windows(2) {
        assert_eq!(pair[0].sequence.wrapping_add(1), pair[1].sequence, "{pair:?}");
        let later = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((1..20 * CLOCK).contains(&later), "{later} ticks: {pair:?}");
        assert_eq!(pair[1].ssrc, SSRC);
    }
}

/// Runs of packets of one camera: which, and how many.
fn runs(stream: &[Seen]) -> Vec<(usize, usize)> {
    stream.chunk_by(|one, other| one.camera == other.camera).map(|run| (run[0].camera, run.len())).collect()
}

fn every_receiver_sees_one_stream_whoever_sends_it(engine: Engine) {
    let scene = Scene::start(engine);
    // More than one block.
    let sockets = scene.sockets(20);
    let mut legs = scene.join(scene.cameras[0], &(0..18).map(continuing).collect::<Vec<_>>());
    let cameras = [Camera::start(&scene, 0, 65_000), Camera::start(&scene, 1, 20_000)];
    scene.flows(0, 100);
    // Who comes in the middle has a stream of its own from there on.
    legs.extend(scene.join(scene.cameras[0], &[continuing(18), continuing(19)]));
    scene.flows(0, 100);
    let mut events = scene.bench.relay.subscribe();
    let mut marks = Vec::new();
    for (old, new) in [(0, 1), (1, 0), (0, 1)] {
        scene.switch(scene.cameras[old], scene.cameras[new]).unwrap();
        marks.push(scene.forwarded(old));
        scene.flows(new, 100);
        assert_eq!(scene.bench.relay.group(scene.cameras[old]), None);
        assert_eq!(scene.bench.relay.group(scene.cameras[new]).unwrap().receivers, 20);
        assert_eq!(scene.forwarded(old), marks[marks.len() - 1], "it leads nowhere now");
    }
    let sent = cameras.map(Camera::stop);
    let wanted = Event::KeyFrameWanted { leg: scene.cameras[1] };
    assert_eq!(scene.bench.next(&mut events), wanted);
    let total = [0, 1].map(|camera| {
        let source =
            scene.bench.statistics_when(scene.cameras[camera], |counted| counted.received == sent[camera]);
        assert!(source.dropped.iter().all(|(reason, _)| *reason == "no_stream"), "{source:?}");
        source.forwarded
    });
    let expected = [marks[0], marks[1], marks[2] - marks[0], total[1] - marks[1]];
    for (number, (socket, leg)) in sockets.iter().zip(&legs).enumerate() {
        // The first 18 get all; the others what came since they joined.
        let counted = scene
            .bench
            .statistics_when(*leg, |counted| number >= 18 || counted.sent == expected.iter().sum::<u64>());
        assert!(counted.lost.is_empty(), "{counted:?}");
        let stream = read(socket, counted.sent);
        assert_one_stream(&stream);
        let joined_at = if number < 18 { 0 } else { u64::from(stream[0].count) };
        let found: Vec<(usize, u64)> =
            runs(&stream).into_iter().map(|(camera, packets)| (camera, packets as u64)).collect();
        let [a, b, c, d] = expected;
        assert_eq!(found, [(0, a - joined_at), (1, b), (0, c), (1, d)], "receiver {number}");
        // Within a run nothing of the camera is missing.
        for run in stream.chunk_by(|one, other| one.camera == other.camera) {
            assert!(run.windows(2).all(|pair| pair[0].count + 1 == pair[1].count), "receiver {number}");
        }
    }
    sockets.iter().for_each(assert_silent);
}

fn a_receiver_that_continues_nothing_sees_the_numbers_of_the_new_source(engine: Engine) {
    let scene = Scene::start(engine);
    let sockets = scene.sockets(2);
    let offset = Continuity::Offset { sequence: 1_000, timestamp: 0 };
    scene.join(scene.cameras[0], &[receiver(0), receiver(1).retag(RetagSpec::default().continuity(offset))]);
    let send = |number: u16, sequence| {
        let [to, from] = camera(number);
        let mut packet = rtp(sequence, number.into());
        packet[12] = number.to_be_bytes()[1];
        socket(&scene.bench.topology.camera, from).send_to(&packet, to).unwrap();
    };
    send(0, 10);
    scene.bench.statistics_when(scene.cameras[0], |counted| counted.forwarded == 1);
    scene.switch(scene.cameras[0], scene.cameras[1]).unwrap();
    send(1, 5_000);
    for (socket, shift) in sockets.iter().zip([0, 1_000]) {
        let seen: Vec<_> =
            read(socket, 2).iter().map(|seen| (seen.camera, seen.sequence, seen.ssrc)).collect();
        assert_eq!(seen, [(0, 10 + shift, 0), (1, 5_000 + shift, 1)]);
    }
}

fn receivers_keep_their_places_when_the_old_source_goes(engine: Engine) {
    let scene = Scene::start(engine);
    let sockets = scene.sockets(20);
    let legs = scene.join(scene.cameras[0], &(0..20).map(continuing).collect::<Vec<_>>());
    let before = scene.bench.relay.receivers(scene.cameras[0]);
    scene.switch(scene.cameras[0], scene.cameras[1]).unwrap();
    scene.switch(scene.cameras[1], scene.cameras[1]).unwrap();
    scene.bench.relay.remove(&scene.cameras[..1]);
    assert_eq!(scene.bench.relay.receivers(scene.cameras[1]), before);
    let camera = Camera::start(&scene, 1, 7);
    scene.flows(1, 50);
    scene.bench.relay.remove(&legs[..5]);
    scene.flows(1, 50);
    let sent = camera.stop();
    scene.bench.statistics_when(scene.cameras[1], |counted| counted.forwarded == sent);
    for (leg, socket) in legs.iter().zip(&sockets).skip(5) {
        scene.bench.statistics_when(*leg, |counted| counted.sent == sent);
        let stream = read(socket, sent);
        assert_one_stream(&stream);
        assert_eq!(runs(&stream), [(1, usize::try_from(sent).unwrap())]);
    }
    scene.bench.relay.remove(&legs);
    assert_eq!(scene.bench.relay.group(scene.cameras[1]), None);
}

fn what_cannot_be_switched_is_refused_and_nothing_changes(engine: Engine) {
    let scene = Scene::start(engine);
    let socket = &scene.sockets(1)[0];
    let legs = scene.join(scene.cameras[0], &[continuing(0)]);
    let refusal = |source, next| scene.switch(source, next).unwrap_err().to_string();
    let [first, second] = scene.cameras;
    assert!(refusal(second, first).contains("no receivers"));
    assert!(refusal(first, legs[0]).contains("one of the receivers"));
    scene.join(second, &[continuing(1)]);
    assert!(refusal(first, second).contains("has receivers already"));
    scene.bench.relay.remove(&[second]);
    assert!(matches!(scene.switch(first, second), Err(InstallError::Gone)));
    let camera = Camera::start(&scene, 0, 1);
    scene.flows(0, 5);
    camera.stop();
    assert_one_stream(&read(socket, 5));
}
