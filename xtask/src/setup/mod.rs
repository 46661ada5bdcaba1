//! What must be on the machine, by what it is needed for. Each function is fast when nothing is missing.

mod kernel_toolchain;
mod packages;

use anyhow::Result;

pub(crate) use kernel_toolchain::KernelToolchain;
use packages::{DEMO, KERNEL_TOOLCHAIN, TESTS};

/// `cargo xtask setup`: all of it.
pub(crate) fn everything() -> Result<()> {
    let toolchain = kernel_toolchain()?;
    packages::install(&[TESTS, DEMO])?;
    eprintln!("setup: kernel half builds with {toolchain}; test and demo programs are installed");
    Ok(())
}

/// Compiler and linker of the kernel half.
pub(crate) fn kernel_toolchain() -> Result<KernelToolchain> {
    if KernelToolchain::find_compiler().is_none() || !kernel_toolchain::can_install_linker() {
        packages::install(&[KERNEL_TOOLCHAIN])?;
    }
    KernelToolchain::complete()
}

/// Programs that the tests drive.
pub(crate) fn test_programs() -> Result<()> {
    packages::install(&[TESTS])
}
