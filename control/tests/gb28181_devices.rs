//! Devices that register, stay, tell what they are and behave badly: the real binary on loopback, devices whose every message
//! the test writes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::net::SocketAddr;

use control::admin::{CatalogState, Order, Reply, Request};
use control::sip::message::{HeaderName, Message};
use support::device::{Device, PASSWORD, PLATFORM, asked, platform};
use support::gateway::Gateway;

const CAMERA: &str = "34020000001320000001";

struct Field {
    gateway: Gateway,
    address: SocketAddr,
    number: u8,
}

impl Field {
    /// `number` makes the addresses unique among tests that run at the same time.
    fn start(number: u8, keys: &str) -> Self {
        let address = SocketAddr::from(([127, 80, number, 1], 5060));
        Self { gateway: Gateway::start(None, &platform(address, keys)), address, number }
    }

    fn device(&self, id: &str, host: u8, port: u16) -> Device {
        Device::new(id, SocketAddr::from(([127, 80, self.number, host], port)), self.address)
    }

    fn camera(&self) -> Device {
        self.device(CAMERA, 2, 5060)
    }
}

fn version(message: &Message) -> Option<String> {
    message.headers.other("X-GB-Ver")?.text()
}

#[test]
fn every_register_is_challenged_a_refresh_with_a_known_call_id_too() {
    let field = Field::start(1, "");
    let camera = field.camera();
    camera.settle();
    // Same Call-ID, no proof: neither moves the device nor logs it off.
    let thief = field.device(CAMERA, 66, 5060);
    for expires in ["3600", "0"] {
        let contact = format!("Call-ID: {CAMERA}@{}\r\nExpires: {expires}\r\n", camera.address());
        thief.send(&format!(
            "REGISTER sip:{PLATFORM}@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.80.1.66:5060;branch=z9hG4bK{expires}\r\n\
             From: <sip:{CAMERA}@3402000000>;tag=x\r\nTo: <sip:{CAMERA}@3402000000>\r\nCSeq: 99 REGISTER\r\n{contact}\
             Content-Length: 0\r\n\r\n"
        ));
        let answer = thief.response();
        assert_eq!(answer.status_code(), Some(401));
        assert_eq!(version(&answer).as_deref(), Some("3.0"), "every response to REGISTER names our version");
    }
    let device = &field.gateway.devices()[0];
    assert!(device.online && device.address == "udp:127.80.1.2:5060", "{device:?}");
}

#[test]
fn answer_grants_what_was_asked_and_tells_the_time_in_the_form_of_the_standard() {
    let field = Field::start(2, "max_expires = 7200\n");
    let camera = field.camera();
    let contact = format!("Contact: <sip:{CAMERA}@10.0.0.9:5060>");
    let granted = |fields: &str| {
        let answer = camera.register_with(fields, PASSWORD, 0x0a);
        assert_eq!(answer.status_code(), Some(200), "{fields}");
        let date = answer.headers.get(HeaderName::Date).unwrap().text().unwrap();
        assert_eq!((date.len(), date.as_bytes()[10], date.as_bytes()[19]), (23, b'T', b'.'), "{date}");
        assert_eq!(version(&answer).as_deref(), Some("3.0"));
        assert!(answer.headers.get(HeaderName::Contact).is_some() == fields.contains("Contact"), "{fields}");
        answer.expires().unwrap().unwrap().as_secs()
    };
    assert_eq!(granted(&format!("{contact}\r\nExpires: 3600\r\nX-GB-Ver: 2.0\r\n")), 3_600);
    assert_eq!(granted(&format!("{contact};expires=600\r\n")), 600, "it may stand in Contact");
    assert_eq!(granted(&format!("{contact}\r\n")), 7_200, "or nowhere");
    assert_eq!(granted("Expires: 600\r\n"), 600, "or there is no Contact at all");
    assert_eq!(granted(&format!("{contact}\r\nExpires: 999999\r\n")), 7_200);
    assert_eq!(
        camera.register_with(&format!("{contact}\r\nExpires: 5\r\n"), PASSWORD, 1).status_code(),
        Some(423)
    );
    assert_eq!(granted(&format!("{contact}\r\nExpires: 0\r\n")), 0);
    let device = field.gateway.wait_for_device(CAMERA, |device| !device.online);
    assert_eq!(device.expires_in_seconds, None);
}

