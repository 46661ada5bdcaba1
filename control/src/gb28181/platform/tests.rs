//! The platform without sockets and with a clock of the test: what takes minutes, and what takes thousands of devices.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::admin;
use crate::sip::digest::respond;
use crate::sip::message::{AuthParams, Datagram, HeaderName, Limits, Message, Method, parse_datagram};
use crate::sip::transport::Flow;

const PLATFORM: &str = "34020000002000000001";
const PASSWORD: &str = "a password";

struct Field {
    platform: Platform,
    now: Instant,
    next: u64,
}

impl Field {
    fn new(keys: &str) -> Self {
        let text = format!(
            "[sip]\nlisten = [\"udp:192.0.2.1:5060\"]\nrealm = \"culvert.example\"\n\
             [gb28181]\nplatform = \"{PLATFORM}\"\npassword = \"{PASSWORD}\"\n{keys}"
        );
        let config = Arc::new(Config::parse(Path::new("culvert.toml"), &text).unwrap());
        Self { platform: Platform::new(&config).unwrap().unwrap(), now: Instant::now(), next: 0 }
    }

    fn flow(device: u32) -> Flow {
        let [_, a, b, c] = device.to_be_bytes();
        Flow::Udp {
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: SocketAddr::from(([10, a, b, c], 5060)),
        }
    }

    /// Time passes; what is due happens, second by second.
    fn wait(&mut self, seconds: u64) -> Vec<Message> {
        let mut sent = Vec::new();
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.platform.expire(self.now);
            sent.extend(self.sent());
        }
        sent
    }

    fn sent(&mut self) -> Vec<Message> {
        let transmits = self.platform.take_effects().transmits;
        transmits.into_iter().map(|transmit| read(&transmit.bytes)).collect()
    }

    /// A request of a device; what is sent upon it.
    fn request(&mut self, method: &str, flow: Flow, id: &str, fields: &str, body: &str) -> Vec<Message> {
        self.next += 1;
        let (number, remote, length) = (self.next, flow.remote(), body.len());
        let text = format!(
            "{method} sip:{PLATFORM}@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {remote};rport;branch=z9hG4bK{number}\r\n\
             From: <sip:{id}@3402000000>;tag=t{number}\r\nTo: <sip:{id}@3402000000>\r\nCall-ID: c{number}\r\n\
             CSeq: {number} {method}\r\nContact: <sip:{id}@{remote}>\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        assert!(self.platform.message_arrived(self.now, flow, &read(text.as_bytes())), "{text}");
        self.sent()
    }

    /// Registers and returns what the platform sends beside its answer.
    fn register(&mut self, device: u32, id: &str) -> Vec<Message> {
        let flow = Self::flow(device);
        let challenge = self.request("REGISTER", flow, id, "", "").remove(0);
        let authorization = authorization(&challenge, id, PASSWORD);
        let mut sent = self.request("REGISTER", flow, id, &authorization, "");
        assert_eq!(sent.remove(0).status_code(), Some(200));
        sent
    }

    /// A MESSAGE of a device with this body; the status, and what else is sent.
    fn tell(&mut self, device: u32, id: &str, body: &str) -> (u16, Vec<Message>) {
        let mut sent = self.request("MESSAGE", Self::flow(device), id, "", body);
        (sent.remove(0).status_code().unwrap(), sent)
    }

    /// The device takes a MESSAGE of the platform.
    fn take(&mut self, device: u32, message: &Message) -> Vec<Message> {
        let response = Message::response(message, 200).with_to_tag("taken");
        assert!(self.platform.message_arrived(self.now, Self::flow(device), &response));
        self.sent()
    }

    fn device(&self, id: &str) -> admin::Device {
        let devices = self.platform.devices(self.now);
        devices.into_iter().find(|device| device.id.as_str() == id).unwrap()
    }

    fn channels(&self, id: &str) -> Vec<String> {
        let channels = self.platform.channels(id.parse().unwrap()).unwrap();
        channels.into_iter().map(|channel| channel.id.to_string()).collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.platform.counters().get(name).copied().unwrap_or_default()
    }
}

fn read(bytes: &[u8]) -> Message {
    match parse_datagram(&bytes.to_vec().into(), &Limits::default()).unwrap() {
        Datagram::Message(message) => *message,
        Datagram::KeepAlive => panic!("a keepalive"),
    }
}

fn authorization(challenge: &Message, id: &str, password: &str) -> String {
    assert_eq!(challenge.status_code(), Some(401));
    let fields: Vec<AuthParams> = challenge.auth_params(HeaderName::WwwAuthenticate).unwrap();
    let uri = format!("sip:{PLATFORM}@3402000000");
    let answer = respond(&fields[0], &Method::REGISTER, &uri, (id, password), "cnonce", 1).unwrap();
    format!("Authorization: {answer}\r\n")
}

