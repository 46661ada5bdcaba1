//! What devices send, and what other parsers lose: folding, compact names, bare line feeds, GB2312, IPv6, `tel:`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::super::{
    Contacts, HeaderError, HeaderName, Method, Refresher, Scheme, SessionExpires, SipUri, StartLine, Via,
};
use super::{Message, crlf, message, parse, request};

const REGISTER: &str = "REGISTER sip:34020000002000000001@3402000000 SIP/2.0
v: SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK-1
f: <sip:34020000001320000001@3402000000>;tag=a
t: <sip:34020000001320000001@3402000000>
i: r1@10.0.0.9
CSeq: 1 REGISTER
m: <sip:34020000001320000001@10.0.0.9:5060>
Max-Forwards: 70
Expires: 3600
X-GB-Ver: 3.0
l: 0

";

#[test]
fn an_untouched_message_is_written_byte_for_byte() {
    let folded = request("Subject : I know\n  you are there\nX-Odd:  a , b ;c  \nl: 4\n\nabcd");
    for text in [REGISTER, &folded] {
        let bytes = crlf(text);
        assert_eq!(parse(&bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn compact_names_are_the_same_fields() {
    let register = message(REGISTER);
    assert_eq!(register.method(), Some(&Method::REGISTER));
    assert_eq!(register.top_via().unwrap().branch().as_deref(), Some("z9hG4bK-1"));
    assert_eq!(register.from().unwrap().uri.user(), Some("34020000001320000001"));
    assert_eq!(register.call_id().unwrap(), "r1@10.0.0.9");
    assert_eq!(register.cseq().unwrap().to_string(), "1 REGISTER");
    assert_eq!(register.contact().unwrap().uri.port(), Some(5060));
    assert_eq!(register.expires().unwrap(), Some(Duration::from_secs(3600)));
    assert_eq!(register.content_length().unwrap(), Some(0));
    assert_eq!(register.max_forwards().unwrap(), Some(70));
    assert_eq!(register.headers.other("x-gb-ver").unwrap().value(), "3.0");
}

#[test]
fn bare_line_feeds_are_read_and_written_as_crlf() {
    let text = request("Subject: a\n b\n\n");
    let read = parse(&Bytes::from(text.clone())).unwrap();
    assert_eq!(read.headers.get(HeaderName::Subject).unwrap().value(), "a b");
    assert_eq!(read.to_bytes(), crlf(&text));
}

#[test]
fn a_header_field_in_gb2312_changes_nothing_else() {
    let mut bytes = crlf(&request("User-Agent: ")).to_vec();
    bytes.extend_from_slice(b"\xca\xb5\xca\xb1\xff\r\nContent-Length: 3\r\n\r\n\xca\xb5\x00");
    let bytes = Bytes::from(bytes);
    let read = parse(&bytes).unwrap();
    assert_eq!(read.headers.get(HeaderName::UserAgent).unwrap().text(), None);
    assert_eq!(read.body, Bytes::from_static(b"\xca\xb5\x00"));
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn two_vias_on_one_line_are_two_vias() {
    let read = message(&request(
        "Via: SIP/2.0/TCP p2;branch=z9hG4bK2, SIP/2.0/UDP [2001:db8::9]:5061;branch=z9hG4bK3\n\n",
    ));
    let branches: Vec<_> = read.vias().unwrap().iter().filter_map(Via::branch).collect();
    assert_eq!(branches, ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]);
}

#[test]
fn several_contacts_on_a_line_and_the_star_are_read() {
    let read =
        message(&request("Contact: \"a, b\" <sip:x@1.2.3.4>;q=0.5 , <sip:y@h;transport=tcp>;expires=60\n\n"));
    let Contacts::List(list) = read.contacts().unwrap() else { panic!("a list") };
    assert_eq!(list.len(), 2);
    assert_eq!(list[1].uri.params().value("transport").unwrap(), "tcp");
    assert_eq!(list[1].expires(), Some(Duration::from_secs(60)));
    assert_eq!(message(&request("Contact: *\n\n")).contacts().unwrap(), Contacts::Wildcard);
    assert!(message(&request("Contact: *, <sip:a@b>\n\n")).contacts().is_err());
    assert_eq!(message(&request("\n")).contacts().unwrap(), Contacts::List(Vec::new()));
}

#[test]
fn ipv6_tel_and_uri_headers_survive_in_the_request_line() {
    for uri in
        ["sip:bob@[2001:db8::1]:5060", "tel:+861012345678", "sip:bob@h;x=y?h=v", "sip:bob@h;transport=tcp"]
    {
        let text = request("\n").replace("sip:bob@biloxi.example SIP/2.0", &format!("{uri} SIP/2.0"));
        let read = message(&text);
        assert_eq!(read.request_uri().unwrap().as_str(), uri);
        assert_eq!(read.to_bytes(), crlf(&text));
    }
}

#[test]
fn unknown_methods_and_schemes_are_kept_for_the_caller_to_judge() {
    let read = message(&request("\n").replace("OPTIONS", "NEWMETHOD"));
    assert_eq!(read.method(), Some(&Method::Other("NEWMETHOD".into())));
    let read = message(&request("\n").replace("sip:bob@biloxi.example SIP", "nobody:x SIP"));
    assert_eq!(read.request_uri().unwrap().scheme(), Scheme::Other);
}

#[test]
fn a_status_line_may_lack_its_phrase() {
    for (line, reason) in [("SIP/2.0 200", ""), ("SIP/2.0 200 ", ""), ("sip/2.0 200 OK sure", "OK sure")] {
        let text = request("\n").replace("OPTIONS sip:bob@biloxi.example SIP/2.0", line);
        let expected = StartLine::Response { code: 200, reason: Bytes::from_static(reason.as_bytes()) };
        assert_eq!(message(&text).start, expected, "{line}");
    }
}

#[test]
fn the_session_timer_fields_are_read() {
    let read =
        message(&request("x: 1800 ;refresher=UAS\nMin-SE: 90;x=y\nk: timer, 100rel\nRequire: Timer\n\n"));
    let expected = SessionExpires { interval: Duration::from_secs(1800), refresher: Some(Refresher::Uas) };
    assert_eq!(read.session_expires().unwrap(), Some(expected));
    assert_eq!(expected.to_string(), "1800;refresher=uas");
    assert_eq!(read.min_se().unwrap(), Some(Duration::from_secs(90)));
    assert!(read.lists(HeaderName::Supported, "timer"));
    assert!(read.lists(HeaderName::Require, "timer"));
    assert!(!read.lists(HeaderName::Supported, "path"));
}

#[test]
fn content_type_ignores_case_and_keeps_parameters() {
    let read = message(&request("c: Application/SDP ; charset=gb2312\n\n"));
    let content_type = read.content_type().unwrap().unwrap();
    assert_eq!(content_type.essence, "application/sdp");
    assert_eq!(content_type.params.value("charset").unwrap(), "gb2312");
}

#[test]
fn a_field_that_may_occur_once_may_be_repeated_only_with_the_same_value() {
    let same = message(&request("Content-Length: 0\nl: 0\n\n"));
    assert_eq!(same.content_length().unwrap(), Some(0));
    let error = parse(&crlf(&request("Call-ID: other\n\n"))).unwrap_err();
    assert_eq!(error.to_string(), HeaderError::Repeated { name: HeaderName::CallId, count: 2 }.to_string());
}

#[test]
fn a_response_copies_what_rfc_3261_says_and_nothing_else() {
    let invite =
        message(&request("Record-Route: <sip:p1;lr>, <sip:p2;lr>\nSubject: x\nTimestamp: 54\nl: 2\n\nab"));
    let ringing = Message::response(&invite, 180).with_to_tag("ours");
    assert_eq!(
        ringing.to_bytes(),
        crlf(
            "SIP/2.0 180 Ringing\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1\n\
             From: <sip:alice@atlanta.example>;tag=1\nTo: <sip:bob@biloxi.example>;tag=ours\nCall-ID: a@b\n\
             CSeq: 1 OPTIONS\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\nContent-Length: 0\n\n"
        )
    );
    assert_eq!(ringing.clone().with_to_tag("other"), ringing);
    assert!(Message::response(&invite, 100).headers.get(HeaderName::Timestamp).is_some());
}

#[test]
fn a_body_sets_type_and_length() {
    let uri: SipUri = "sip:bob@h".parse().unwrap();
    let mut built = Message::request(Method::MESSAGE, uri).with(HeaderName::MaxForwards, "70");
    built.set_body("text/plain", Bytes::from_static(b"\xff\x00"));
    assert_eq!(
        built.to_bytes(),
        Bytes::from_static(
            b"MESSAGE sip:bob@h SIP/2.0\r\nMax-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\xff\x00"
        )
    );
}

#[test]
fn the_top_via_is_changed_alone() {
    let source: SocketAddr = "198.51.100.7:4444".parse().unwrap();
    let mut read = message(
        &request("\n").replace("branch=z9hG4bK1", "branch=z9hG4bK1, SIP/2.0/UDP next;branch=z9hG4bK2"),
    );
    let mut top = read.top_via().unwrap();
    top.note_source(source);
    read.replace_top_via(&top);
    assert_eq!(read.vias().unwrap()[0].rport(), Some(4444));
    assert_eq!(read.vias().unwrap()[1].branch().as_deref(), Some("z9hG4bK2"));
    read.push_via(&Via::new(super::super::Transport::TCP, source.ip().into(), None, "z9hG4bK0"));
    assert_eq!(read.top_via().unwrap().to_string(), "SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK0;rport");
    read.remove_top_via();
    read.remove_top_via();
    assert_eq!(read.vias().unwrap().len(), 1);
}