#[test]
fn time_is_not_told_where_the_site_does_not_want_it() {
    let field = Field::start(3, "date = false\n");
    let answer = field.camera().register_with("Expires: 3600\r\n", PASSWORD, 1);
    assert!(answer.status_code() == Some(200) && answer.headers.get(HeaderName::Date).is_none());
}

#[test]
fn wrong_password_is_refused_banned_after_some_and_does_not_shut_the_neighbour_out() {
    let field = Field::start(4, "[sip.limits]\nauthentication_failures_per_minute = 3\n");
    let (camera, neighbour) = (field.camera(), field.device("34020000001320000002", 2, 5070));
    for _ in 0..3 {
        assert_eq!(camera.register_with("Expires: 3600\r\n", "guessed!", 1).status_code(), Some(403));
    }
    assert_eq!(
        camera.register_with("Expires: 3600\r\n", PASSWORD, 1).status_code(),
        Some(403),
        "for a minute"
    );
    neighbour.register();
    assert!(field.gateway.count("gb28181_registrations_refused") >= 4);
    assert_eq!(field.gateway.devices().len(), 1);
}

#[test]
fn device_is_asked_where_it_really_is_whatever_its_contact_says() {
    let field = Field::start(5, "");
    let camera = field.camera();
    let contact = format!("Contact: <sip:{CAMERA}@10.0.0.9:5080>\r\nExpires: 3600\r\n");
    assert_eq!(camera.register_with(&contact, PASSWORD, 1).status_code(), Some(200));
    let mut questions: Vec<String> = (0..3).map(|_| asked(&camera.take("MESSAGE")).0).collect();
    questions.sort();
    assert_eq!(questions, ["Catalog", "DeviceInfo", "DeviceStatus"]);
}

#[test]
fn keepalive_from_another_port_moves_the_device_and_from_another_address_does_not() {
    let field = Field::start(6, "");
    field.camera().settle();
    let moved = field.device(CAMERA, 2, 5099);
    moved.keepalive();
    let answer = moved.response();
    assert_eq!((answer.status_code(), answer.body.len()), (Some(200), 0));
    field.gateway.wait_for_device(CAMERA, |device| device.address == "udp:127.80.6.2:5099");
    let stranger = field.device(CAMERA, 66, 5060);
    stranger.keepalive();
    stranger.expect_no_response();
    let device = &field.gateway.devices()[0];
    assert_eq!((device.address.as_str(), device.address_changes), ("udp:127.80.6.2:5099", 1));
    assert_eq!(field.gateway.count("gb28181_messages_from_elsewhere"), 1);
}

#[test]
fn roaming_device_may_come_from_anywhere_where_that_is_allowed() {
    let field = Field::start(7, "roaming = true\n");
    field.camera().settle();
    let moved = field.device(CAMERA, 77, 5060);
    moved.keepalive();
    assert_eq!(moved.response().status_code(), Some(200));
    field.gateway.wait_for_device(CAMERA, |device| device.address == "udp:127.80.7.77:5060");
}

#[test]
fn keepalive_of_an_unregistered_device_is_ignored_or_refused_as_configured() {
    let ignoring = Field::start(8, "");
    ignoring.camera().keepalive();
    let refusing = Field::start(9, "unregistered_keepalive = \"refuse\"\n");
    let camera = refusing.camera();
    camera.keepalive();
    assert_eq!(camera.response().status_code(), Some(403));
    ignoring
        .gateway
        .wait_for("the count", |status| status.counters.get("gb28181_keepalives_unregistered") == Some(&1));
    ignoring.camera().expect_no_response();
}

