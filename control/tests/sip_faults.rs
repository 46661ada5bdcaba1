//! What terminals do wrong, and when they die: the real binary on loopback, terminals whose every message the test
//! writes. T1 is 20 ms, so that 64*T1 passes within a test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use control::admin::Reply;
use control::sip::message::{HeaderName, Message};
use support::gateway::{Gateway, PATIENCE};
use support::terminal::Terminal;

struct Host {
    gateway: Gateway,
    address: SocketAddr,
    viewer: Terminal,
    camera: Terminal,
}

/// Any body will do where nobody reads it.
const OFFER: &str = "v=0\r\ns=offer\r\n";
const ANSWER: &str = "v=0\r\ns=answer\r\n";

impl Host {
    /// `number` makes the addresses unique among tests that run at the same time.
    fn start(number: u8, more_sip_keys: &str) -> Self {
        let at = |host: u8, port: u16| SocketAddr::from(([127, 79, number, host], port));
        let address = at(1, 5060);
        let configuration = format!(
            r#"
[sip]
listen = ["udp:{address}", "tcp:{address}"]
realm = "culvert.example"
{more_sip_keys}
[sip.timers]
t1_ms = 20
t2_ms = 80
t4_ms = 100
[[account]]
user = "viewer"
authenticate = "never"
from = ["127.79.{number}.0/24"]
[[account]]
user = "camera"
authenticate = "never"
from = ["127.79.{number}.0/24"]
[[rule]]
from = "viewer"
to = "*"
mode = "direct"
"#
        );
        let gateway = Gateway::start(None, &configuration);
        let camera = Terminal::new(None, "camera", at(3, 5070), address);
        camera.register();
        Self { gateway, address, viewer: Terminal::new(None, "viewer", at(2, 5070), address), camera }
    }

    /// An established call: the INVITE that the camera got and the 200 that the viewer got.
    fn call(&self) -> (Message, Message) {
        self.viewer.invite("camera", "call", OFFER);
        let invite = self.camera.receive_request("INVITE");
        self.camera.respond(&invite, 200, "camera1", ANSWER);
        let answer = self.viewer.receive_response();
        assert_eq!(answer.status_code(), Some(200));
        self.viewer.request_in_dialog("ACK", &answer, 1, "");
        self.camera.receive_request("ACK");
        (invite, answer)
    }

    fn expect_bye(&self, terminal: &Terminal) {
        let bye = terminal.receive_request("BYE");
        terminal.respond(&bye, 200, "", "");
    }
}

#[test]
fn session_description_passes_byte_for_byte_and_nothing_of_the_other_side_shows() {
    let host = Host::start(1, "");
    let (invite, answer) = host.call();
    assert_eq!((invite.body.as_ref(), answer.body.as_ref()), (OFFER.as_bytes(), ANSWER.as_bytes()));
    let head = |message: &Message| {
        let head = Message { body: bytes::Bytes::new(), ..message.clone() };
        String::from_utf8(head.to_bytes().to_vec()).unwrap()
    };
    assert!(!head(&invite).contains("127.79.1.2"), "the camera sees the viewer's address: {}", head(&invite));
    assert!(!head(&answer).contains("127.79.1.3"), "the viewer sees the camera's address: {}", head(&answer));
}

#[test]
fn malformed_request_is_answered_400_and_counted() {
    let host = Host::start(2, "");
    host.viewer.send(
        "INVITE sip:camera@127.79.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.79.2.2:5070;branch=z9hG4bKm;rport\r\n\
         From: <sip:viewer@127.79.2.1>;tag=v\r\nTo: <sip:camera@127.79.2.1>\r\nCall-ID: m\r\nCSeq: one INVITE\r\n\r\n",
    );
    let answer = host.viewer.receive_text();
    assert!(answer.starts_with("SIP/2.0 400 Bad Request: CSeq is `one INVITE`"), "{answer}");
    assert!(answer.contains("rport=5070;received=127.79.2.2"), "{answer}");
    host.viewer.send(
        "INVITE sip:camera@127.79.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.79.2.2:5070;branch=z9hG4bKn;rport\r\n\
         From: <sip:viewer@127.79.2.1>;tag=v\r\nTo: <sip:camera@127.79.2.1>\r\nCall-ID: n\r\nCSeq: 1 INVITE\r\n\
         Content-Length: 100\r\n\r\nshort",
    );
    assert_eq!(host.viewer.receive_status(), 400);
    host.viewer.send("\u{1}\u{2} no SIP at all\r\n\r\n");
    host.gateway.wait_for("the count", |status| status.counters.get("sip_messages_malformed") == Some(&3));
    host.call();
}

