//! What devices send, pitfall by pitfall, and what strangers read of what we send.

use proptest::prelude::*;

use super::*;
use crate::gb28181::charset::Charset;
use crate::gb28181::ptz::PtzCommand;
use crate::gb28181::time::LocalTime;
use crate::gb28181::version::Version;

fn read(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn catalog(text: &str) -> CatalogPart {
    match read(text).body {
        Body::Catalog(part) => part,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keepalive_names_the_device_its_number_and_its_faulty_parts() {
    let message = read(
        "<?xml version=\"1.0\" encoding=\"GB2312\"?>\n<Notify><CmdType>Keepalive</CmdType><SN>17</SN>\
         <DeviceID>34020000001320000001</DeviceID><Status>OK</Status>\
         <Info><DeviceID>34020000001340000001</DeviceID><DeviceID>nobody at all</DeviceID></Info></Notify>",
    );
    assert_eq!((message.direction, message.number), (Direction::Notify, 17));
    assert_eq!(message.device, Some(id("34020000001320000001")));
    assert_eq!(message.body, Body::Keepalive { faulty: vec![id("34020000001340000001")] });
}

#[test]
fn catalogue_in_gbk_with_a_stray_ampersand_and_a_garbage_address_is_read() {
    let text = "<?xml version=\"1.0\" encoding=\"GB2312\"?><Response><CmdType>Catalog</CmdType><SN>3001</SN>\
                <DeviceID>34020000001180000001</DeviceID><SumNum>64</SumNum><DeviceList Num=\"2\">\
                <Item><DeviceID>34020000001310000001</DeviceID><Name>大门 A&B 镕</Name><Address>XX</Address>\
                <Parental>0</Parental><ParentID>34020000002160000001/34020000001180000001</ParentID>\
                <Status>ON</Status><Longitude>121.47</Longitude><Latitude>0</Latitude>\
                <Info><PTZType>1</PTZType></Info></Item>\
                <Item><DeviceID></DeviceID><Name>nobody</Name></Item>\
                <Item><DeviceID>34020000001310000002</DeviceID><Status>OFF</Status></Item></DeviceList></Response>";
    let mut body = Charset::Gb18030.encode(text);
    let garbage = body.windows(2).position(|window| window == b"XX").unwrap();
    body[garbage..garbage + 2].copy_from_slice(&[0xff, 0x01]);
    let message = Message::parse(&body).unwrap();
    let Body::Catalog(part) = message.body else { panic!("{message:?}") };
    assert_eq!((part.total, part.items.len(), message.damaged), (Some(64), 2, false));
    let first = &part.items[0];
    assert_eq!((first.name.as_str(), first.on, first.ptz), ("大门 A&B 镕", Some(true), Some(1)));
    assert_eq!((first.longitude, first.latitude), (Some(121.47), None));
    assert_eq!(first.parent, Some(id("34020000001180000001")));
    assert_eq!(part.items[1].on, Some(false));
}

#[test]
fn empty_catalogue_has_a_total_and_no_list() {
    let part = catalog("<Response><CmdType>Catalog</CmdType><SN>1</SN><SumNum>0</SumNum></Response>");
    assert_eq!((part.total, part.items.len()), (Some(0), 0));
}

#[test]
fn items_may_be_written_as_attributes() {
    let part = catalog(
        "<Response><CmdType>Catalog</CmdType><DeviceList><Item DeviceID='34020000001310000001' Name='gate' \
         Status='ON'/></DeviceList></Response>",
    );
    assert_eq!((part.items[0].name.as_str(), part.items[0].on, part.total), ("gate", Some(true), None));
}

#[test]
fn notification_of_changes_names_the_event_and_perhaps_nothing_else() {
    let part = catalog(
        "<Notify><CmdType>Catalog</CmdType><SN>9</SN><SumNum>3</SumNum><DeviceList Num='3'>\
         <Item><DeviceID>1</DeviceID><Event>OFF</Event></Item><Item><DeviceID>2</DeviceID><Event>vlost</Event></Item>\
         <Item><DeviceID>3</DeviceID><Event>ADD</Event><Name>new</Name></Item></DeviceList></Notify>",
    );
    let changes: Vec<_> = part.items.iter().map(|item| item.change).collect();
    assert_eq!(changes, [Some(Change::Off), Some(Change::VideoLost), Some(Change::Added)]);
}

#[test]
fn device_says_what_it_is_and_how_it_is() {
    let info = read(
        "<Response><CmdType>DeviceInfo</CmdType><SN>2</SN><DeviceID>34020000001180000001</DeviceID><Result>OK</Result>\
         <DeviceName>nvr</DeviceName><Manufacturer>M</Manufacturer><Model>X</Model><Firmware>1.2</Firmware>\
         <Channel>16</Channel></Response>",
    );
    let Body::DeviceInfo(info) = info.body else { panic!("{info:?}") };
    assert_eq!((info.name.as_str(), info.firmware.as_str(), info.channels), ("nvr", "1.2", Some(16)));
    let status = read(
        "<Response><CmdType>DeviceStatus</CmdType><SN>3</SN><Result>OK</Result><Online>ONLINE</Online><Status>OK</Status>\
         <Record>OFF</Record><DeviceTime>2026-11-20T20:22:10</DeviceTime><Alarmstatus Num='2'>\
         <Item><DeviceID>1</DeviceID><DutyStatus>ONDUTY</DutyStatus></Item>\
         <Item><DeviceID>2</DeviceID><DutyStatus>ALARM</DutyStatus></Item></Alarmstatus></Response>",
    );
    let Body::DeviceStatus(status) = status.body else { panic!("{status:?}") };
    assert_eq!(
        (status.online, status.works, status.records, status.encodes),
        (Some(true), Some(true), Some(false), None)
    );
    assert_eq!((status.guarded, status.alarmed), (2, 1));
    assert_eq!(status.time, Some(LocalTime(1_795_177_330)));
}

#[test]
fn recordings_that_break_off_are_those_that_are_whole() {
    let message = read(
        "<Response><CmdType>RecordInfo</CmdType><SN>5</SN><DeviceID>34020000001310000001</DeviceID><Name>gate</Name>\
         <SumNum>299</SumNum><RecordList Num='3'><Item><DeviceID>34020000001310000001</DeviceID><Name>a</Name>\
         <FilePath>/a</FilePath><StartTime>2026-11-20T00:00:00</StartTime><EndTime>2026-11-20T00:10:00</EndTime>\
         <Secrecy>0</Secrecy><Type>time</Type><FileSize>1000</FileSize></Item>\
         <Item><StartTime>2026-11-20 00:10:00</StartTime><EndTime>2026-11-20 00:20:00</EndTime></Item>\
         <Item><StartTime>2026-11-20T00:20:00</StartTime><EndT",
    );
    assert!(message.damaged);
    let Body::RecordInfo(part) = message.body else { panic!("{message:?}") };
    assert_eq!((part.total, part.records.len()), (Some(299), 2));
    assert_eq!((part.records[0].path.as_str(), part.records[0].size), ("/a", Some(1_000)));
    assert_eq!(part.records[0].end, part.records[1].start);
}

#[test]
fn alarm_of_the_device_wants_to_be_reset() {
    let alarm = |method: u8| {
        let message = read(&format!(
            "<Notify><CmdType>Alarm</CmdType><SN>8</SN><DeviceID>34020000001340000001</DeviceID>\
             <AlarmPriority>1</AlarmPriority><AlarmMethod>{method}</AlarmMethod><AlarmTime>2026-11-20T20:22:10</AlarmTime>\
             <AlarmDescription>door</AlarmDescription><Info><AlarmType>2</AlarmType></Info></Notify>"
        ));
        match message.body {
            Body::Alarm(alarm) => alarm,
            other => panic!("{other:?}"),
        }
    };
    assert!(alarm(2).wants_reset() && !alarm(5).wants_reset());
    assert_eq!((alarm(5).priority, alarm(5).kind, alarm(5).description.as_str()), (Some(1), Some(2), "door"));
}

#[test]
fn positions_are_read_flat_and_as_a_list() {
    let positions = |text: &str| match read(text).body {
        Body::MobilePosition(positions) => positions,
        other => panic!("{other:?}"),
    };
    let flat = positions(
        "<Notify><CmdType>MobilePosition</CmdType><SN>1</SN><DeviceID>34020000001380000001</DeviceID>\
         <Time>2026-11-20T20:22:10</Time><Longitude>121.5</Longitude><Latitude>31.2</Latitude><Speed>40.5</Speed>\
         <Direction>90</Direction><Altitude>4</Altitude></Notify>",
    );
    assert_eq!(
        (flat.len(), flat[0].longitude, flat[0].latitude, flat[0].speed),
        (1, 121.5, 31.2, Some(40.5))
    );
    let list = positions(
        "<Notify><CmdType>MobilePosition</CmdType><SN>2</SN><DeviceID>34020000001180000001</DeviceID>\
         <Time>2026-11-20T20:22:10</Time><SumNum>2</SumNum><DeviceList Num='2'>\
         <Item><DeviceID>34020000001380000001</DeviceID><CaptureTime>2026-11-20T20:22:09</CaptureTime>\
         <Longitude>121.5</Longitude><Latitude>31.2</Latitude></Item>\
         <Item><DeviceID>34020000001380000002</DeviceID><Longitude>0</Longitude><Latitude>0</Latitude></Item>\
         </DeviceList></Notify>",
    );
    assert_eq!(list.len(), 1, "0, 0 is no position");
    assert_eq!(list[0].device, Some(id("34020000001380000001")));
    assert_eq!(list[0].time, Some(LocalTime(1_795_177_329)));
}

#[test]
fn end_of_a_recording_and_results_are_read() {
    let body = |text: &str| read(text).body;
    let ended = "<Notify><CmdType>MediaStatus</CmdType><SN>1</SN><NotifyType>121</NotifyType></Notify>";
    assert_eq!(body(ended), Body::MediaStatus(Some(121)));
    let result = |text: &str| {
        body(&format!(
            "<Response><CmdType>DeviceControl</CmdType><SN>1</SN><Result>{text}</Result></Response>"
        ))
    };
    assert_eq!((result("OK"), result("ERROR")), (Body::Result(true), Body::Result(false)));
    assert_eq!(body("<Query><CmdType>Catalog</CmdType></Query>"), Body::Other, "a question is no answer");
}

#[test]
fn names_are_read_without_case_and_what_says_nothing_is_refused() {
    assert_eq!(read("<notify><cmdtype>KEEPALIVE</cmdtype><sn>3</sn></notify>").number, 3);
    assert_eq!(Message::parse(b"<Notify><SN>1</SN></Notify>"), Err(ManscdpError::NoCommand));
    let root = Message::parse(b"<html/>").unwrap_err().to_string();
    assert!(root.contains("<html>, expected Query, Control, Notify or Response"), "{root}");
    assert!(matches!(Message::parse(b"hello"), Err(ManscdpError::Xml(_))));
}

#[test]
fn questions_are_those_of_the_standard() {
    let device = id("34020000001180000001");
    let xml = |query: Query| String::from_utf8(query.to_xml(Charset::Gb2312, 3001, &device)).unwrap();
    assert_eq!(
        xml(Query::Catalog),
        "<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Query>\r\n<CmdType>Catalog</CmdType>\r\n<SN>3001</SN>\r\n\
         <DeviceID>34020000001180000001</DeviceID>\r\n</Query>\r\n"
    );
    let (start, end) = (LocalTime(1_795_177_330), LocalTime(1_795_180_930));
    let records = xml(Query::RecordInfo(RecordQuery { start, end, kind: RecordKind::All }));
    assert!(records.contains("<StartTime>2026-11-20T20:22:10</StartTime>"), "{records}");
    assert!(records.contains("<Type>all</Type>"), "{records}");
}

#[test]
fn strangers_read_our_orders() {
    use gb28181_rs::manscdp::parse_device_control;
    let device = id("34020000001310000001");
    for (order, version) in [
        (Control::Ptz(PtzCommand::Stop), Version::V2016),
        (Control::KeyFrame, Version::V2022),
        (Control::Record(true), Version::V2016),
        (Control::Guard(false), Version::V2016),
        (Control::ResetAlarm, Version::V2016),
        (Control::Reboot, Version::V2016),
    ] {
        let text = String::from_utf8(order.to_xml(Charset::Gb2312, version, 7, &device)).unwrap();
        assert!(parse_device_control(&text).is_some(), "{order:?}: {text}");
    }
    let key_frame =
        |version| String::from_utf8(Control::KeyFrame.to_xml(Charset::Gb2312, version, 7, &device)).unwrap();
    assert!(key_frame(Version::V2016).contains("<IFameCmd>Send</IFameCmd>"));
    assert!(key_frame(Version::V2022).contains("<IFrameCmd>Send</IFrameCmd>"));
}

#[test]
fn what_we_write_is_escaped_and_in_the_character_set() {
    let body = alarm_received(Charset::Utf8, 4, &id("34020000001340000001"));
    let message = Message::parse(&body).unwrap();
    assert_eq!((message.command.as_str(), message.body), ("Alarm", Body::Result(true)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn any_damage_to_a_catalogue_leaves_a_message_or_a_refusal(
        at in 0usize..400, length in 0usize..40, with in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut body = Charset::Gb18030.encode(
            "<?xml version=\"1.0\" encoding=\"GB2312\"?><Response><CmdType>Catalog</CmdType><SN>3001</SN>\
             <DeviceID>34020000001180000001</DeviceID><SumNum>2</SumNum><DeviceList Num=\"2\">\
             <Item><DeviceID>34020000001310000001</DeviceID><Name>大门</Name><Status>ON</Status></Item>\
             <Item><DeviceID>34020000001310000002</DeviceID><Name>后门</Name></Item></DeviceList></Response>",
        );
        let start = at.min(body.len());
        let end = (start + length).min(body.len());
        body.splice(start..end, with);
        if let Ok(Message { body: Body::Catalog(part), .. }) = Message::parse(&body) {
            prop_assert!(part.items.len() <= 2);
        }
    }
}
