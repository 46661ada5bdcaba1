//! Where things are: the only file that knows paths inside the project.

use std::env;
use std::path::{Path, PathBuf};

/// The target that BPF programs are compiled for: little-endian BPF.
pub(crate) const KERNEL_TARGET: &str = "bpfel-unknown-none";

/// A crate that runs in the kernel: a workspace of its own, because it is built for another target.
pub(crate) struct KernelCrate {
    /// Folder, from the project's root.
    pub(crate) folder: &'static str,
    /// Name of its binary, which is the name of the object file.
    pub(crate) binary: &'static str,
}

impl KernelCrate {
    /// Where its manifest is.
    pub(crate) fn path(&self) -> PathBuf {
        root().join(self.folder)
    }

    /// Its object file; `relay-user`, `bench` and `agreement` embed it from here.
    pub(crate) fn object(&self) -> PathBuf {
        kernel_target().join(KERNEL_TARGET).join("release").join(self.binary)
    }
}

/// Every kernel crate of the project.
pub(crate) const KERNEL_CRATES: &[KernelCrate] = &[
    KernelCrate { folder: "relay-ebpf", binary: "relay" },
    KernelCrate { folder: "bench/ebpf", binary: "generator" },
    KernelCrate { folder: "agreement/ebpf", binary: "agreement" },
];

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts the user half.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Where cargo puts the kernel halves.
pub(crate) fn kernel_target() -> PathBuf {
    root().join("target/kernel")
}

/// The fuzz targets: a workspace of their own, because only a nightly compiler runs them.
pub(crate) fn fuzz() -> PathBuf {
    root().join("fuzz")
}

/// Where cargo puts what it checks of them.
pub(crate) fn fuzz_target() -> PathBuf {
    root().join("target/fuzz")
}

/// Where tools that only this project uses are installed.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A program of the user half.
pub(crate) fn program(name: &str, release: bool) -> PathBuf {
    target().join(if release { "release" } else { "debug" }).join(name)
}

/// An example program of the user half.
pub(crate) fn example(name: &str, release: bool) -> PathBuf {
    program("examples", release).join(name)
}
