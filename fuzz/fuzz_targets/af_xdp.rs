//! Whatever the kernel and an AF_XDP worker do, in whatever order, each frame is at every moment in exactly one place.
//! The steps are played on rings in ordinary memory; the property test of relay-user plays the same, bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: &[u8]| {
    if let Err(problem) = relay_user::fuzzing::af_xdp(steps) {
        panic!("{problem}");
    }
});