/// What a message of the platform asks, and its number.
fn asks(message: &Message) -> (String, u32) {
    let text = String::from_utf8(message.body.to_vec()).unwrap();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    (element("CmdType"), element("SN").parse().unwrap())
}

fn catalog_question(messages: &[Message]) -> (Message, u32) {
    let found = messages.iter().find(|message| !message.body.is_empty() && asks(message).0 == "Catalog");
    let found = found.unwrap_or_else(|| panic!("no catalogue is asked for: {messages:?}"));
    (found.clone(), asks(found).1)
}

fn catalog_part(number: u32, total: usize, channels: std::ops::Range<usize>) -> String {
    let items: String = channels
        .map(|channel| {
            format!("<Item><DeviceID>{channel:020}</DeviceID><Name>c</Name><Status>ON</Status></Item>")
        })
        .collect();
    format!(
        "<Response><CmdType>Catalog</CmdType><SN>{number}</SN><DeviceID>{NVR}</DeviceID><SumNum>{total}</SumNum>\
         <DeviceList>{items}</DeviceList></Response>"
    )
}

const NVR: &str = "34020000001180000001";

fn keepalive(id: &str) -> String {
    format!(
        "<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>{id}</DeviceID><Status>OK</Status></Notify>"
    )
}

#[test]
fn device_is_offline_after_three_keepalives_that_did_not_come_and_online_with_the_next() {
    let mut field = Field::new("");
    field.register(1, NVR);
    for _ in 0..10 {
        field.wait(60);
        assert_eq!(field.tell(1, NVR, &keepalive(NVR)).0, 200);
    }
    field.wait(179);
    assert!(field.device(NVR).online);
    field.wait(2);
    assert!(!field.device(NVR).online);
    let (status, sent) = field.tell(1, NVR, &keepalive(NVR));
    assert!(status == 200 && field.device(NVR).online);
    assert!(!sent.is_empty(), "what may have changed meanwhile is asked for");
}

#[test]
fn each_device_has_its_own_interval_and_losses() {
    let own =
        "[[gb28181.device]]\nid = \"34020000001320000002\"\nkeepalive_seconds = 10\nkeepalive_losses = 2\n";
    let mut field = Field::new(own);
    field.register(1, NVR);
    field.register(2, "34020000001320000002");
    field.wait(21);
    assert!(field.device(NVR).online && !field.device("34020000001320000002").online);
}

#[test]
fn registration_that_nobody_refreshes_ends() {
    let mut field = Field::new("max_expires = 100\n");
    field.register(1, NVR);
    field.wait(60);
    field.tell(1, NVR, &keepalive(NVR));
    field.wait(41);
    let device = field.device(NVR);
    assert_eq!((device.online, device.expires_in_seconds), (false, None));
    // By the standard there is no answer now, and the device registers.
    let sent = field.request("MESSAGE", Field::flow(1), NVR, "", &keepalive(NVR));
    assert!(sent.is_empty() && field.count("gb28181_keepalives_unregistered") == 1);
    assert_eq!(field.platform.transactions.len(), 0, "nothing is kept of what is not answered");
}

#[test]
fn catalogue_comes_in_any_order_and_twice_and_a_complete_one_takes_away_what_is_gone() {
    let mut field = Field::new("");
    let sent = field.register(1, NVR);
    let (question, number) = catalog_question(&sent);
    field.take(1, &question);
    for part in [40..64, 0..20, 0..20, 10..40] {
        assert_eq!(field.tell(1, NVR, &catalog_part(number, 64, part)).0, 200);
    }
    assert_eq!(field.channels(NVR).len(), 64);
    assert_eq!(field.device(NVR).catalog, admin::CatalogState::Complete);

    let sent = field.wait(3_600);
    assert!(!field.device(NVR).online, "no keepalive came");
    assert!(
        sent.is_empty() || sent.iter().all(|message| message.body.is_empty() || asks(message).0 != "Catalog")
    );
    let (_, sent) = field.tell(1, NVR, &keepalive(NVR));
    let (question, number) = catalog_question(&sent);
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 10, 0..10));
    assert_eq!(field.channels(NVR).len(), 10);
}

