use super::super::message::{Datagram, Limits, parse_datagram};
use super::*;

fn message(text: &str) -> Message {
    let bytes = Bytes::from(text.replace('\n', "\r\n"));
    match parse_datagram(&bytes, &Limits::default()).unwrap() {
        Datagram::Message(message) => *message,
        Datagram::KeepAlive => panic!("not a message"),
    }
}

fn flow() -> Flow {
    Flow::Udp { local: "192.0.2.1:5060".parse().unwrap(), remote: "192.0.2.7:40001".parse().unwrap() }
}

fn invite() -> Message {
    message(
        "INVITE sip:camera@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\nMax-Forwards: 70\n\
         Record-Route: <sip:p1;lr>, <sip:p2;lr>\nFrom: \"V\" <sip:viewer@192.0.2.1>;tag=v\nTo: <sip:camera@192.0.2.1>\n\
         Call-ID: abc\nCSeq: 7 INVITE\nContact: <sip:viewer@10.0.0.9:5070>\nContent-Length: 0\n\n",
    )
}

fn in_dialog(method: &str, cseq: u32, call_id: &str, tags: (&str, &str)) -> Message {
    message(&format!(
        "{method} sip:camera@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK{cseq}\nMax-Forwards: 70\n\
         From: <sip:viewer@192.0.2.1>;tag={}\nTo: <sip:camera@192.0.2.1>;tag={}\nCall-ID: {call_id}\n\
         CSeq: {cseq} {method}\nContent-Length: 0\n\n",
        tags.0, tags.1
    ))
}

fn text(message: &Message, name: HeaderName) -> Vec<String> {
    message.headers.all(name).map(|header| header.text().unwrap()).collect()
}

#[test]
fn request_of_the_answering_side_goes_to_the_contact_by_the_recorded_route_in_order() {
    let mut dialog = Dialog::answered(&invite(), flow(), "ours", b"<sip:camera@192.0.2.1:5060>").unwrap();
    let bye = dialog.request(Method::BYE, "z9hG4bKx");
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:viewer@10.0.0.9:5070");
    assert_eq!(text(&bye, HeaderName::Route), ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!(text(&bye, HeaderName::From), ["<sip:camera@192.0.2.1>;tag=ours"]);
    assert_eq!(text(&bye, HeaderName::To), ["\"V\" <sip:viewer@192.0.2.1>;tag=v"]);
    assert_eq!(text(&bye, HeaderName::CSeq), ["1 BYE"]);
}

#[test]
fn calling_side_takes_the_recorded_route_in_reverse_and_acknowledges_with_the_sequence_of_its_invite() {
    let response = message(
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\n\
         From: \"V\" <sip:viewer@192.0.2.1>;tag=v\nTo: <sip:camera@192.0.2.1>;tag=c\nCall-ID: abc\nCSeq: 7 INVITE\n\
         Contact: <sip:camera@10.0.0.8>\nContent-Length: 0\n\n",
    );
    let mut dialog = Dialog::established(&invite(), &response, flow()).unwrap();
    let ack = dialog.ack(7, "z9hG4bKy");
    assert_eq!(text(&ack, HeaderName::CSeq), ["7 ACK"]);
    assert_eq!(text(&ack, HeaderName::Route), ["<sip:p2;lr>", "<sip:p1;lr>"]);
    assert_eq!(text(&dialog.request(Method::BYE, "z9hG4bKz"), HeaderName::CSeq), ["8 BYE"]);
}

#[test]
fn request_of_another_dialog_or_out_of_order_is_refused() {
    let mut dialog = Dialog::answered(&invite(), flow(), "ours", b"<sip:x@y>").unwrap();
    let ours = ("v", "ours");
    assert_eq!(dialog.receive(flow(), &in_dialog("BYE", 8, "abcd", ours)), Err(Misfit::OtherDialog));
    assert_eq!(dialog.receive(flow(), &in_dialog("BYE", 8, "abc", ("w", "ours"))), Err(Misfit::OtherDialog));
    assert_eq!(dialog.receive(flow(), &in_dialog("BYE", 7, "abc", ours)), Err(Misfit::OutOfOrder));
    assert_eq!(dialog.receive(flow(), &in_dialog("ACK", 7, "abc", ours)), Ok(()));
    assert_eq!(dialog.receive(flow(), &in_dialog("BYE", 9, "abc", ours)), Ok(()));
    assert_eq!(dialog.receive(flow(), &in_dialog("BYE", 9, "abc", ours)), Err(Misfit::OutOfOrder));
}
