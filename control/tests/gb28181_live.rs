//! Cameras that behave badly while somebody watches: the real binary and the real XDP program in network namespaces, a camera
//! whose every message the test writes.
//!
//! Takes root, iproute2 and ethtool.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use control::admin::{Playing, Reply, Stream, StreamState};
use control::sip::message::{HeaderName, Message};
use support::device::{Device, PLATFORM, REALM};
use support::live::{CHANNEL, Live, receive_rtp};
use testbed::Topology;

const CAMERA: &str = "34020000001320000001";

struct Scene {
    live: Live,
    camera: Device,
    media: UdpSocket,
    viewer: UdpSocket,
}

impl Scene {
    fn start(keys: &str) -> Self {
        Self::of_version(keys, "")
    }

    /// A camera that says this when it registers, and has the one channel.
    fn of_version(keys: &str, version: &str) -> Self {
        let live =
            Live::start(&format!("invite_seconds = 1\nlinger_seconds = 0\nsilence_seconds = 2\n{keys}"));
        let bind = |port: u16| {
            let bind = move || UdpSocket::bind((Topology::CAMERA.terminal, port));
            live.topology.camera.run(bind).unwrap().unwrap()
        };
        let camera = Device::with(CAMERA, bind(5060), Live::platform());
        let media = bind(0);
        let registered =
            camera.register_with(&format!("Expires: 3600\r\n{version}"), support::device::PASSWORD, 1);
        assert_eq!(registered.status_code(), Some(200));
        let item = format!(
            "<DeviceList><Item><DeviceID>{CHANNEL}</DeviceID><Status>ON</Status></Item></DeviceList>"
        );
        for _ in 0..3 {
            camera.answer_question(1, &item);
        }
        let viewer = live.viewer();
        Self { live, camera, media, viewer }
    }

    /// Somebody asks to watch; the answer is to be awaited.
    fn ask(&self) -> JoinHandle<Reply> {
        let (socket, to) = (self.live.gateway.socket(), self.viewer.local_addr().unwrap());
        let channel = CHANNEL.parse().unwrap();
        let request = control::admin::Request::Play { device: None, channel, to, ssrc: None };
        std::thread::spawn(move || control::admin::ask(&socket, &request).unwrap())
    }

    /// Somebody watches, and the camera answers with these lines.
    fn play(&self, lines: &str) -> (Playing, Message) {
        let asked = self.ask();
        let invite = self.camera.receive_request("INVITE");
        self.accept(&invite, lines);
        self.camera.receive_request("ACK");
        match asked.join().unwrap() {
            Reply::Playing(playing) => (*playing, invite),
            other => panic!("{other:?}"),
        }
    }

    fn accept(&self, invite: &Message, lines: &str) {
        self.camera.accept(invite, &[], &self.description(lines));
    }

    fn description(&self, lines: &str) -> String {
        let media = self.media.local_addr().unwrap();
        format!(
            "v=0\r\no={CHANNEL} 0 0 IN IP4 {0}\r\ns=Play\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=video {1} RTP/AVP 96\r\n\
             a=sendonly\r\na=rtpmap:96 PS/90000\r\n{lines}",
            media.ip(),
            media.port()
        )
    }

