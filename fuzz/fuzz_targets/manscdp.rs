//! A body of a GB/T 28181 device is read, as far as it makes sense, or refused with a text that says why.
#![no_main]

use control::gb28181::charset::{self, Charset};
use control::gb28181::manscdp::{Body, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = charset::decode(data);
    assert!(!Charset::Gb18030.encode(&text).is_empty() || text.is_empty());
    match Message::parse(data) {
        Ok(message) => {
            assert!(!message.command.is_empty());
            match message.body {
                Body::Catalog(part) => assert!(part.items.iter().all(|item| item.id.is_some())),
                Body::MobilePosition(positions) => {
                    assert!(positions.iter().all(|position| position.longitude.is_finite()));
                }
                _ => {}
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
