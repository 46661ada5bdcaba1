//! The compiler and the linker of the kernel half.
//!
//! Stable Rust has no `core` for BPF. Two sources are known to work: Debian's compiler with Debian's prebuilt
//! `core`, or a rustup nightly that compiles `core` itself. Either needs bpf-linker, which is built here against the
//! system's LLVM, because its LLVM must be as new as the compiler's.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::tools::Tool;
use crate::command::{cargo, cargo_named, output};
use crate::workspace;

const DEBIAN_COMPILER: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";
const LLVM: &str = "/usr/lib/llvm-22";

/// Links BPF programs from LLVM bitcode.
const LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.13.0",
    arguments: &["--no-default-features", "--features", "llvm-22"],
    environment: &[("LLVM_PREFIX", LLVM)],
    hint: "it needs LLVM 22 with headers: sudo apt-get install llvm-22-dev",
};

/// Where a compiler with `core` for BPF comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// Debian's rustc with the package of prebuilt libraries.
    Debian,
    /// A rustup toolchain that has the sources of `core`.
    Nightly,
}

/// Everything that the kernel half is built with.
#[derive(Clone, Debug)]
pub(crate) struct KernelToolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl KernelToolchain {
    /// The compiler that is there, if any.
    pub(super) fn find_compiler() -> Option<Compiler> {
        if Path::new(DEBIAN_COMPILER).is_file() && has_core(Path::new(DEBIAN_CORE)) {
            return Some(Compiler::Debian);
        }
        let mut rustc = Command::new("rustc");
        rustc.env("RUSTUP_TOOLCHAIN", "nightly").env("RUSTUP_AUTO_INSTALL", "0").args(["--print", "sysroot"]);
        let sysroot = output(&mut rustc)?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
        sources.is_dir().then_some(Compiler::Nightly)
    }

    /// Finds the compiler and builds the linker if it is not there yet.
    pub(super) fn complete() -> Result<Self> {
        let Some(compiler) = Self::find_compiler() else {
            bail!(
                "no compiler for BPF: found neither {DEBIAN_COMPILER} with {DEBIAN_CORE} nor a rustup nightly with \
                 rust-src\n  on Debian 12: sudo apt-get install rustc-web libstd-rust-web-dev-bpf llvm-22-dev\n  \
                 elsewhere: rustup toolchain install nightly --component rust-src"
            );
        };
        Ok(Self { compiler, linker: LINKER.find_or_build()? })
    }

    /// `cargo build` for a kernel crate in `folder`.
    pub(crate) fn build(&self, folder: &Path) -> Command {
        self.prepare(cargo(), folder, "build")
    }

    /// `cargo clippy` for a kernel crate in `folder`; it must be as old as the compiler, so it comes from the same
    /// place.
    pub(crate) fn clippy(&self, folder: &Path) -> Command {
        let program = match self.compiler {
            Compiler::Debian => DEBIAN_CLIPPY,
            Compiler::Nightly => "cargo",
        };
        self.prepare(cargo_named(program), folder, "clippy")
    }

    /// The right compiler, the right linker, and none of the user half's settings.
    fn prepare(&self, mut cargo: Command, folder: &Path, command: &str) -> Command {
        cargo.current_dir(folder).arg(command);
        for variable in
            ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"]
        {
            cargo.env_remove(variable);
        }
        match self.compiler {
            Compiler::Debian => {
                // Its `core` is a release library; the features that BPF needs are still behind nightly's gate.
                cargo.env("RUSTC", DEBIAN_COMPILER).env("RUSTC_BOOTSTRAP", "1");
            }
            Compiler::Nightly => {
                cargo.env("RUSTUP_TOOLCHAIN", "nightly").args(["-Z", "build-std=core"]);
            }
        }
        cargo.args(["--release", "--target", workspace::KERNEL_TARGET]);
        cargo.env("CARGO_TARGET_DIR", workspace::kernel_target());
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags().join("\u{1f}"));
        cargo
    }

    fn rust_flags(&self) -> Vec<String> {
        let linker = format!("linker={}", self.linker.display());
        // v3: 32-bit instructions and jumps, in every kernel since 5.1. BTF names the maps and feeds `bpftool`.
        ["-C", &linker, "-C", "target-cpu=v3", "-C", "link-arg=--btf", "-C", "debuginfo=2"]
            .map(str::to_owned)
            .into()
    }
}

impl fmt::Display for KernelToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compiler {
            Compiler::Debian => write!(f, "Debian's rustc and bpf-linker {}", LINKER.version),
            Compiler::Nightly => write!(f, "rustup's nightly and bpf-linker {}", LINKER.version),
        }
    }
}

fn has_core(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// Whether the linker is there, or what it is built with is.
pub(super) fn can_have_linker() -> bool {
    LINKER.is_built() || Path::new(LLVM).join("bin/llvm-config").is_file()
}