    /// The camera sends a packet with this SSRC from this socket.
    fn send(&self, socket: &UdpSocket, invite: &Message, sequence: u16, ssrc: u32) {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend(u32::from(sequence).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0, 0, 1, 0xba, 1, 2, 3]);
        socket.send_to(&packet, told(invite).0).unwrap();
    }

    /// Sends until the viewer gets something: that arrives whose sequence number is at least this.
    fn flows(&self, socket: &UdpSocket, invite: &Message, first: u16, ssrc: u32) -> u32 {
        self.viewer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let begin = Instant::now();
        let mut buffer = [0; 2_048];
        for sequence in first.. {
            self.send(socket, invite, sequence, ssrc);
            if let Ok((length, _)) = self.viewer.recv_from(&mut buffer)
                && u16::from_be_bytes([buffer[2], buffer[3]]) >= first
            {
                assert_eq!(&buffer[12..length], [0, 0, 1, 0xba, 1, 2, 3]);
                return u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]);
            }
            assert!(
                begin.elapsed() < support::gateway::PATIENCE,
                "nothing flows:\n{}",
                self.live.gateway.log()
            );
        }
        0
    }

    /// A request of the camera inside the dialogue of this INVITE.
    fn in_dialog(&self, method: &str, invite: &Message) {
        let (from, to) = (invite.to().unwrap().with_tag(&format!("t{CAMERA}")), invite.from().unwrap());
        let (address, call_id) = (self.camera.address(), invite.call_id().unwrap());
        self.camera.send(&format!(
            "{method} sip:{PLATFORM}@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {address};rport;branch=z9hG4bK{call_id}{method}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 7 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        ));
    }

    fn expect_bye(&self) -> Message {
        let bye = self.camera.receive_request("BYE");
        self.camera.respond(&bye, 200);
        bye
    }
}

/// Where an INVITE says that media is to go, and its SSRC.
fn told(invite: &Message) -> (SocketAddr, u32) {
    let text = String::from_utf8(invite.body.to_vec()).unwrap();
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap().to_owned();
    let address = line("c=IN IP4 ");
    let port = line("m=video ").split(' ').next().unwrap().to_owned();
    (format!("{address}:{port}").parse().unwrap(), line("y=").parse().unwrap())
}

fn refused(reply: Reply) -> String {
    match reply {
        Reply::NoAnswer { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn invite_says_what_the_standard_asks_for() {
    let scene = Scene::start("");
    let (playing, invite) = scene.play("");
    let (to, ssrc) = told(&invite);
    assert_eq!(to.ip(), std::net::IpAddr::V4(Topology::CAMERA.relay));
    assert_eq!((to.port() % 2, ssrc / 10_000), (0, 20_000), "live, of our domain");
    let subject = invite.headers.get(HeaderName::Subject).unwrap().text().unwrap();
    assert_eq!(subject, format!("{CHANNEL}:{ssrc:010},{PLATFORM}:0"));
    assert_eq!(invite.request_uri().unwrap().user(), Some(CHANNEL));
    assert_eq!(playing.from.ip(), std::net::IpAddr::V4(Topology::VIEWER.relay));
}

#[test]
fn media_flows_whatever_the_camera_says_of_its_ssrc_and_wherever_it_sends_from() {
    for lines in ["", "y=0200009999\r\n", "y=no number\r\nf=v/2/6/25/1/4096a/1/8/1"] {
        let scene = Scene::start("");
        let (playing, invite) = scene.play(lines);
        // Neither the SSRC that it was told nor the one that it says.
        assert_eq!(scene.flows(&scene.media, &invite, 1, 7), playing.ssrc, "{lines}");
        let elsewhere = scene.live.topology.camera.run(|| UdpSocket::bind((Topology::CAMERA.terminal, 0)));
        // After a start it sends from another port.
        assert_eq!(scene.flows(&elsewhere.unwrap().unwrap(), &invite, 1_000, 8), playing.ssrc, "{lines}");
        let streams = scene.live.streams();
        let said = lines.contains("9999").then_some(200_009_999);
        assert_eq!(streams[0].answered_ssrc, said);
    }
}

#[test]
fn viewer_may_have_an_ssrc_of_its_own_choice() {
    let scene = Scene::start("");
    let (_, invite) = scene.play("");
    let second = scene.live.viewer();
    let request = control::admin::Request::Play {
        device: Some(CAMERA.parse().unwrap()),
        channel: CHANNEL.parse().unwrap(),
        to: second.local_addr().unwrap(),
        ssrc: Some(4_000_000_000),
    };
    assert!(
        matches!(scene.live.gateway.ask(&request), Reply::Playing(playing) if playing.ssrc == 4_000_000_000)
    );
    scene.flows(&scene.media, &invite, 1, 7);
    assert_eq!(receive_rtp(&second).1, 4_000_000_000);
}

#[test]
fn refusal_of_the_camera_is_told_with_its_words_and_leaves_nothing() {
    let scene = Scene::start("");
    let asked = scene.ask();
    let invite = scene.camera.receive_request("INVITE");
    scene.camera.respond(&invite, 486);
    let message = refused(asked.join().unwrap());
    assert!(message.contains("486 Busy Here"), "{message}");
    scene.live.wait_for_streams("the end", <[_]>::is_empty);
    scene.live.gateway.wait_for("ports", |status| status.relay.as_ref().unwrap().port_pairs.in_use == 0);
}

#[test]
fn camera_that_answers_too_late_is_told_to_stop() {
    let scene = Scene::start("");
    let asked = scene.ask();
    let invite = scene.camera.receive_request("INVITE");
    let message = refused(asked.join().unwrap());
    assert!(message.contains("did not answer within 1 s"), "{message}");
    scene.accept(&invite, "");
    scene.camera.receive_request("ACK");
    let bye = scene.expect_bye();
    assert_eq!(bye.call_id().unwrap(), invite.call_id().unwrap());
}

#[test]
fn camera_that_rings_too_long_is_cancelled() {
    let scene = Scene::start("");
    let asked = scene.ask();
    let invite = scene.camera.receive_request("INVITE");
    scene.camera.respond(&invite, 100);
    refused(asked.join().unwrap());
    let cancel = scene.camera.receive_request("CANCEL");
    scene.camera.respond(&cancel, 200);
    scene.camera.respond(&invite, 487);
    scene.camera.receive_request("ACK");
}

#[test]
fn answer_that_is_of_no_use_is_acknowledged_and_ended() {
    for (description, why) in [
        ("v=0\r\nc=IN IP4 10.78.1.2\r\nm=video 0 RTP/AVP 96\r\n", "its port is 0"),
        ("v=0\r\nc=IN IP4 10.78.1.2\r\nm=video 9 TCP/RTP/AVP 96\r\n", "TCP where UDP was offered"),
        ("", "no session description"),
    ] {
        let scene = Scene::start("");
        let asked = scene.ask();
        let invite = scene.camera.receive_request("INVITE");
        scene.camera.accept(&invite, &[], description);
        scene.camera.receive_request("ACK");
        scene.expect_bye();
        let message = refused(asked.join().unwrap());
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn repeated_200_is_acknowledged_again() {
    let scene = Scene::start("");
    let (_, invite) = scene.play("");
    scene.accept(&invite, "");
    let ack = scene.camera.receive_request("ACK");
    assert_eq!(ack.call_id().unwrap(), invite.call_id().unwrap());
}

#[test]
fn camera_that_hangs_up_is_invited_again_and_its_viewers_stay() {
    let scene = Scene::start("");
    let (playing, invite) = scene.play("");
    scene.flows(&scene.media, &invite, 1, 7);
    scene.in_dialog("BYE", &invite);
    assert_eq!(scene.camera.response().status_code(), Some(200));
    let again = scene.camera.receive_request("INVITE");
    assert_ne!(again.call_id().unwrap(), invite.call_id().unwrap());
    assert_eq!(told(&again), told(&invite), "the same port and the same SSRC");
    scene.accept(&again, "");
    scene.camera.receive_request("ACK");
    assert_eq!(scene.flows(&scene.media, &again, 5_000, 7), playing.ssrc);
    assert_eq!(scene.live.streams()[0].invites, 2);
}

#[test]
fn silent_camera_is_told_bye_and_invited_again_ever_more_seldom() {
    let scene = Scene::start("");
    let (_, invite) = scene.play("");
    let bye = scene.expect_bye();
    assert_eq!(bye.call_id().unwrap(), invite.call_id().unwrap());
    let mut pauses = Vec::new();
    for _ in 0..2 {
        let begin = Instant::now();
        let again = scene.camera.receive_request("INVITE");
        scene.camera.respond(&again, 480);
        pauses.push(begin.elapsed());
    }
    assert!(
        pauses[0] > Duration::from_millis(500) && pauses[1] > pauses[0] + Duration::from_millis(500),
        "{pauses:?}"
    );
    let is_waiting = |streams: &[Stream]| streams[0].state == StreamState::Waiting;
    let streams = scene.live.wait_for_streams("the pause", is_waiting);
    assert_eq!(streams[0].viewers.len(), 1);
    // Who asks now is told why nothing comes, when the camera refuses once more; who waited before goes on waiting.
    let asked = scene.ask();
    let again = scene.camera.receive_request("INVITE");
    scene.camera.respond(&again, 480);
    assert!(refused(asked.join().unwrap()).contains("480"));
    assert_eq!(scene.live.streams()[0].viewers.len(), 1);
}

#[test]
fn camera_that_comes_back_is_invited_at_once() {
    let scene = Scene::start("");
    scene.play("");
    scene.expect_bye();
    // It starts anew.
    let gone = scene.camera.register_with("Expires: 0\r\n", support::device::PASSWORD, 1);
    assert_eq!(gone.status_code(), Some(200));
    std::thread::sleep(Duration::from_millis(1_500));
    let begin = Instant::now();
    scene.camera.register();
    let invite = scene.camera.receive_request("INVITE");
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    scene.accept(&invite, "");
    scene.camera.receive_request("ACK");
    scene.flows(&scene.media, &invite, 1, 7);
}

#[test]
fn camera_that_did_not_hear_bye_is_told_again() {
    let scene = Scene::start("");
    let (playing, invite) = scene.play("");
    scene.flows(&scene.media, &invite, 1, 7);
    scene.live.gateway.hang_up(&playing.viewer);
    scene.expect_bye();
    // Its answer was lost on it; it goes on sending, and the port rests.
    let begin = Instant::now();
    while scene.live.gateway.count("gb28181_orphans_told") == 0 {
        scene.send(&scene.media, &invite, 9, 7);
        std::thread::sleep(Duration::from_millis(20));
        assert!(begin.elapsed() < support::gateway::PATIENCE, "{}", scene.live.gateway.log());
    }
    let bye = scene.expect_bye();
    assert_eq!(bye.call_id().unwrap(), invite.call_id().unwrap());
}

#[test]
fn key_frame_is_asked_for_in_the_words_of_the_devices_version() {
    for (version, word) in
        [("", "<IFameCmd>Send</IFameCmd>"), ("X-GB-Ver: 3.0\r\n", "<IFrameCmd>Send</IFrameCmd>")]
    {
        let scene = Scene::of_version("", version);
        scene.play("");
        let second = scene.live.viewer();
        std::thread::sleep(Duration::from_millis(1_100));
        scene.live.play(second.local_addr().unwrap());
        let order = scene.camera.receive_request("MESSAGE");
        scene.camera.respond(&order, 200);
        let text = String::from_utf8(order.body.to_vec()).unwrap();
        assert!(text.contains(word) && text.contains(&format!("<DeviceID>{CHANNEL}</DeviceID>")), "{text}");
    }
}

#[test]
fn what_cannot_be_played_is_said_why() {
    let scene = Scene::start("");
    let to = scene.viewer.local_addr().unwrap();
    let message = scene.live.refused("34020000001310000099", to);
    assert!(message.contains("no device has a channel 34020000001310000099"), "{message}");
    let gone = scene.camera.register_with("Expires: 0\r\n", support::device::PASSWORD, 1);
    assert_eq!(gone.status_code(), Some(200));
    let message = scene.live.refused(CHANNEL, to);
    assert!(message.contains("is offline"), "{message}");
}

#[test]
fn who_asks_and_goes_before_the_camera_answers_leaves_no_viewer() {
    use std::io::Write as _;
    let scene = Scene::start("");
    let to = scene.viewer.local_addr().unwrap();
    let mut asker = std::os::unix::net::UnixStream::connect(scene.live.gateway.socket()).unwrap();
    writeln!(asker, "{{\"request\": \"play\", \"channel\": \"{CHANNEL}\", \"to\": \"{to}\"}}").unwrap();
    let invite = scene.camera.receive_request("INVITE");
    drop(asker);
    scene.accept(&invite, "");
    scene.camera.receive_request("ACK");
    scene.live.wait_for_streams("nobody", |streams| streams.iter().all(|stream| stream.viewers.is_empty()));
}

#[test]
fn viewer_that_is_gone_is_not_sent_to_for_ever() {
    let scene = Scene::start("");
    let (_, invite) = scene.play("");
    scene.flows(&scene.media, &invite, 1, 7);
    let from = scene.live.streams()[0].viewers[0].from.unwrap();
    // An empty report and a BYE of the viewer's own SSRC (RFC 3550 section 6.6).
    let mut bye = vec![0x80, 201, 0, 1];
    bye.extend(99_u32.to_be_bytes());
    bye.extend([0x81, 203, 0, 1]);
    bye.extend(99_u32.to_be_bytes());
    scene.viewer.send_to(&bye, from).unwrap();
    scene.expect_bye();
    scene.live.wait_for_streams("the end", <[_]>::is_empty);
}
