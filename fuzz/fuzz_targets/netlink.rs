//! A message of the kernel's routing tables is read or left, whatever its attributes say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    relay_user::fuzzing::netlink(data);
});
