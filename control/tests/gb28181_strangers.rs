//! A camera that strangers wrote (the crate gb28181-rs) with our platform: the real binary, network namespaces.
//!
//! Takes root, iproute2 and ethtool.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use control::admin::{CatalogState, Order, Reply, Request};
use control::gb28181::ptz::{Movement, Pan, PtzCommand};
use gb28181_rs::config::Transport;
use support::camera::{CAMERA, Camera};
use support::gateway::PATIENCE;
use support::live::{CHANNEL, Live, receive_rtp};
use testbed::Topology;

/// A platform, and a camera whose channels it knows.
fn start(keys: &str, transport: Transport) -> (Live, Camera) {
    let live = Live::start(keys);
    let camera = Camera::start(&live.topology, Live::platform(), transport);
    live.gateway.wait_for_device(CAMERA, |device| device.online && device.catalog == CatalogState::Complete);
    (live, camera)
}

fn registers_and_tells_what_it_is(transport: Transport) {
    let (live, camera) = start("", transport);
    let gateway = &live.gateway;
    let device = gateway.wait_for_device(CAMERA, |device| device.keepalives > 1);
    assert_eq!((device.model.as_str(), device.version.as_deref()), ("Model of strangers", Some("3.0")));
    assert!(device.address.contains(&Topology::CAMERA.terminal.to_string()), "{device:?}");
    let channels = gateway.channels(CAMERA);
    let channel = channels.iter().find(|channel| channel.id.as_str() == CHANNEL);
    assert_eq!(
        channel.map(|channel| (channel.name.as_str(), channel.on)),
        Some(("大门 B&B", Some(true))),
        "{channels:?}"
    );
    camera.leave();
    gateway.wait_for_device(CAMERA, |device| !device.online && device.expires_in_seconds.is_none());
}

#[test]
fn camera_of_strangers_registers_over_udp_tells_its_catalogue_lives_and_leaves() {
    registers_and_tells_what_it_is(Transport::Udp);
}

#[test]
fn camera_of_strangers_registers_over_tcp_tells_its_catalogue_lives_and_leaves() {
    registers_and_tells_what_it_is(Transport::TcpOut);
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// SIGINT, and its end.
    fn interrupt(mut self) {
        let id = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(self.0.wait().is_ok());
    }
}

/// GStreamer as a viewer: it takes the program stream out of RTP and writes it to a file.
fn depacketise(live: &Live, port: u16, file: &Path) -> Running {
    let caps = "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=MP1S,payload=96";
    let mut command = live.topology.viewer.command("gst-launch-1.0");
    command.args([
        "-q",
        "-e",
        "udpsrc",
        &format!("port={port}"),
        "buffer-size=4000000",
        caps,
        "!",
        "rtpmp1sdepay",
        "!",
    ]);
    command.args(["filesink", "buffer-mode=unbuffered", &format!("location={}", file.display())]);
    let child = command.stdin(Stdio::null()).spawn();
    Running(child.unwrap_or_else(|error| panic!("gst-launch-1.0 ({error}): run `cargo xtask setup`")))
}

