//! A session description is kept byte for byte, described or refused, and readable after it was readdressed.
#![no_main]

use std::net::SocketAddr;

use bytes::Bytes;
use control::session::LocalMedia;
use control::sip::media::{describe, readdress};
use control::sip::sdp::Sdp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut sdp) = Sdp::parse(&Bytes::copy_from_slice(data)) else {
        return;
    };
    assert_eq!(sdp.to_bytes(), data);
    let Ok(description) = describe(&sdp) else { return };
    let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let local: Vec<LocalMedia> = description
        .media
        .iter()
        .map(|line| LocalMedia { rtp: address(40000), rtcp: address(40001), rejected: line.rejected })
        .collect();
    if readdress(&mut sdp, &local).is_err() {
        return;
    }
    let written = Sdp::parse(&sdp.to_bytes()).expect("what was readdressed can be read");
    let again = describe(&written).expect("what was readdressed can be described");
    for (before, after) in description.media.iter().zip(&again.media) {
        assert_eq!(before.rejected, after.rejected);
        if before.remote.is_some() {
            assert_eq!(after.remote, Some(address(40000)));
        }
    }
});
