//! What must be on the machine, by what it is needed for. Each function is fast when nothing is missing.

mod kernel_toolchain;
mod packages;
mod tools;

use std::path::PathBuf;

use anyhow::Result;

pub(crate) use kernel_toolchain::KernelToolchain;
use packages::{DEMO, KERNEL_TOOLCHAIN, TESTS};
use tools::Tool;

/// Checks licences and origins of dependencies.
const DEPENDENCY_CHECKER: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    arguments: &[],
    environment: &[],
    hint: "check the network; or leave the step out: cargo xtask test --except dependencies",
};

/// `cargo xtask setup`: all of it.
pub(crate) fn everything() -> Result<()> {
    // Together, so that someone who may not install is told once what to install.
    let groups =
        if needs_kernel_packages() { vec![KERNEL_TOOLCHAIN, TESTS, DEMO] } else { vec![TESTS, DEMO] };
    packages::install(&groups)?;
    let toolchain = KernelToolchain::complete()?;
    eprintln!("setup: kernel half builds with {toolchain}; test and demo programs are installed");
    Ok(())
}

/// Compiler and linker of the kernel half.
pub(crate) fn kernel_toolchain() -> Result<KernelToolchain> {
    if needs_kernel_packages() {
        packages::install(&[KERNEL_TOOLCHAIN])?;
    }
    KernelToolchain::complete()
}

fn needs_kernel_packages() -> bool {
    KernelToolchain::find_compiler().is_none() || !kernel_toolchain::can_have_linker()
}

/// cargo-deny.
pub(crate) fn dependency_checker() -> Result<PathBuf> {
    DEPENDENCY_CHECKER.find_or_build()
}

/// Programs that the demo drives.
pub(crate) fn demo_programs() -> Result<()> {
    packages::install(&[DEMO])
}

/// Programs that the tests drive.
pub(crate) fn test_programs() -> Result<()> {
    packages::install(&[TESTS])
}
