//! The torture messages of RFC 4475 that concern a parser, shortened where the RFC only repeats itself.

use bytes::Bytes;

use super::super::{Fault, HeaderName, Method, Scheme, StartLine};
use super::{crlf, message, parse, request};

/// Section 3.1.1.1 (wsinv): every liberty with white space that the grammar gives.
#[test]
fn a_short_tortuous_invite() {
    let read = message(
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
o=mhandley 29739 7272939 IN IP4 192.0.2.3
s=-
c=IN IP4 192.0.2.4
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC
",
    );
    assert_eq!(read.to().unwrap().tag().as_deref(), Some("1918181833n"));
    assert_eq!(read.from().unwrap().display_name().as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(read.from().unwrap().tag().as_deref(), Some("98asjd8"));
    assert_eq!(read.max_forwards().unwrap(), Some(68));
    assert_eq!(read.cseq().unwrap().number, 9);
    let branches: Vec<_> = read.vias().unwrap().iter().filter_map(super::super::Via::branch).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    assert_eq!(read.headers.get(HeaderName::Subject).unwrap().value(), "");
    assert_eq!(
        read.headers.other("newfangledheader").unwrap().value(),
        "newfangled value continued newfangled value"
    );
    assert!(read.routes().unwrap()[0].uri.params().has("lr"));
    assert_eq!(read.contact().unwrap().preference(), 330);
    assert_eq!(read.body.len(), 150);
}

/// Section 3.1.1.2 (intmeth): every byte that a token may have.
#[test]
fn a_wide_range_of_valid_characters() {
    let text = request("\n")
        .replace("OPTIONS sip:bob@biloxi.example", "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com")
        .replace("1 OPTIONS", "1 !interesting-Method0123456789_*+`.%indeed'~")
        .replace("To: <sip:bob@biloxi.example>", "To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)@example.com>");
    let read = message(&text);
    assert_eq!(read.method().unwrap().to_string(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(read.request_uri().unwrap().user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(read.to_bytes(), crlf(&text));
}

/// Sections 3.1.1.3 and 3.1.1.4 (esc01, escnull): escapes stay escapes.
#[test]
fn escapes_are_compared_unescaped_and_sent_escaped() {
    let read = message(
        &request("Contact: <sip:%6fptions-%00%00@h>\n\n")
            .replace("bob@biloxi.example SIP", "sips%3Auser%40example.com@example.net SIP"),
    );
    assert_eq!(read.request_uri().unwrap().user_unescaped().as_deref(), Some("sips:user@example.com"));
    assert_eq!(read.contact().unwrap().uri.user_unescaped().as_deref(), Some("options-\0\0"));
}

/// Section 3.1.1.6 (lwsdisp): no space between display name and bracket.
#[test]
fn a_display_name_may_touch_its_bracket() {
    let read = message(&request("\n").replace("From: <", "From: caller<"));
    assert_eq!(read.from().unwrap().display_name().as_deref(), Some("caller"));
}

/// Section 3.1.1.7 (longreq): long values.
#[test]
fn long_values_are_values() {
    let long = "x".repeat(8000);
    let read = message(&request(&format!("X-Long: {long}\n\n")).replace(";tag=1", &format!(";tag={long}")));
    assert_eq!(read.from().unwrap().tag().unwrap(), long);
}

/// Section 3.1.1.8 (dblreq): what follows the body of a datagram is not of the message.
#[test]
fn a_datagram_holds_one_message() {
    let read = message(&request("Content-Length: 0\n\nINVITE sip:joe@example.com SIP/2.0\n"));
    assert!(read.body.is_empty());
}

/// Section 3.1.1.9 (semiuri): a semicolon in the user part is no parameter.
#[test]
fn a_semicolon_in_the_user_part_is_no_parameter() {
    let read = message(
        &request("\n").replace("sip:bob@biloxi.example SIP", "sip:user;par=u%40example.net@example.com SIP"),
    );
    assert_eq!(read.request_uri().unwrap().user(), Some("user;par=u%40example.net"));
    assert!(read.request_uri().unwrap().params().iter().next().is_none());
}

/// Section 3.1.1.10 (transports): every transport in Via.
#[test]
fn unknown_transports_are_read() {
    let read = message(&request(
        "Via: SIP/2.0/SCTP t2;branch=z9hG4bK2\nVia: SIP/2.0/UNKNOWN t5;branch=z9hG4bK5\n\n",
    ));
    assert_eq!(
        read.vias().unwrap().iter().map(|via| via.transport.to_string()).collect::<Vec<_>>(),
        ["UDP", "SCTP", "UNKNOWN"]
    );
}

/// Sections 3.1.1.12 and 3.1.1.13 (unreason, noreason): the phrase may be anything, or nothing.
#[test]
fn reason_phrases_are_bytes() {
    let start = "OPTIONS sip:bob@biloxi.example SIP/2.0";
    let unusual = message(&request("\n").replace(start, "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять"));
    assert!(
        matches!(&unusual.start, StartLine::Response { code: 200, reason } if reason.starts_with(b"= 2**3"))
    );
    let none = message(&request("\n").replace(start, "SIP/2.0 100 "));
    assert_eq!(none.status_code(), Some(100));
}

fn fault(text: &str) -> (Fault, Option<u16>) {
    let error = parse(&crlf(text)).expect_err(text);
    let code = error.answer.as_ref().and_then(|answer| answer.status_code());
    (error.fault, code)
}

/// Section 3.1.2.1 (badinv01): extra separators in Via. Only a readable top Via says where an answer would go.
#[test]
fn a_broken_via_is_answered_if_the_top_one_is_readable() {
    let (fault, code) = fault(&request("\n").replace(";branch=z9hG4bK1", ";;,;,,"));
    assert_eq!((fault.name(), code), ("header", Some(400)));
    let (fault, code) =
        self::fault(&request("\n").replace("Via: SIP/2.0/UDP 192.0.2.1:5060", "Via: nonsense"));
    assert_eq!((fault.name(), code), ("header", None));
}

/// Section 3.1.2.2 (clerr): Content-Length beyond the datagram.
#[test]
fn a_short_body_is_answered_400() {
    let (fault, code) = fault(&request("Content-Length: 9999\n\nv=0\n"));
    assert_eq!((fault, code), (Fault::BodyTooShort { announced: 9999, found: 5 }, Some(400)));
}

/// Section 3.1.2.3 (ncl): negative Content-Length.
#[test]
fn a_negative_content_length_is_answered_400() {
    let (fault, code) = fault(&request("Content-Length: -999\n\n"));
    assert_eq!((fault.name(), code), ("header", Some(400)));
}

/// Sections 3.1.2.4 and 3.1.2.5 (scalar02, scalarlg): numbers beyond their range.
#[test]
fn numbers_beyond_their_range_are_answered_400() {
    for (good, bad) in [
        ("CSeq: 1 ", "CSeq: 36893488147419103232 "),
        ("Max-Forwards: 70", "Max-Forwards: 300"),
        ("CSeq: 1 ", "CSeq: -1 "),
    ] {
        assert_eq!(fault(&request("\n").replace(good, bad)).1, Some(400), "{bad}");
    }
}

/// Section 3.1.2.6 (quotbal): a quote that is never closed.
#[test]
fn an_open_quote_is_answered_400() {
    let (fault, code) = fault(&request("\n").replace("To: <", "To: \"Mr. J. User <"));
    assert_eq!((fault.name(), code), ("header", Some(400)));
}

/// Sections 3.1.2.7 to 3.1.2.9 (ltgtruri, lwsruri, lwsstart): brackets and spaces in the request line.
#[test]
fn brackets_and_spaces_in_the_request_line_are_answered_400() {
    for line in [
        "OPTIONS <sip:user@example.com> SIP/2.0",
        "OPTIONS sip:user@example.com; lr SIP/2.0",
        "OPTIONS  sip:user@example.com  SIP/2.0",
        "OPTIONS sip:user@example.com SIP/2.0 ",
    ] {
        let (fault, code) = fault(&request("\n").replace("OPTIONS sip:bob@biloxi.example SIP/2.0", line));
        assert_eq!(fault.name(), "start_line", "{line}");
        assert!(code.is_none() || code == Some(400), "{line}");
    }
    assert_eq!(fault(&request("\n").replace("<sip:bob", "<sip:b b")).1, Some(400));
}

/// Section 3.1.2.16 (badvers): another version.
#[test]
fn another_version_is_answered_505() {
    let (fault, code) = fault(&request("\n").replace("biloxi.example SIP/2.0", "biloxi.example SIP/7.0"));
    assert_eq!((fault, code), (Fault::Version { found: "SIP/7.0".into() }, Some(505)));
}

/// Sections 3.1.2.17 and 3.1.2.18 (mismatch01, mismatch02): CSeq names another method.
#[test]
fn a_method_that_cseq_does_not_name_is_answered_400() {
    let (fault, code) = fault(&request("\n").replace("1 OPTIONS", "1 INVITE"));
    assert_eq!(fault, Fault::MethodMismatch { cseq: Method::INVITE, request: Method::OPTIONS });
    assert_eq!(code, Some(400));
}

/// Section 3.1.2.19 (bigcode): a status code out of range is dropped.
#[test]
fn a_status_code_out_of_range_is_dropped() {
    for line in
        ["SIP/2.0 4294967301 better not break the receiver", "SIP/2.0 700 x", "SIP/2.0 099 x", "SIP/2.0 20 x"]
    {
        let (fault, code) = fault(&request("\n").replace("OPTIONS sip:bob@biloxi.example SIP/2.0", line));
        assert_eq!((fault.name(), code), ("start_line", None), "{line}");
    }
}

/// Section 3.3.1 (insuf): required fields are absent.
#[test]
fn a_request_without_its_fields_is_dropped() {
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let (fault, code) = fault(&request("\n").replace(&format!("\n{name}:"), "\nX-Other:"));
        assert_eq!((fault.to_string(), code), (format!("Missing {name} header field"), None));
    }
}

/// Sections 3.3.2 to 3.3.4 (unkscm, novelsc, unksm2): schemes are the caller's to judge.
#[test]
fn unknown_schemes_are_read() {
    for uri in ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002"] {
        let read = message(&request("\n").replace("sip:bob@biloxi.example SIP", &format!("{uri} SIP")));
        assert_eq!(read.request_uri().unwrap().scheme(), Scheme::Other);
    }
}

/// Section 3.3.8 (multi01) and 3.3.9 (mcl01): fields that may occur once.
#[test]
fn conflicting_content_lengths_are_answered_400() {
    let (fault, code) = fault(&request("Content-Length: 13\nContent-Length: 5\n\nThere's no way\n"));
    assert_eq!((fault.name(), code), ("header", Some(400)));
}

/// Section 3.1.1.11 and 3.3.15 (mpart01, zeromf) in spirit: a body is bytes.
#[test]
fn a_body_is_bytes() {
    let mut bytes =
        crlf(&request("Max-Forwards: 070\nl: 256\n\n").replace("Max-Forwards: 70\n", "")).to_vec();
    bytes.extend(0..=255u8);
    let bytes = Bytes::from(bytes);
    let read = parse(&bytes).unwrap();
    assert_eq!(read.body.len(), 256);
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn an_ack_and_a_response_with_a_fault_are_never_answered() {
    let ack = request("Content-Length: x\n\n").replace("OPTIONS", "ACK");
    assert_eq!(fault(&ack).1, None);
    let response =
        request("Content-Length: x\n\n").replace("OPTIONS sip:bob@biloxi.example SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(fault(&response).1, None);
}