#[test]
fn branch_without_magic_cookie_is_answered_400() {
    let host = Host::start(3, "");
    host.viewer.send(
        "OPTIONS sip:127.79.3.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.79.3.2:5070;branch=1\r\nMax-Forwards: 70\r\n\
         From: <sip:viewer@127.79.3.1>;tag=v\r\nTo: <sip:127.79.3.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n",
    );
    assert_eq!(host.viewer.receive_status(), 400);
}

#[test]
fn request_of_an_unknown_dialog_is_answered_481() {
    let host = Host::start(4, "");
    let own = "<sip:viewer@127.79.4.1>";
    host.viewer.request(
        "BYE",
        "sip:camera@127.79.4.1",
        own,
        "<sip:camera@127.79.4.1>;tag=none",
        "none",
        2,
        "",
    );
    assert_eq!(host.viewer.receive_status(), 481);
}

#[test]
fn called_that_does_not_answer_at_all_is_given_up_after_64_t1() {
    let host = Host::start(5, "");
    host.viewer.invite("camera", "call", OFFER);
    assert_eq!(host.viewer.receive_status(), 408);
    host.gateway.wait_for_end("the terminal did not answer");
}

#[test]
fn caller_that_never_acknowledges_is_hung_up_and_so_is_the_called() {
    let host = Host::start(6, "");
    host.viewer.invite("camera", "call", OFFER);
    let invite = host.camera.receive_request("INVITE");
    host.camera.respond(&invite, 200, "camera1", ANSWER);
    let mut answers = 0;
    while host.viewer.receive_response_or("BYE").is_some() {
        answers += 1;
    }
    assert!(answers > 5, "the 200 came {answers} times");
    // What the camera accepted is acknowledged before it is ended.
    host.camera.receive_request("ACK");
    host.expect_bye(&host.camera);
    host.gateway.wait_for_end("no ACK for the answer");
}

#[test]
fn called_that_is_gone_when_the_caller_hangs_up_leaves_nothing_behind() {
    let host = Host::start(7, "");
    let (_, answer) = host.call();
    host.viewer.request_in_dialog("BYE", &answer, 2, "");
    assert_eq!(host.viewer.receive_status(), 200);
    // The camera does not answer its BYE.
    host.camera.receive_request("BYE");
    let status =
        host.gateway.wait_for("the end", |status| status.counters.get("gauge_transactions") == Some(&0));
    assert!(status.calls.is_empty());
}

#[test]
fn side_that_does_not_answer_a_request_inside_the_call_is_lost() {
    let host = Host::start(8, "");
    let (_, answer) = host.call();
    host.viewer.request_in_dialog("INFO", &answer, 2, "");
    host.camera.receive_request("INFO");
    assert_eq!(host.viewer.receive_status(), 408);
    host.expect_bye(&host.viewer);
    host.gateway.wait_for_end("the called does not answer any more");
}

#[test]
fn cancel_that_crosses_the_answer_ends_the_call_on_both_sides() {
    let host = Host::start(9, "");
    host.viewer.invite("camera", "call", OFFER);
    let invite = host.camera.receive_request("INVITE");
    host.camera.respond(&invite, 180, "camera1", "");
    assert_eq!(host.viewer.receive_status(), 180);
    let cancel = format!(
        "CANCEL sip:camera@127.79.9.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKviewer1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:viewer@127.79.9.1>;tag=viewertag\r\nTo: <sip:camera@127.79.9.1>\r\nCall-ID: call\r\n\
         CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
        host.viewer.address
    );
    host.viewer.send(&cancel);
    let mut statuses = [host.viewer.receive_status(), host.viewer.receive_status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 487]);
    // The camera had answered before the CANCEL reached it.
    host.camera.receive_request("CANCEL");
    host.camera.respond(&invite, 200, "camera1", ANSWER);
    host.camera.receive_request("ACK");
    host.expect_bye(&host.camera);
}

#[test]
fn reinvites_that_cross_are_answered_491() {
    let host = Host::start(10, "");
    let (invite, answer) = host.call();
    host.viewer.request_in_dialog("INVITE", &answer, 2, OFFER);
    host.camera.receive_request("INVITE");
    host.camera.request_as_called("INVITE", &invite, "camera1", 1, OFFER);
    assert_eq!(host.camera.receive_response().status_code(), Some(491));
}