#[test]
fn partial_catalogue_is_asked_for_again_takes_nothing_away_and_says_what_is_missing() {
    let mut field = Field::new("keepalive_seconds = 1000\n");
    let (question, number) = catalog_question(&field.register(1, NVR));
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 10, 0..10));

    // The next time, its first part is all that comes, whatever is asked.
    field.platform.refresh_catalog(field.now, NVR.parse().unwrap());
    let mut sent = field.sent();
    for attempt in 0..3 {
        let (question, number) = catalog_question(&sent);
        field.take(1, &question);
        field.tell(1, NVR, &catalog_part(number, 8, 0..3));
        assert_eq!(field.channels(NVR).len(), 10, "attempt {attempt}");
        sent = field.wait(6);
    }
    let state = admin::CatalogState::Partial { received: 3, expected: 8 };
    assert_eq!((field.device(NVR).catalog, field.channels(NVR).len()), (state, 10));
    assert_eq!(field.count("gb28181_questions_repeated"), 2);
}

#[test]
fn parts_that_came_before_a_question_was_repeated_count() {
    let mut field = Field::new("");
    let (question, number) = catalog_question(&field.register(1, NVR));
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 6, 0..3));
    let (question, number) = catalog_question(&field.wait(6));
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 6, 3..6));
    assert_eq!(field.device(NVR).catalog, admin::CatalogState::Complete);
}

#[test]
fn empty_catalogue_is_complete_and_a_total_that_is_too_low_ends_nothing_early() {
    let mut field = Field::new("");
    let (question, number) = catalog_question(&field.register(1, NVR));
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 0, 0..0));
    assert_eq!(field.device(NVR).catalog, admin::CatalogState::Complete);
    // More came than was announced: all are kept.
    field.tell(1, NVR, &catalog_part(number, 2, 0..5));
    assert_eq!((field.channels(NVR).len(), field.count("gb28181_catalog_parts_late")), (5, 1));
}

#[test]
fn notified_changes_are_taken_in() {
    let mut field = Field::new("");
    let (question, number) = catalog_question(&field.register(1, NVR));
    field.take(1, &question);
    field.tell(1, NVR, &catalog_part(number, 2, 0..2));
    let changed = |id: usize, event: &str| {
        format!(
            "<Notify><CmdType>Catalog</CmdType><SN>9</SN><DeviceID>{NVR}</DeviceID><SumNum>1</SumNum><DeviceList>\
             <Item><DeviceID>{id:020}</DeviceID><Event>{event}</Event></Item></DeviceList></Notify>"
        )
    };
    field.tell(1, NVR, &changed(0, "VLOST"));
    field.tell(1, NVR, &changed(1, "DEL"));
    let channels = field.platform.channels(NVR.parse().unwrap()).unwrap();
    assert_eq!((channels.len(), channels[0].on), (1, Some(false)));
    let (_, sent) = field.tell(1, NVR, &changed(7, "ON"));
    catalog_question(&sent);
}

#[test]
fn thousands_of_devices_that_come_back_at_once_are_asked_a_few_at_a_time() {
    let mut field = Field::new("questions = 100\n");
    let mut waiting: Vec<(u32, Message)> = Vec::new();
    for device in 1..=2_000u32 {
        let id = format!("340200000013200{device:05}");
        let sent = field.register(device, &id);
        waiting.extend(
            sent.into_iter().filter(|message| !message.body.is_empty()).map(|message| (device, message)),
        );
    }
    assert_eq!(field.count("gauge_gb28181_devices_online"), 2_000);
    assert_eq!((waiting.len(), field.count("gauge_gb28181_questions")), (100, 6_000));
    // Each answer lets the next one go.
    let mut answered = 0;
    while let Some((device, message)) = waiting.pop() {
        let id = format!("340200000013200{device:05}");
        let (what, number) = asks(&message);
        let sent = field.take(device, &message);
        assert!(sent.is_empty());
        let answer = format!(
            "<Response><CmdType>{what}</CmdType><SN>{number}</SN><DeviceID>{id}</DeviceID><SumNum>0</SumNum></Response>"
        );
        let (status, sent) = field.tell(device, &id, &answer);
        assert_eq!((status, sent.len()), (200, usize::from(answered < 5_900)));
        answered += 1;
        waiting.extend(sent.into_iter().map(|message| {
            let user = message.request_uri().unwrap().user().unwrap().to_owned();
            (user[15..].parse().unwrap(), message)
        }));
    }
    assert_eq!((answered, field.count("gauge_gb28181_questions")), (6_000, 0));
}

#[test]
fn answer_of_another_device_ends_no_question() {
    let mut field = Field::new("");
    let (question, number) = catalog_question(&field.register(1, NVR));
    field.take(1, &question);
    field.register(2, "34020000001180000002");
    field.tell(
        2,
        "34020000001180000002",
        &catalog_part(number, 1, 0..1).replace(NVR, "34020000001180000002"),
    );
    assert_eq!(field.channels(NVR).len(), 0);
    assert_eq!(field.device(NVR).catalog, admin::CatalogState::Unknown);
}
