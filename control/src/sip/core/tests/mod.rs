//! The core, told what happens by messages in memory and by a clock that the test moves.

mod media;
mod overload;
mod registration;
mod sessions;
mod setup;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Core, Effects};
use crate::config::Config;
use crate::sip::message::{Datagram, HeaderName, Limits, Message, parse_datagram};
use crate::sip::transport::Flow;

const VIEWER: &str = "192.0.2.7:5070";
const CAMERA: &str = "192.0.2.8:5070";

/// A core and its time.
struct World {
    core: Core,
    now: Instant,
    effects: Effects,
}

impl World {
    /// A world in which `viewer` and `camera` need no password, `guarded` needs one, everybody may call everybody in
    /// direct mode, and `camera` is registered.
    fn new() -> Self {
        Self::with("", "direct")
    }

    fn with(more_sip_keys: &str, mode: &str) -> Self {
        let relay = "[relay]\ninterfaces = [\"eth0\"]\n[[network]]\nname = \"all\"\ninterface = \"eth0\"\n\
                     address = \"192.0.2.1\"\n";
        let text = format!(
            "[sip]\nlisten = [\"udp:192.0.2.1:5060\"]\nrealm = \"culvert.example\"\n{more_sip_keys}\n\
             [[account]]\nuser = \"viewer\"\nauthenticate = \"never\"\nfrom = [\"192.0.2.0/24\"]\n\
             [[account]]\nuser = \"camera\"\nauthenticate = \"never\"\nfrom = [\"192.0.2.0/24\"]\n\
             [[account]]\nuser = \"guarded\"\npassword = \"correct horse\"\n\
             [[rule]]\nfrom = \"*\"\nto = \"*\"\nmode = \"{mode}\"\n{relay}"
        );
        let config = Config::parse(Path::new("test.toml"), &text).unwrap();
        let core = Core::new(Arc::new(config)).unwrap();
        let mut world = Self { core, now: Instant::now(), effects: Effects::default() };
        world.receive(CAMERA, &request("REGISTER", "camera", CAMERA, "camera", "reg", 1, &[], ""));
        assert_eq!(world.status_to(CAMERA), 200);
        world
    }

    /// A message arrives from an address.
    fn receive(&mut self, from: &str, text: &str) {
        let flow = Flow::Udp { local: "192.0.2.1:5060".parse().unwrap(), remote: from.parse().unwrap() };
        let mut message = parse(text.as_bytes());
        if message.is_request() {
            let mut via = message.top_via().unwrap();
            via.note_source(flow.remote());
            message.replace_top_via(&via);
        }
        self.core.message(self.now, flow, message);
        self.collect();
    }

    /// The answer of a terminal to a request that it got.
    fn answer(
        &mut self,
        from: &str,
        request: &Message,
        status: u16,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) {
        let mut response = Message::response(request, status).with_to_tag("camera1");
        response.headers.push(HeaderName::Contact, format!("<sip:camera@{from}>"));
        for (name, value) in headers {
            response.headers.push(*name, value);
        }
        if !body.is_empty() {
            response.set_body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
        }
        let text = String::from_utf8(response.to_bytes().to_vec()).unwrap();
        self.receive(from, &text);
    }

    /// Time passes; every timer fires when it is due.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.core.expire(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// What was sent to an address since it was looked at last.
    fn sent_to(&mut self, address: &str) -> Vec<Message> {
        let remote = address.parse().unwrap();
        let all = std::mem::take(&mut self.effects.transmits);
        let (there, others) = all.into_iter().partition(|transmit| transmit.flow.remote() == remote);
        self.effects.transmits = others;
        there.into_iter().map(|transmit| parse(&transmit.bytes)).collect()
    }

    /// The methods and status codes of what was sent to an address, but for 100.
    fn told(&mut self, address: &str) -> Vec<String> {
        let name = |message: &Message| match (message.method(), message.status_code()) {
            (Some(method), _) => method.to_string(),
            (None, status) => status.unwrap_or_default().to_string(),
        };
        self.sent_to(address).iter().map(name).filter(|name| name != "100").collect()
    }

    /// The only request that was sent to an address.
    fn request_to(&mut self, address: &str) -> Message {
        let mut requests: Vec<_> = self.sent_to(address).into_iter().filter(Message::is_request).collect();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// The last response that was sent to an address.
    fn response_to(&mut self, address: &str) -> Message {
        let responses = self.sent_to(address).into_iter().filter(|message| !message.is_request());
        responses.last().unwrap_or_else(|| panic!("no response to {address}"))
    }

    fn status_to(&mut self, address: &str) -> u16 {
        self.response_to(address).status_code().unwrap()
    }

    /// A call from viewer to camera with these header fields in INVITE and 200; the INVITE that the camera got, the
    /// 200 that the viewer got.
    fn call(&mut self, invite: &[&str], answer: &[(HeaderName, &str)]) -> (Message, Message) {
        self.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, invite, "offer"));
        let invite = self.request_to(CAMERA);
        self.answer(CAMERA, &invite, 200, answer, "answer");
        let answer = self.response_to(VIEWER);
        assert_eq!(answer.status_code(), Some(200));
        self.receive(VIEWER, &in_dialog("ACK", &answer, 1, &[], ""));
        assert_eq!(self.told(CAMERA), ["ACK"]);
        (invite, answer)
    }

    fn collect(&mut self) {
        let new = self.core.take_effects();
        self.effects.transmits.extend(new.transmits);
        self.effects.media.extend(new.media);
        self.effects.media_checks.extend(new.media_checks);
        self.effects.ended.extend(new.ended);
    }

    /// Why the calls ended that have ended.
    fn reasons(&self) -> Vec<&str> {
        self.effects.ended.iter().map(|ended| ended.record.reason.as_str()).collect()
    }
}

fn parse(bytes: &[u8]) -> Message {
    match parse_datagram(&Bytes::copy_from_slice(bytes), &Limits::default()).unwrap() {
        Datagram::Message(message) => *message,
        Datagram::KeepAlive => panic!("no message"),
    }
}

/// A request outside of a dialog. Its branch depends on method, Call-ID and CSeq only: the same request twice is a
/// retransmission.
#[expect(clippy::too_many_arguments, reason = "the fields of a request")]
fn request(
    method: &str,
    user: &str,
    address: &str,
    to: &str,
    call_id: &str,
    cseq: u32,
    headers: &[&str],
    body: &str,
) -> String {
    let branch_method = if method == "CANCEL" { "INVITE" } else { method };
    let content_type = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!(
        "{method} sip:{to}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch_method}{call_id}{cseq}\r\n\
         From: <sip:{user}@192.0.2.1>;tag={user}1\r\nTo: <sip:{to}@192.0.2.1>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:{user}@{address}>\r\n{more}{content_type}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request of the viewer inside the dialog that `answer` made.
fn in_dialog(method: &str, answer: &Message, cseq: u32, headers: &[&str], body: &str) -> String {
    let to = answer.to().unwrap().to_string();
    let plain = request(method, "viewer", VIEWER, "camera", &answer.call_id().unwrap(), cseq, headers, body);
    plain.replace("To: <sip:camera@192.0.2.1>", &format!("To: {to}"))
}

fn header(message: &Message, name: HeaderName) -> String {
    message.headers.get(name).and_then(crate::sip::message::Header::text).unwrap_or_default()
}