#[test]
fn all_contacts_ring_and_the_first_answer_wins() {
    let host = Host::start(11, "");
    let second = Terminal::new(None, "camera", SocketAddr::from(([127, 79, 11, 4], 5070)), host.address);
    second.register();
    host.viewer.invite("camera", "call", OFFER);
    let to_first = host.camera.receive_request("INVITE");
    let to_second = second.receive_request("INVITE");
    host.camera.respond(&to_first, 180, "first", "");
    second.respond(&to_second, 200, "second", ANSWER);
    host.camera.receive_request("CANCEL");
    let answer = loop {
        let response = host.viewer.receive_response();
        if response.status_code() == Some(200) {
            break response;
        }
    };
    host.viewer.request_in_dialog("ACK", &answer, 1, "");
    second.receive_request("ACK");
    host.camera.respond(&to_first, 487, "first", "");
    assert_eq!(host.camera.receive_request("ACK").cseq().unwrap().number, 1);
}

#[test]
fn forbidden_unknown_and_absent_are_told_apart() {
    let host = Host::start(12, "");
    let status = |to: &str| {
        host.viewer.invite(to, to, OFFER);
        let response = host.viewer.receive_response_of(to);
        let warning = response.headers.get(HeaderName::Warning).unwrap().text().unwrap();
        (response.status_code().unwrap(), warning)
    };
    let (code, warning) = status("nobody");
    assert_eq!(code, 404, "{warning}");
    assert!(warning.contains("no account nobody"), "{warning}");
    let (code, warning) = status("viewer");
    assert_eq!(code, 480, "{warning}");
    assert!(warning.contains("not registered"), "{warning}");
    host.camera.invite("viewer", "back", OFFER);
    let refusal = host.camera.receive_response();
    assert_eq!(refusal.status_code(), Some(403));
    let warning = refusal.headers.get(HeaderName::Warning).unwrap().text().unwrap();
    assert!(warning.contains("no rule lets camera call viewer"), "{warning}");
}

#[test]
fn operator_hangs_up() {
    let host = Host::start(13, "");
    host.call();
    let call = host.gateway.status().calls.first().unwrap().id.clone();
    assert!(matches!(host.gateway.hang_up("other"), Reply::NoSuchCall));
    assert!(matches!(host.gateway.hang_up(&call), Reply::HangingUp));
    host.expect_bye(&host.viewer);
    host.expect_bye(&host.camera);
    host.gateway.wait_for_end("ended by the operator");
}

#[test]
fn stop_says_bye_to_everybody() {
    let mut host = Host::start(14, "");
    host.call();
    host.gateway.terminate();
    host.expect_bye(&host.viewer);
    host.expect_bye(&host.camera);
    assert!(host.gateway.wait(), "exit code 0");
}

#[test]
fn stop_does_not_wait_for_the_dead() {
    let mut host = Host::start(15, "shutdown_seconds = 1");
    host.call();
    host.gateway.terminate();
    assert!(host.gateway.wait(), "exit code 0");
}

#[test]
fn tcp_ping_is_answered_and_a_stream_that_is_no_sip_is_closed() {
    let host = Host::start(16, "");
    let mut stream = TcpStream::connect(host.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn large_invite_goes_over_tcp_where_the_called_listens_and_over_udp_where_not() {
    let host = Host::start(18, "");
    let large = format!("v=0\r\ns={}\r\n", "x".repeat(1_300));
    host.viewer.invite("camera", "refused", &large);
    let invite = host.camera.receive_request("INVITE");
    assert_eq!(invite.body, large.as_bytes());
    assert!(invite.top_via().unwrap().to_string().contains("UDP"), "{invite:?}");

    let listener = TcpListener::bind(host.camera.address).unwrap();
    host.viewer.invite("camera", "accepted", &large);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut start = [0; 7];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"INVITE ");
}

#[test]
fn one_source_cannot_take_all_connections() {
    let host = Host::start(17, "[sip.limits]\ntcp_connections_per_source = 2");
    let open: Vec<_> = (0..3).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    host.gateway.wait_for("the refusal", |status| {
        status.counters.get("transport_connections_over_source_limit") == Some(&1)
    });
    drop(open);
}
