//! A question or an answer on the admin socket is refused, or means the same when it is written and read again.
#![no_main]

use control::admin::{Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    if let Ok(request) = serde_json::from_str::<Request>(line) {
        let written = serde_json::to_string(&request).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<Request>(&written).expect("what was written can be read"), request);
    }
    if let Ok(reply) = serde_json::from_str::<Reply>(line) {
        let written = serde_json::to_string(&reply).expect("what was read can be written");
        let again = serde_json::from_str::<Reply>(&written).expect("what was written can be read");
        assert_eq!(serde_json::to_string(&again).expect("as before"), written);
    }
});
