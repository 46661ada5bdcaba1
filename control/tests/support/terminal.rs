//! A terminal whose every message the test writes: a UDP socket, and the fields that repeat.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use control::sip::message::{Datagram, HeaderName, Limits, Message, parse_datagram};
use testbed::Namespace;

use super::gateway::PATIENCE;

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct Terminal {
    pub(crate) user: &'static str,
    pub(crate) address: SocketAddr,
    gateway: SocketAddr,
    socket: UdpSocket,
    next: std::cell::Cell<u32>,
}

impl Terminal {
    pub(crate) fn new(
        namespace: Option<&Namespace>,
        user: &'static str,
        address: SocketAddr,
        gateway: SocketAddr,
    ) -> Self {
        let bind = || UdpSocket::bind(address).unwrap();
        let socket = namespace.map_or_else(bind, |namespace| namespace.run(bind).unwrap());
        let address = socket.local_addr().unwrap();
        Self { user, address, gateway, socket, next: std::cell::Cell::new(0) }
    }

    /// The gateway's address as a SIP URI has it.
    fn host(&self) -> String {
        match self.gateway.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    /// Registers without a password.
    pub(crate) fn register(&self) {
        let own = format!("<sip:{}@{}>", self.user, self.host());
        self.request(
            "REGISTER",
            &format!("sip:{}", self.host()),
            &own,
            &own,
            &format!("registration-{}", self.address),
            1,
            "",
        );
        assert_eq!(self.receive_status(), 200);
    }

    /// Sends the INVITE of a new call, with this body; returns nothing, the answers are to be received.
    pub(crate) fn invite(&self, to: &str, call_id: &str, body: &str) {
        let target = format!("sip:{to}@{}", self.host());
        let from = format!("<sip:{}@{}>;tag={}tag", self.user, self.host(), self.user);
        self.request("INVITE", &target, &from, &format!("<{target}>"), call_id, 1, body);
    }

    /// Sends a request with a branch of its own.
    #[expect(clippy::too_many_arguments, reason = "the fields of a request")]
    pub(crate) fn request(
        &self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        cseq: u32,
        body: &str,
    ) {
        self.next.set(self.next.get() + 1);
        let from =
            if from.contains("tag=") { from.to_owned() } else { format!("{from};tag={}tag", self.user) };
        let (user, address, branch) = (self.user, self.address, self.next.get());
        let content_type = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        self.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{user}{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:{user}@{address}>\r\n{content_type}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Sends a request inside the dialog that a response to our INVITE made.
    pub(crate) fn request_in_dialog(&self, method: &str, response: &Message, cseq: u32, body: &str) {
        let target = response.contact().unwrap().uri.to_string();
        let (from, to) = (response.from().unwrap().to_string(), response.to().unwrap().to_string());
        self.request(method, &target, &from, &to, &response.call_id().unwrap(), cseq, body);
    }

    /// Sends a request inside the dialog that our 2xx with the tag `to_tag` made of a received INVITE.
    pub(crate) fn request_as_called(
        &self,
        method: &str,
        invite: &Message,
        to_tag: &str,
        cseq: u32,
        body: &str,
    ) {
        let target = invite.contact().unwrap().uri.to_string();
        let from = invite.to().unwrap().with_tag(to_tag).to_string();
        let to = invite.from().unwrap().to_string();
        self.request(method, &target, &from, &to, &invite.call_id().unwrap(), cseq, body);
    }

    /// Answers a received request; `to_tag` is added to To if it has none.
    pub(crate) fn respond(&self, request: &Message, status: u16, to_tag: &str, body: &str) {
        let contact = format!("<sip:{}@{}>", self.user, self.address);
        let mut response =
            Message::response(request, status).with_to_tag(to_tag).with(HeaderName::Contact, contact);
        if !body.is_empty() {
            response.set_body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
        }
        self.socket.send_to(&response.to_bytes(), self.gateway).unwrap();
    }

    pub(crate) fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.gateway).unwrap();
    }

    pub(crate) fn receive(&self) -> Message {
        self.receive_within(PATIENCE).unwrap_or_else(|| panic!("{}: nothing arrives", self.user))
    }

    /// The next datagram as text.
    pub(crate) fn receive_text(&self) -> String {
        let datagram =
            self.receive_datagram(PATIENCE).unwrap_or_else(|| panic!("{}: nothing arrives", self.user));
        String::from_utf8(datagram.to_vec()).unwrap()
    }

    fn receive_datagram(&self, time: Duration) -> Option<Bytes> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut buffer = vec![0; 65_536];
        let received = loop {
            match self.socket.recv(&mut buffer) {
                // A read with a timeout is not restarted after a signal, such as that of a child that ends.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        match received {
            Ok(length) => {
                buffer.truncate(length);
                Some(buffer.into())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{}: {error}", self.user),
        }
    }

    fn receive_within(&self, time: Duration) -> Option<Message> {
        match parse_datagram(&self.receive_datagram(time)?, &Limits::default()).unwrap() {
            Datagram::Message(message) => Some(*message),
            Datagram::KeepAlive => panic!("{}: an empty datagram arrives", self.user),
        }
    }

    /// The next request, which must have this method; retransmissions of others are skipped.
    pub(crate) fn receive_request(&self, method: &str) -> Message {
        loop {
            let message = self.receive();
            if message.method().is_some_and(|found| found.to_string() == method) {
                return message;
            }
        }
    }

    /// The next response but 100.
    pub(crate) fn receive_response(&self) -> Message {
        loop {
            let message = self.receive();
            if message.status_code().is_some_and(|status| status > 100) {
                return message;
            }
        }
    }

    /// The next response but 100 of this call: refusals of others may be repeated, because a terminal acknowledges none.
    pub(crate) fn receive_response_of(&self, call_id: &str) -> Message {
        loop {
            let response = self.receive_response();
            if response.call_id().is_ok_and(|found| *found == *call_id) {
                return response;
            }
        }
    }

    /// The next response but 100; `None` when a request with this method arrives instead, which is answered 200.
    pub(crate) fn receive_response_or(&self, method: &str) -> Option<Message> {
        loop {
            let message = self.receive();
            match message.status_code() {
                Some(status) if status > 100 => return Some(message),
                None if message.method().is_some_and(|found| found.to_string() == method) => {
                    self.respond(&message, 200, "", "");
                    return None;
                }
                _ => {}
            }
        }
    }

    /// The status of the next response but 100.
    pub(crate) fn receive_status(&self) -> u16 {
        self.receive_response().status_code().unwrap()
    }

    /// Nothing arrives.
    pub(crate) fn expect_silence(&self) {
        if let Some(message) = self.receive_within(SILENCE) {
            panic!("{}: {} arrives", self.user, String::from_utf8_lossy(&message.to_bytes()));
        }
    }
}

/// A session description with one audio medium.
pub(crate) fn audio(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n",
        ip = address.ip(),
        port = address.port()
    )
}
