//! A record of a copied packet never says more than it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let record = data.to_vec().into_boxed_slice();
    if let Some(captured) = relay_user::fuzzing::tap(&record) {
        assert!(captured <= record.len());
    }
});
