//! A datagram is read or refused; what is read is written so that it is read the same again.
#![no_main]

use bytes::Bytes;
use control::sip::message::{Datagram, HeaderName, Limits, Message, parse_datagram};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    match parse_datagram(&Bytes::copy_from_slice(data), &limits) {
        Ok(Datagram::Message(message)) => {
            read(&message);
            assert_eq!(parse_datagram(&message.to_bytes(), &limits), Ok(Datagram::Message(message)));
        }
        Ok(Datagram::KeepAlive) => {}
        Err(error) => {
            if let Some(answer) = error.answer {
                read(&answer);
                let _ = answer.to_bytes();
            }
        }
    }
});

/// Every typed value; only that it returns matters.
fn read(message: &Message) {
    let _ = (message.vias(), message.from(), message.to(), message.contacts(), message.routes());
    let _ = (message.record_routes(), message.session_expires(), message.min_se(), message.content_type());
    for name in HeaderName::ALL {
        let _ = (message.auth_params(*name), message.lists(*name, "x"));
    }
}
