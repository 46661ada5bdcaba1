//! What a connection sends, cut into pieces of any size, yields packets of bytes that it sent, and never grows what waits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = data;
    let read = relay_user::fuzzing::framed(&bytes, &cuts);
    if let Err(problem) = read {
        panic!("{problem}");
    }
});
