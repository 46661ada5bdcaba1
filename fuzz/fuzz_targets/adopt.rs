//! Maps of a predecessor, damaged word by word: whatever is adopted from them is whole, and can be used and removed. The
//! property test of relay-user does the same, bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: &[u8]| {
    if let Err(problem) = relay_user::fuzzing::adopt(steps) {
        panic!("{problem}");
    }
});
