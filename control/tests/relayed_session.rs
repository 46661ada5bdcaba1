//! A session that two descriptions set up, over the real relay: media of both kinds, both ways, over real devices.
//!
//! Takes root: each test makes network namespaces of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use control::session::{LegPolicy, LocalMedia, Network, SessionCore, SessionId, SessionOptions, Side};
use control::sip::media::{describe, readdress};
use control::sip::sdp::Sdp;
use relay_user::{MediaKind, ModeChoice, Options, Relay, SourcePolicy, Tags};
use testbed::{Namespace, Topology};
use tokio::runtime::Runtime;

/// Long enough for a packet through two veth pairs, be the machine slow and busy.
const ARRIVAL: Duration = Duration::from_secs(20);
/// Long enough to say that a packet does not come.
const SILENCE: Duration = Duration::from_millis(200);

const VIEWER: IpAddr = IpAddr::V4(Topology::VIEWER.terminal);
const CAMERA: IpAddr = IpAddr::V4(Topology::CAMERA.terminal);

struct Bench {
    core: SessionCore<Relay>,
    runtime: Runtime,
    topology: Topology,
}

impl Bench {
    fn start(source: SourcePolicy) -> Self {
        let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
        let interfaces = vec![Topology::CAMERA.device.to_owned(), Topology::VIEWER.device.to_owned()];
        let networks =
            [("cameras", Topology::CAMERA), ("operators", Topology::VIEWER)].map(|(name, side)| Network {
                name: name.into(),
                interface: side.device.into(),
                address: side.relay.into(),
                advertise: None,
                vlan: Tags::NONE,
            });
        let start = || {
            // The threads of the runtime, and so its sockets, are in the namespace of the thread that makes it.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let options = Options { interfaces, mode: ModeChoice::Native, legs: 64, ..Options::default() };
            let relay = runtime.block_on(Relay::start(&options)).expect("the relay starts");
            (runtime, relay)
        };
        let (runtime, relay) = topology.relay.run(start).unwrap();
        let options = SessionOptions {
            networks: networks.into(),
            ports: 30000..=30019,
            quarantine: Duration::from_secs(30),
            legs: LegPolicy { source, ..LegPolicy::default() },
            most_sessions: 10,
        };
        let core = SessionCore::new(relay, options).unwrap();
        Self { core, runtime, topology }
    }

    /// The viewer calls the camera. Returns the session and the descriptions as camera and viewer see them.
    fn call(&self, offer: &str, answer: &str) -> (SessionId, Sdp, Sdp) {
        let (mut offer, mut answer) = (sdp(offer), sdp(answer));
        let offered = describe(&offer).unwrap();
        let (id, local) = self.runtime.block_on(self.core.offer(VIEWER, CAMERA, &offered)).unwrap();
        readdress(&mut offer, &local).unwrap();
        let local = self.answer(id, &answer);
        readdress(&mut answer, &local).unwrap();
        (id, offer, answer)
    }

    fn answer(&self, id: SessionId, answer: &Sdp) -> Vec<LocalMedia> {
        self.runtime.block_on(self.core.answer(id, &describe(answer).unwrap())).unwrap()
    }

    fn camera(&self, port: u16) -> UdpSocket {
        socket(&self.topology.camera, Topology::CAMERA.terminal, port)
    }

    fn viewer(&self, port: u16) -> UdpSocket {
        socket(&self.topology.viewer, Topology::VIEWER.terminal, port)
    }
}

fn sdp(text: &str) -> Sdp {
    Sdp::parse(&Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

/// What a terminal offers or answers: video on this port.
fn description(address: IpAddr, port: u16, attributes: &str) -> String {
    format!(
        "v=0\no=- 1 1 IN IP4 {address}\ns=Play\nc=IN IP4 {address}\nt=0 0\nm=video {port} RTP/AVP 96\n{attributes}"
    )
}

/// Where a description says that RTP is to go, and RTCP.
fn told(sdp: &Sdp) -> (SocketAddr, SocketAddr) {
    let line = describe(sdp).unwrap().media.remove(0);
    (line.remote.unwrap(), line.rtcp.unwrap())
}

fn socket(namespace: &Namespace, address: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((address, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(ARRIVAL)).unwrap();
    socket
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 7]);
    packet.extend([0x55; 160]);
    packet
}

/// A sender report without blocks (RFC 3550 section 6.4.1).
fn rtcp() -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
    packet.extend([0; 20]);
    packet
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, source) = socket.recv_from(&mut buffer).expect("a packet arrives");
    (buffer[..length].to_vec(), source)
}

fn assert_silent(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let received = socket.recv_from(&mut [0; 2048]);
    socket.set_read_timeout(Some(ARRIVAL)).unwrap();
    assert!(received.is_err(), "{received:?}");
}

