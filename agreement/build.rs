//! Finds the compiled kernel half and hands its path to `src/kernel.rs`.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Where `cargo xtask build` leaves the kernel half, below the workspace.
const OBJECT: &str = "target/kernel/bpfel-unknown-none/release/agreement";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object = manifest.join("..").join(OBJECT);
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("agreement.bpf.o");
    if let Err(error) = fs::copy(&object, copy) {
        println!(
            "cargo::error=the agreement test's kernel side is not built: {}: {error}. Run `cargo xtask build`, which builds \
             both halves.",
            object.display()
        );
        process::exit(1);
    }
}
