//! Finds the compiled kernel half and hands its path to `src/kernel/object.rs`.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Where `cargo xtask build` leaves the kernel half, below the workspace.
const OBJECT: &str = "target/kernel/bpfel-unknown-none/release/relay";

fn main() {
    println!("cargo::rerun-if-env-changed=CULVERT_KERNEL_OBJECT");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object =
        env::var_os("CULVERT_KERNEL_OBJECT").map_or_else(|| manifest.join("..").join(OBJECT), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("relay.bpf.o");
    if let Err(error) = fs::copy(&object, copy) {
        println!(
            "cargo::error=the kernel half is not built: {}: {error}. Run `cargo xtask build`, which builds both \
             halves, or name an object with CULVERT_KERNEL_OBJECT.",
            object.display()
        );
        process::exit(1);
    }
}
