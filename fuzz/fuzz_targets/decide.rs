//! The decision about any frame among any legs, the rewriting and the rebuilding of its headers: nothing outside the frame is
//! read or written, nothing overflows, and what is sent on keeps its length but for headers that are longer or shorter.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes choose the legs.
    let Some((seed, frame)) = data.split_first_chunk::<8>() else { return };
    let out = agreement::decide(frame, u64::from_le_bytes(*seed));
    assert!(out.len() <= frame.len() + 28 && out.len() + 28 >= frame.len());
});
