//! A GB/T 28181 device whose every message the test writes: it behaves as badly as the test wants.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use control::sip::digest::respond;
use control::sip::message::{Datagram, HeaderName, Limits, Message, Method, parse_datagram};

use super::gateway::PATIENCE;

/// Our platform in all tests.
pub(crate) const PLATFORM: &str = "34020000002000000001";
pub(crate) const REALM: &str = "3402000000";
pub(crate) const PASSWORD: &str = "a password of tests";

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// The platform's part of a configuration.
pub(crate) fn platform(listen: SocketAddr, keys: &str) -> String {
    format!(
        "[sip]\nlisten = [\"udp:{listen}\", \"tcp:{listen}\"]\nrealm = \"culvert.example\"\n\
         [gb28181]\nplatform = \"{PLATFORM}\"\npassword = \"{PASSWORD}\"\n{keys}\n"
    )
}

pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) socket: UdpSocket,
    platform: SocketAddr,
    next: std::cell::Cell<u32>,
    /// Requests that came while a response was waited for.
    requests: RefCell<VecDeque<Message>>,
}

impl Device {
    pub(crate) fn new(id: &str, address: SocketAddr, platform: SocketAddr) -> Self {
        Self::with(id, UdpSocket::bind(address).unwrap(), platform)
    }

    /// With a socket that is there already, in a namespace perhaps.
    pub(crate) fn with(id: &str, socket: UdpSocket, platform: SocketAddr) -> Self {
        Self {
            id: id.to_owned(),
            socket,
            platform,
            next: std::cell::Cell::new(1),
            requests: RefCell::default(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends a request with these fields beside those that every request has.
    pub(crate) fn request(&self, method: &str, fields: &str, body: &str) {
        let number = self.next.get();
        self.next.set(number + 1);
        let (id, address) = (&self.id, self.address());
        self.send(&format!(
            "{method} sip:{PLATFORM}@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {address};rport;branch=z9hG4bK{id}{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{id}@{REALM}>;tag=t{number}\r\nTo: <sip:{id}@{REALM}>\r\n\
             Call-ID: {id}@{address}\r\nCSeq: {number} {method}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    pub(crate) fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.platform).unwrap();
    }

    /// Registers with these fields; the last answer.
    pub(crate) fn register_with(&self, fields: &str, password: &str, count: u32) -> Message {
        self.request("REGISTER", fields, "");
        let challenge = self.response();
        if challenge.status_code() != Some(401) {
            return challenge;
        }
        let authorization = self.authorization(&challenge, password, count);
        self.request("REGISTER", &format!("{fields}{authorization}"), "");
        self.response()
    }

    pub(crate) fn authorization(&self, challenge: &Message, password: &str, count: u32) -> String {
        assert_eq!(challenge.status_code(), Some(401));
        let challenges = challenge.auth_params(HeaderName::WwwAuthenticate).unwrap();
        let uri = format!("sip:{PLATFORM}@{REALM}");
        let user = (self.id.as_str(), password);
        let answer = respond(&challenges[0], &Method::REGISTER, &uri, user, "7a1b2c3d", count).unwrap();
        format!("Authorization: {answer}\r\n")
    }

    /// Registers as most devices do.
    pub(crate) fn register(&self) {
        let contact = format!("Contact: <sip:{}@{}>\r\nExpires: 3600\r\n", self.id, self.address());
        assert_eq!(self.register_with(&contact, PASSWORD, 1).status_code(), Some(200));
    }

    /// Registers, and answers the questions that follow: it has no channels.
    pub(crate) fn settle(&self) {
        self.register();
        for _ in 0..3 {
            self.answer_question(0, "");
        }
    }

    /// Answers the next question.
    pub(crate) fn answer_question(&self, total: usize, list: &str) {
        let question = self.take("MESSAGE");
        let (what, number) = asked(&question);
        let id = &self.id;
        self.tell(&format!(
            "<Response><CmdType>{what}</CmdType><SN>{number}</SN><DeviceID>{id}</DeviceID><SumNum>{total}</SumNum>\
             {list}</Response>"
        ));
        assert_eq!(self.response().status_code(), Some(200));
    }

    pub(crate) fn keepalive(&self) {
        let id = &self.id;
        self.tell(&format!(
            "<?xml version=\"1.0\" encoding=\"GB2312\"?>\n<Notify><CmdType>Keepalive</CmdType><SN>17</SN>\
             <DeviceID>{id}</DeviceID><Status>OK</Status></Notify>"
        ));
    }

    /// Sends a MESSAGE.
    pub(crate) fn tell(&self, body: &str) {
        self.request("MESSAGE", "Content-Type: Application/MANSCDP+xml\r\n", body);
    }

    /// The next request of this method, which is answered 200; others are answered, too.
    pub(crate) fn take(&self, method: &str) -> Message {
        loop {
            let waiting = self.requests.borrow_mut().pop_front();
            let message = waiting.unwrap_or_else(|| self.receive());
            if message.is_request() {
                self.respond(&message, 200);
                if message.method().is_some_and(|found| found.to_string() == method) {
                    return message;
                }
            }
        }
    }

    /// Answers a request with a session description, if the status is one that has any.
    pub(crate) fn accept(&self, request: &Message, fields: &[(HeaderName, String)], description: &str) {
        let mut response = Message::response(request, 200).with_to_tag(&format!("t{}", self.id));
        for (name, value) in fields {
            response.headers.push(*name, value);
        }
        response.set_body("application/sdp", Bytes::copy_from_slice(description.as_bytes()));
        self.socket.send_to(&response.to_bytes(), self.platform).unwrap();
    }

    /// The next request of this method, unanswered; questions that come before it are answered 200.
    pub(crate) fn receive_request(&self, method: &str) -> Message {
        loop {
            let waiting = self.requests.borrow_mut().pop_front();
            let message = waiting.unwrap_or_else(|| self.receive());
            if message.method().is_some_and(|found| found.to_string() == method) {
                return message;
            }
            if message.is_request() && message.method() != Some(&Method::ACK) {
                self.respond(&message, 200);
            }
        }
    }

    pub(crate) fn respond(&self, request: &Message, status: u16) {
        let response = Message::response(request, status).with_to_tag(&format!("t{}", self.id));
        self.socket.send_to(&response.to_bytes(), self.platform).unwrap();
    }

    /// The next response; requests of the platform that come before it wait.
    pub(crate) fn response(&self) -> Message {
        loop {
            let message = self.receive();
            if !message.is_request() {
                return message;
            }
            self.requests.borrow_mut().push_back(message);
        }
    }

    pub(crate) fn receive(&self) -> Message {
        self.receive_within(PATIENCE).unwrap_or_else(|| panic!("{}: nothing arrives", self.id))
    }

    /// No response arrives.
    pub(crate) fn expect_no_response(&self) {
        while let Some(message) = self.receive_within(SILENCE) {
            assert!(message.is_request(), "{}: {message:?} arrives", self.id);
        }
    }

    fn receive_within(&self, time: Duration) -> Option<Message> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut buffer = vec![0; 65_536];
        let length = loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{}: {error}", self.id),
            }
        };
        buffer.truncate(length);
        match parse_datagram(&Bytes::from(buffer), &Limits::default()).unwrap() {
            Datagram::Message(message) => Some(*message),
            Datagram::KeepAlive => panic!("{}: an empty datagram arrives", self.id),
        }
    }
}

/// What a MESSAGE of the platform asks, and its number.
pub(crate) fn asked(message: &Message) -> (String, u32) {
    let read = control::gb28181::manscdp::Message::parse(&message.body).unwrap();
    (read.command, read.number)
}