/// The payloads that the camera sent, in the order in which they left its device.
fn payloads(file: &Path) -> Vec<u8> {
    let output = std::process::Command::new("tshark")
        .args([
            "-r",
            &file.display().to_string(),
            "-d",
            "udp.port==30000-39999,rtp",
            "-T",
            "fields",
            "-e",
            "rtp.payload",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn wait_for_bytes(file: &Path, least: u64) {
    let begin = Instant::now();
    while std::fs::metadata(file).map_or(0, |facts| facts.len()) < least {
        assert!(begin.elapsed() < PATIENCE, "{} does not grow", file.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_until_it_stops(camera: &Camera) {
    let begin = Instant::now();
    while camera.serves() > 0 {
        assert!(begin.elapsed() < PATIENCE, "the camera was not told to stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_viewers_get_the_program_stream_of_the_camera_byte_for_byte() {
    let (live, camera) = start("linger_seconds = 1\n", Transport::Udp);
    let folder = tempfile::tempdir().unwrap();
    let sent = folder.path().join("sent.pcap");
    let mut capture = live.topology.camera.command("tshark");
    let filter = format!("udp and dst host {} and dst portrange 30000-39999", Topology::CAMERA.relay);
    capture
        .args(["-q", "-i", Topology::TERMINAL_DEVICE, "-B", "16", "-f", &filter, "-F", "pcap", "-w"])
        .arg(&sent);
    let capture = Running(capture.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for_bytes(&sent, 1);
    let files = [6_000, 6_002].map(|port| (port, folder.path().join(format!("{port}.ps"))));
    let viewers: Vec<Running> = files.iter().map(|(port, file)| depacketise(&live, *port, file)).collect();
    let playing: Vec<_> =
        files.iter().map(|(port, _)| live.play((Topology::VIEWER.terminal, *port).into())).collect();
    for (_, file) in &files {
        wait_for_bytes(file, 200_000);
    }
    for playing in &playing {
        live.gateway.hang_up(&playing.viewer);
    }
    live.wait_for_streams("the end", <[_]>::is_empty);
    capture.interrupt();
    viewers.into_iter().for_each(Running::interrupt);
    let sent = payloads(&sent);
    for (_, file) in &files {
        let received = std::fs::read(file).unwrap();
        let at = sent.windows(64).position(|window| Some(window) == received.get(..64));
        let at = at.unwrap_or_else(|| panic!("what begins {:02x?} was never sent", &received[..64]));
        let difference = received.iter().zip(&sent[at..]).position(|(one, other)| one != other);
        assert_eq!(
            (difference, received.len() <= sent.len() - at),
            (None, true),
            "of {} bytes",
            received.len()
        );
        assert!(received.windows(4).any(|start| start == [0, 0, 1, 0xba]), "there is no pack header in it");
    }
    wait_until_it_stops(&camera);
}

#[test]
fn camera_gets_one_invite_however_many_watch_and_bye_when_nobody_does() {
    let (live, camera) = start("linger_seconds = 1\n", Transport::Udp);
    let viewers: Vec<UdpSocket> = (0..50).map(|_| live.viewer()).collect();
    let playing: Vec<_> = viewers.iter().map(|viewer| live.play(viewer.local_addr().unwrap())).collect();
    for (viewer, playing) in viewers.iter().zip(&playing) {
        let (_, ssrc, _) = receive_rtp(viewer);
        assert_eq!(ssrc, playing.ssrc);
    }
    let mut ssrcs: Vec<u32> = playing.iter().map(|playing| playing.ssrc).collect();
    ssrcs.sort_unstable();
    ssrcs.dedup();
    assert_eq!((ssrcs.len(), camera.serves()), (50, 1));
    let streams =
        live.wait_for_streams("copies", |streams| streams[0].viewers.iter().all(|viewer| viewer.sent > 0));
    assert_eq!((streams.len(), streams[0].invites, streams[0].viewers.len()), (1, 1, 50));
    assert_eq!(live.gateway.count("gb28181_invites"), 1);
    let quality = streams[0].quality.as_ref().unwrap();
    assert_eq!((quality.lost, quality.ssrc), (0, Some(streams[0].ssrc)), "{quality:?}");
    // It is asked for key frames, at most one a second.
    live.gateway
        .wait_for("a key frame", |status| status.counters.get("gb28181_key_frames_wanted") >= Some(&1));

    for playing in &playing {
        assert!(matches!(live.gateway.hang_up(&playing.viewer), Reply::HangingUp));
    }
    live.wait_for_streams("the end", <[_]>::is_empty);
    live.gateway.wait_for("the ports rest", |status| status.relay.as_ref().unwrap().port_pairs.in_use == 0);
    wait_until_it_stops(&camera);
    assert_eq!(live.gateway.count("gb28181_byes"), 1);
    assert!(matches!(live.gateway.hang_up(&playing[0].viewer), Reply::NoSuchCall));
    // And it may be asked again.
    live.play(viewers[0].local_addr().unwrap());
    receive_rtp(&viewers[0]);
}

#[test]
fn camera_that_signals_over_tcp_is_watched_over_udp() {
    let (live, camera) = start("", Transport::TcpOut);
    let viewer = live.viewer();
    let playing = live.play(viewer.local_addr().unwrap());
    let (first, ssrc, _) = receive_rtp(&viewer);
    let (second, ..) = receive_rtp(&viewer);
    assert_eq!((ssrc, second.wrapping_sub(first), camera.serves()), (playing.ssrc, 1, 1));
}

#[test]
fn stream_goes_on_for_who_comes_back_in_time_and_ends_with_the_daemon() {
    let (mut live, camera) = start("linger_seconds = 20\n", Transport::Udp);
    let viewer = live.viewer();
    let playing = live.play(viewer.local_addr().unwrap());
    live.gateway.hang_up(&playing.viewer);
    live.wait_for_streams("nobody watches", |streams| streams.len() == 1 && streams[0].viewers.is_empty());
    live.play(viewer.local_addr().unwrap());
    receive_rtp(&viewer);
    assert_eq!((live.gateway.count("gb28181_invites"), camera.serves()), (1, 1));
    live.gateway.terminate();
    assert!(live.gateway.wait());
    wait_until_it_stops(&camera);
}

#[test]
fn camera_of_strangers_moves_and_does_what_it_is_ordered() {
    for transport in [Transport::Udp, Transport::TcpOut] {
        let (live, camera) = start("", transport);
        let channel = CHANNEL.parse().unwrap();
        let done = |request: Request| {
            let reply = live.gateway.ask(&request);
            assert!(matches!(reply, Reply::Done), "{request:?}: {reply:?}");
        };
        let ptz = |command| done(Request::Ptz { device: None, channel, command });
        ptz(PtzCommand::Move(Movement { pan: Some(Pan::Left), pan_speed: 99, ..Movement::default() }));
        ptz(PtzCommand::Stop);
        ptz(PtzCommand::Auxiliary { switch: 1, on: true });
        done(Request::Control { device: None, channel, order: Order::KeyFrame });
        let begin = Instant::now();
        while camera.ordered().len() < 4 {
            assert!(begin.elapsed() < PATIENCE, "{:?}", camera.ordered());
            std::thread::sleep(Duration::from_millis(20));
        }
        let ordered = camera.ordered();
        assert!(ordered[0].starts_with("Move { bits: 2, pan_speed: 99"), "{ordered:?}");
        assert!(ordered[1].starts_with("Move { bits: 0"), "{ordered:?}");
        assert_eq!(ordered[2..], ["AuxSwitch { number: 1, on: true }", "key frame"]);
    }
}