#[test]
fn unregistered_device_that_was_there_before_is_online_again_where_that_is_allowed() {
    let field = Field::start(10, "unregistered_keepalive = \"accept\"\n");
    let camera = field.camera();
    camera.settle();
    assert_eq!(camera.register_with("Expires: 0\r\n", PASSWORD, 1).status_code(), Some(200));
    field.gateway.wait_for_device(CAMERA, |device| !device.online);
    camera.keepalive();
    assert_eq!(camera.response().status_code(), Some(200));
    field.gateway.wait_for_device(CAMERA, |device| device.online && device.expires_in_seconds.is_some());
}

#[test]
fn device_that_falls_silent_is_offline() {
    let field = Field::start(11, "keepalive_seconds = 1\nkeepalive_losses = 1\n");
    field.camera().settle();
    field.gateway.wait_for_device(CAMERA, |device| !device.online);
    assert!(field.gateway.log().contains("no keepalive comes"), "{}", field.gateway.log());
}

#[test]
fn two_devices_with_one_identifier_are_noticed() {
    let field = Field::start(12, "");
    let (one, other) = (field.camera(), field.device(CAMERA, 3, 5060));
    one.settle();
    other.register();
    let device = field.gateway.wait_for_device(CAMERA, |device| device.rival.is_some());
    assert_eq!(
        (device.address.as_str(), device.rival.as_deref()),
        ("udp:127.80.12.3:5060", Some("127.80.12.2"))
    );
    assert_eq!(field.gateway.count("gb28181_duplicate_identifiers"), 1);
    assert!(field.gateway.log().contains("two devices register with one identifier"));
}

#[test]
fn several_devices_behind_one_address_are_told_apart() {
    let field = Field::start(13, "");
    let devices: Vec<Device> = (1..=3)
        .map(|number| field.device(&format!("3402000000132000000{number}"), 2, 5060 + number))
        .collect();
    devices.iter().for_each(Device::settle);
    devices[1].keepalive();
    assert_eq!(devices[1].response().status_code(), Some(200));
    let keepalives: Vec<u64> = field.gateway.devices().iter().map(|device| device.keepalives).collect();
    assert_eq!(keepalives, [0, 1, 0]);
}

#[test]
fn device_with_the_identifier_of_the_platform_is_refused_and_told_why() {
    let field = Field::start(14, "");
    let answer = field.device(PLATFORM, 2, 5060).register_with("Expires: 3600\r\n", PASSWORD, 1);
    let text = String::from_utf8_lossy(&answer.to_bytes()).into_owned();
    assert!(text.starts_with("SIP/2.0 403 this is the platform's identifier"), "{text}");
}

#[test]
fn device_with_an_identifier_that_is_none_and_branches_that_are_none_is_served() {
    let field = Field::start(15, "");
    let odd = field.device("HIK-7", 2, 5060);
    assert_eq!(odd.register_with("Expires: 3600\r\n", PASSWORD, 1).status_code(), Some(200));
    // Every request has the same branch, without a cookie.
    for number in 50..52 {
        let body = "<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>HIK-7</DeviceID></Notify>";
        odd.send(&format!(
            "MESSAGE sip:{PLATFORM}@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=1\r\n\
             From: <sip:HIK-7@3402000000>;tag=a\r\nTo: <sip:{PLATFORM}@3402000000>\r\nCall-ID: same\r\n\
             CSeq: {number} MESSAGE\r\nContent-Length: {}\r\n\r\n{body}",
            odd.address(),
            body.len()
        ));
        assert_eq!(odd.response().status_code(), Some(200));
    }
    let device = field.gateway.wait_for_device("HIK-7", |device| device.keepalives == 2);
    assert_eq!(device.kind, None);
}

