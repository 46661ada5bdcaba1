//! Random and mutated bytes: nothing panics, and what is accepted comes back the same.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::{Datagram, Limits, Message, StreamDecoder, parse_datagram};
use super::{crlf, request};

/// Reads every typed value; only that it returns matters.
fn read_all(message: &Message) {
    let _ = (message.vias(), message.from(), message.to(), message.contacts(), message.contact());
    let _ = (message.routes(), message.record_routes(), message.session_expires(), message.min_se());
    let _ = (message.content_type(), message.content_length(), message.max_forwards(), message.expires());
    for name in super::super::HeaderName::ALL {
        let _ = (message.auth_params(*name), message.headers.elements(*name), message.lists(*name, "x"));
    }
    for header in message.headers.iter() {
        let _ = (header.value(), header.text());
    }
}

fn check(bytes: &Bytes) -> Result<(), TestCaseError> {
    match parse_datagram(bytes, &Limits::default()) {
        Ok(Datagram::Message(message)) => {
            read_all(&message);
            let written = message.to_bytes();
            let again = parse_datagram(&written, &Limits::default());
            prop_assert_eq!(again, Ok(Datagram::Message(message)));
        }
        Ok(Datagram::KeepAlive) => {}
        Err(error) => {
            if let Some(answer) = error.answer {
                read_all(&answer);
                let written = answer.to_bytes();
                prop_assert!(!written.is_empty());
            }
        }
    }
    Ok(())
}

fn seed() -> Bytes {
    crlf(&request(
        "Via: SIP / 2.0 / TCP [2001:db8::1]:5060 ;received=192.0.2.3, SIP/2.0/UDP h;branch=z9hG4bK2\nRoute: <sip:p;lr>\n\
         Contact: \"A \\\" B, <x>\" <sip:u:p@h:1;a=b?c=d>;expires=60;q=0.5, tel:+1;x\nSession-Expires: 90;refresher=uac\n\
         Authorization: Digest username=\"a, b\", realm=\"r\", qop=auth, nc=00000001\nSubject: one\n two\nl: 4\n\nbody",
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes.into())?;
    }

    /// Bytes changed, removed and repeated in a message that has something of everything.
    #[test]
    fn mutated_messages_never_panic_and_accepted_ones_round_trip(
        changes in proptest::collection::vec((any::<u16>(), 0u8..4, any::<u8>()), 1..12),
    ) {
        const TELLING: &[u8] = b"\r\n\0 :;,<>\"\\@/[]=%*\xff09";
        let mut bytes = seed().to_vec();
        for (at, kind, value) in changes {
            let at = usize::from(at) % bytes.len();
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] = TELLING[usize::from(value) % TELLING.len()],
                2 => { bytes.drain(at..(at + usize::from(value % 16)).min(bytes.len() - 1).max(at)); }
                _ => bytes.insert(at, TELLING[usize::from(value) % TELLING.len()]),
            }
        }
        check(&bytes.into())?;
    }

    #[test]
    fn random_streams_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..8)) {
        let mut decoder = StreamDecoder::new(Limits::default());
        let mut buffer = BytesMut::from(&seed()[..]);
        'stream: for piece in pieces {
            buffer.extend_from_slice(&piece);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
        }
    }
}
