//! A configuration is understood, or refused with a text that says where.
#![no_main]

use std::path::Path;

use control::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(Path::new("culvert.toml"), text) {
        assert!(!error.to_string().is_empty());
    }
});