#[test]
fn media_flows_as_soon_as_the_answer_is_there_and_stops_with_the_end() {
    let bench = Bench::start(SourcePolicy::Pinned);
    let (camera, camera_rtcp) = (bench.camera(5004), bench.camera(5005));
    let (viewer, viewer_rtcp) = (bench.viewer(6004), bench.viewer(6005));
    let (id, offer, answer) =
        bench.call(&description(VIEWER, 6004, "a=recvonly\n"), &description(CAMERA, 5004, "a=sendonly\n"));
    let (to_viewer, to_viewer_rtcp) = told(&offer);
    let (to_camera, to_camera_rtcp) = told(&answer);

    for sequence in 0..100 {
        camera.send_to(&rtp(sequence), to_viewer).unwrap();
        assert_eq!(receive(&viewer), (rtp(sequence), to_camera));
    }
    camera_rtcp.send_to(&rtcp(), to_viewer_rtcp).unwrap();
    assert_eq!(receive(&viewer_rtcp), (rtcp(), to_camera_rtcp));
    viewer_rtcp.send_to(&rtcp(), to_camera_rtcp).unwrap();
    assert_eq!(receive(&camera_rtcp), (rtcp(), to_viewer_rtcp));
    assert!(bench.runtime.block_on(bench.core.idle(id)).unwrap() < ARRIVAL);

    let report = bench.runtime.block_on(bench.core.end(id)).unwrap();
    let counted: Vec<_> = report
        .legs
        .iter()
        .map(|leg| {
            (leg.side, leg.kind, leg.statistics.received, leg.statistics.sent, leg.statistics.dropped.len())
        })
        .collect();
    let expected = [
        (Side::Caller, MediaKind::Rtp, 0, 100, 0),
        (Side::Callee, MediaKind::Rtp, 100, 0, 0),
        (Side::Caller, MediaKind::Rtcp, 1, 1, 0),
        (Side::Callee, MediaKind::Rtcp, 1, 1, 0),
    ];
    assert_eq!(counted, expected);
    camera.send_to(&rtp(100), to_viewer).unwrap();
    assert_silent(&viewer);
}

#[test]
fn rtp_and_rtcp_may_share_a_port() {
    let bench = Bench::start(SourcePolicy::LearnPort);
    let (camera, viewer) = (bench.camera(5104), bench.viewer(6004));
    let (id, offer, _) =
        bench.call(&description(VIEWER, 6004, "a=rtcp-mux\n"), &description(CAMERA, 5004, "a=rtcp-mux\n"));
    let (to_viewer, _) = told(&offer);
    camera.send_to(&rtp(1), to_viewer).unwrap();
    camera.send_to(&rtcp(), to_viewer).unwrap();
    assert_eq!([receive(&viewer).0, receive(&viewer).0], [rtp(1), rtcp()]);
    let report = bench.runtime.block_on(bench.core.end(id)).unwrap();
    assert_eq!(report.legs.iter().map(|leg| leg.kind).collect::<Vec<_>>(), [MediaKind::Muxed; 2]);
}

#[test]
fn media_follows_a_terminal_that_moves() {
    let bench = Bench::start(SourcePolicy::Pinned);
    let (camera, before, after) = (bench.camera(5004), bench.viewer(6004), bench.viewer(6104));
    let (id, offer, _) = bench.call(&description(VIEWER, 6004, ""), &description(CAMERA, 5004, ""));
    let (to_viewer, _) = told(&offer);
    camera.send_to(&rtp(1), to_viewer).unwrap();
    assert_eq!(receive(&before).0, rtp(1));

    let moved = describe(&sdp(&description(VIEWER, 6104, ""))).unwrap();
    let local = bench.runtime.block_on(bench.core.reoffer(id, Side::Caller, &moved)).unwrap();
    assert_eq!(local[0].rtp, to_viewer, "the camera sends to the same port as before");
    bench.answer(id, &sdp(&description(CAMERA, 5004, "")));

    camera.send_to(&rtp(2), to_viewer).unwrap();
    assert_eq!(receive(&after).0, rtp(2));
    assert_silent(&before);
}

#[test]
fn an_answer_that_cannot_be_relayed_to_leaves_nothing() {
    let bench = Bench::start(SourcePolicy::Pinned);
    let offered = describe(&sdp(&description(VIEWER, 6004, ""))).unwrap();
    let (id, _) = bench.runtime.block_on(bench.core.offer(VIEWER, CAMERA, &offered)).unwrap();
    let elsewhere = describe(&sdp("v=0\nc=IN IP6 2001:db8::9\nm=video 5004 RTP/AVP 96\n")).unwrap();
    let error = bench.runtime.block_on(bench.core.answer(id, &elsewhere)).unwrap_err();
    assert!(error.to_string().contains("2001:db8::9"), "{error}");
    let report = bench.runtime.block_on(bench.core.end(id)).unwrap();
    assert!(report.legs.iter().all(|leg| leg.statistics.sent == 0));
    assert_eq!(bench.core.ports().in_use, 0);
}