#[test]
fn message_whose_from_is_another_identifier_is_the_devices_whose_body_or_address_it_has() {
    let field = Field::start(16, "");
    let camera = field.camera();
    camera.settle();
    let odd = |branch: &str, body: &str| {
        camera.send(&format!(
            "MESSAGE sip:{PLATFORM}@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{branch}\r\n\
             From: <sip:34020000009990000099@3402000000>;tag=a\r\nTo: <sip:{PLATFORM}@3402000000>\r\nCall-ID: {branch}\r\n\
             CSeq: 1 MESSAGE\r\nContent-Length: {}\r\n\r\n{body}",
            camera.address(),
            body.len()
        ));
        camera.response().status_code()
    };
    let notify = |id: &str| format!("<Notify><CmdType>Keepalive</CmdType><SN>1</SN>{id}</Notify>");
    assert_eq!(odd("one", &notify(&format!("<DeviceID>{CAMERA}</DeviceID>"))), Some(200));
    assert_eq!(odd("two", &notify("")), Some(200));
    field.gateway.wait_for_device(CAMERA, |device| device.keepalives == 2);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason_and_strangers_are_told_to_register() {
    let field = Field::start(17, "");
    let camera = field.camera();
    camera.settle();
    camera.tell("no XML at all");
    let text = String::from_utf8_lossy(&camera.response().to_bytes()).into_owned();
    assert!(text.starts_with("SIP/2.0 400 the body is no XML"), "{text}");
    let stranger = field.device("34020000001320000066", 66, 5060);
    stranger.tell("<Response><CmdType>Catalog</CmdType><SN>1</SN><SumNum>0</SumNum></Response>");
    assert_eq!(stranger.response().status_code(), Some(403));
    stranger.request("SUBSCRIBE", "Event: presence\r\n", "");
    let answer = stranger.response();
    assert!(answer.status_code() == Some(405) && answer.headers.get(HeaderName::Allow).is_some());
}

#[test]
fn device_that_registers_all_the_time_is_told_to_wait() {
    let field = Field::start(18, "registers_per_minute = 4\n");
    let camera = field.camera();
    camera.register();
    let statuses: Vec<_> = (0..4)
        .map(|_| {
            camera.request("REGISTER", "Expires: 3600\r\n", "");
            camera.response().status_code().unwrap()
        })
        .collect();
    assert_eq!(statuses, [401, 401, 503, 503]);
    field.device("34020000001320000002", 2, 5070).register();
}

#[test]
fn catalogue_in_parts_and_in_the_devices_own_character_set_becomes_channels() {
    let field = Field::start(19, "");
    let camera = field.camera();
    camera.register();
    let mut number = 0;
    while number == 0 {
        let question = camera.take("MESSAGE");
        if asked(&question).0 == "Catalog" {
            number = asked(&question).1;
        }
    }
    for (channel, name) in [(2, "B&B"), (1, "gate"), (2, "B&B")] {
        camera.tell(&format!(
            "<?xml version=\"1.0\" encoding=\"GB2312\"?><Response><CmdType>Catalog</CmdType><SN>{number}</SN>\
             <DeviceID>{CAMERA}</DeviceID><SumNum>2</SumNum><DeviceList Num=\"1\">\
             <Item><DeviceID>3402000000131000000{channel}</DeviceID><Name>{name}</Name><Status>ON</Status>\
             <ParentID>{CAMERA}</ParentID></Item></DeviceList></Response>"
        ));
        assert_eq!(camera.response().status_code(), Some(200));
    }
    field.gateway.wait_for_device(CAMERA, |device| device.catalog == CatalogState::Complete);
    let channels = field.gateway.channels(CAMERA);
    assert_eq!((channels.len(), channels[1].name.as_str(), channels[1].on), (2, "B&B", Some(true)));
    let unknown = Request::Channels { device: "34020000001320000099".parse().unwrap() };
    let Reply::NoSuchDevice { message } = field.gateway.ask(&unknown) else {
        panic!("there is such a device")
    };
    assert!(message.contains("34020000001320000099") && message.contains("culvert devices"), "{message}");
}

#[test]
fn only_listed_devices_may_register_where_there_is_no_shared_password_and_each_by_its_algorithm() {
    let listen = SocketAddr::from(([127, 80, 20, 1], 5060));
    let gateway = Gateway::start(
        None,
        &format!(
            "[sip]\nlisten = [\"udp:{listen}\"]\nrealm = \"culvert.example\"\n[gb28181]\nplatform = \"{PLATFORM}\"\n\
             [[gb28181.device]]\nid = \"{CAMERA}\"\npassword = \"{PASSWORD}\"\nalgorithms = [\"SM3\"]\n"
        ),
    );
    let device = |id: &str, host: u8| Device::new(id, SocketAddr::from(([127, 80, 20, host], 5060)), listen);
    let other = device("34020000001320000002", 3);
    assert_eq!(other.register_with("Expires: 3600\r\n", PASSWORD, 1).status_code(), Some(403));
    let camera = device(CAMERA, 2);
    camera.request("REGISTER", "Expires: 3600\r\n", "");
    let challenge = camera.response();
    let algorithm = challenge.auth_params(HeaderName::WwwAuthenticate).unwrap()[0].value("algorithm");
    assert_eq!(algorithm.as_deref(), Some("SM3"));
    let proof = camera.authorization(&challenge, PASSWORD, 1);
    camera.request("REGISTER", &format!("Expires: 3600\r\n{proof}"), "");
    assert_eq!(camera.response().status_code(), Some(200));
    assert!(gateway.devices()[0].online);
}

/// Somebody orders the camera to do something; the answer is to be awaited.
fn order(field: &Field, request: Request) -> std::thread::JoinHandle<Reply> {
    let socket = field.gateway.socket();
    std::thread::spawn(move || control::admin::ask(&socket, &request).unwrap())
}

#[test]
fn order_that_devices_answer_is_done_when_they_say_so_and_not_when_they_say_no() {
    let field = Field::start(21, "");
    let camera = field.camera();
    camera.settle();
    for (result, is_done) in [("OK", true), ("ERROR", false)] {
        let channel = CAMERA.parse().unwrap();
        let asked = order(&field, Request::Control { device: None, channel, order: Order::Record });
        let (what, number) = asked_of(&camera.take("MESSAGE"), "<RecordCmd>Record</RecordCmd>");
        camera.tell(&format!(
            "<Response><CmdType>{what}</CmdType><SN>{number}</SN><DeviceID>{CAMERA}</DeviceID><Result>{result}</Result>\
             </Response>"
        ));
        assert_eq!(camera.response().status_code(), Some(200));
        let reply = asked.join().unwrap();
        let said =
            if is_done { matches!(reply, Reply::Done) } else { matches!(reply, Reply::NoAnswer { .. }) };
        assert!(said, "{result}: {reply:?}");
    }
}

#[test]
fn order_that_devices_do_not_answer_is_done_when_it_was_received_and_a_refusal_is_told() {
    let field = Field::start(22, "");
    let camera = field.camera();
    camera.settle();
    let channel = CAMERA.parse().unwrap();
    let reboot = Request::Control { device: None, channel, order: Order::Reboot };
    let asked = order(&field, reboot.clone());
    asked_of(&camera.take("MESSAGE"), "<TeleBoot>Boot</TeleBoot>");
    assert!(matches!(asked.join().unwrap(), Reply::Done));
    let asked = order(&field, reboot.clone());
    camera.respond(&camera.receive_request("MESSAGE"), 488);
    assert!(matches!(asked.join().unwrap(), Reply::NoAnswer { message } if message.contains("488")));
    // A device that takes it and then says nothing.
    let asked = order(&field, Request::Control { device: None, channel, order: Order::Guard });
    asked_of(&camera.take("MESSAGE"), "<GuardCmd>SetGuard</GuardCmd>");
    let reply = asked.join().unwrap();
    assert!(matches!(&reply, Reply::NoAnswer { message } if message.contains("within 8 s")), "{reply:?}");
    let nobody = Request::Control { device: None, channel: "1".parse().unwrap(), order: Order::Guard };
    assert!(matches!(field.gateway.ask(&nobody), Reply::NoSuchChannel { .. }));
}

/// What an order says must have these words; its command and number.
fn asked_of(message: &Message, words: &str) -> (String, u32) {
    let text = String::from_utf8(message.body.to_vec()).unwrap();
    assert!(text.contains(words), "{text}");
    asked(message)
}
