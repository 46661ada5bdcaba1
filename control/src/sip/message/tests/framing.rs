//! Where messages begin and end, in datagrams and in streams.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::{Datagram, Fault, Limits, StreamDecoder, StreamItem, parse_datagram};
use super::{ParseError, crlf, parse, request};

fn decode(pieces: &[&[u8]], limits: Limits) -> Result<Vec<StreamItem>, ParseError> {
    let mut decoder = StreamDecoder::new(limits);
    let mut buffer = BytesMut::new();
    let mut items = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(item) = decoder.decode(&mut buffer)? {
            items.push(item);
        }
    }
    Ok(items)
}

fn decode_whole(bytes: &[u8]) -> Result<Vec<StreamItem>, ParseError> {
    decode(&[bytes], Limits::default())
}

#[test]
fn datagrams_of_line_ends_and_nuls_are_keep_alives() {
    for bytes in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\n"] {
        let read = parse_datagram(&Bytes::from_static(bytes), &Limits::default());
        assert_eq!(read, Ok(Datagram::KeepAlive));
    }
}

#[test]
fn leading_line_ends_are_skipped() {
    let text = request("\n");
    assert_eq!(parse(&crlf(&format!("\n\n{text}"))), parse(&crlf(&text)));
}

#[test]
fn without_content_length_the_body_is_the_rest_of_the_datagram() {
    assert_eq!(parse(&crlf(&request("\nhello"))).unwrap().body, "hello");
    assert_eq!(parse(&crlf(&request("l: 2\n\nhello"))).unwrap().body, "he");
}

#[test]
fn a_head_without_its_end_is_answered_400() {
    let error = parse(&crlf(&request(""))).unwrap_err();
    assert_eq!(error.fault, Fault::Truncated);
    assert_eq!(error.answer.unwrap().status_code(), Some(400));
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let limits = Limits { head: 1000, headers: 8, body: 4 };
    let fault = |text: &str| {
        let error = parse_datagram(&crlf(text), &limits).unwrap_err();
        (error.fault.name(), error.answer.and_then(|answer| answer.status_code()))
    };
    assert_eq!(fault(&request(&format!("X: {}\n\n", "x".repeat(1000)))), ("head_too_large", None));
    assert_eq!(fault(&request("A: 1\nB: 2\nC: 3\n\n")), ("too_many_headers", Some(513)));
    assert_eq!(fault(&request("\nhello")), ("body_too_large", Some(513)));
    let stream = |text: &str| decode(&[&crlf(text)], limits).unwrap_err().fault.name();
    assert_eq!(stream(&format!("X: {}", "x".repeat(1000))), "head_too_large");
    assert_eq!(stream(&request("A: 1\nB: 2\nC: 3\n\n")), "too_many_headers");
    assert_eq!(stream(&request("l: 5\n\nhello")), "body_too_large");
}

#[test]
fn a_stream_is_cut_at_content_length() {
    let bytes = crlf(&format!("{}{}", request("l: 5\n\nhello"), request("l: 0\n\n")));
    let items = decode_whole(&bytes).unwrap();
    let bodies: Vec<_> = items
        .iter()
        .map(|item| match item {
            StreamItem::Message(message) => message.body.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, ["hello", ""]);
}

#[test]
fn a_double_line_end_between_messages_is_a_ping() {
    let bytes = crlf(&format!("\n\n{}\n{}\n\n", request("l: 0\n\n"), request("l: 0\n\n")));
    let items = decode_whole(&bytes).unwrap();
    let pings: Vec<bool> = items.iter().map(|item| *item == StreamItem::Ping).collect();
    assert_eq!(pings, [true, false, false, true]);
}

#[test]
fn a_faulty_message_with_a_known_end_does_not_end_the_stream() {
    let faulty = request("l: 3\n\nabc").replace("1 OPTIONS", "1 INVITE");
    let items = decode_whole(&crlf(&format!("{faulty}{}", request("l: 0\n\n")))).unwrap();
    assert!(
        matches!(&items[..], [StreamItem::Faulty(error), StreamItem::Message(_)] if error.answer.is_some())
    );
}

#[test]
fn a_stream_whose_next_message_cannot_be_found_ends() {
    for (extra, name) in [
        ("Content-Type: a/b\n\n", "no_length_on_stream"),
        ("l: x\n\n", "header"),
        ("l: 1\nContent-Length: 2\n\nab", "header"),
    ] {
        let error = decode_whole(&crlf(&request(extra))).unwrap_err();
        assert_eq!(error.fault.name(), name);
        assert_eq!(error.answer.unwrap().status_code(), Some(400));
    }
    assert_eq!(decode_whole(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().fault.name(), "start_line");
}

proptest! {
    /// However the bytes arrive, the same messages come out.
    #[test]
    fn the_cuts_of_a_stream_do_not_matter(cuts in proptest::collection::vec(0usize..2000, 0..40)) {
        let faulty = request("l: 3\n\nabc").replace("1 OPTIONS", "1 INVITE");
        let text = format!(
            "\n\n{}\n{faulty}\n\n{}\n",
            request("Subject: a\n b\nl: 9\n\n\nhello\n\n"),
            request("Content-Length: 0\n\n"),
        );
        let bytes = crlf(&text);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&pieces, Limits::default()), decode_whole(&bytes));
    }
}
