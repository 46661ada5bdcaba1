//! `cargo xtask build`: the kernel halves first, because the user half embeds their object files.

use anyhow::{Result, bail};

use crate::command::{cargo, run};
use crate::setup;
use crate::workspace::KERNEL_CRATES;

/// What to build.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Optimise the user half. The kernel halves always are: the verifier would refuse them otherwise.
    #[arg(long)]
    pub(crate) release: bool,
}

/// Both halves.
pub(crate) fn everything(options: Options) -> Result<()> {
    kernel_halves()?;
    user_half(options.release, &[])
}

/// The object files that `relay-user` and `bench` embed.
pub(crate) fn kernel_halves() -> Result<()> {
    let toolchain = setup::kernel_toolchain()?;
    for kernel_crate in KERNEL_CRATES {
        run(
            toolchain.build(&kernel_crate.path()).args(["--bin", kernel_crate.binary]),
            "the messages above are the compiler's; a message of the linker about LLVM means that the compiler is \
             newer than bpf-linker's LLVM: delete target/tools and run `cargo xtask setup`",
        )?;
        let object = kernel_crate.object();
        if !object.is_file() {
            bail!("the build ended well, but left no {}", object.display());
        }
    }
    Ok(())
}

/// The user half: all of it, or these packages only.
pub(crate) fn user_half(release: bool, packages: &[&str]) -> Result<()> {
    let mut build = cargo();
    build.arg("build");
    if release {
        build.arg("--release");
    }
    if packages.is_empty() {
        build.arg("--workspace");
    }
    for package in packages {
        build.args(["--package", package]);
    }
    run(&mut build, "the messages above are the compiler's")
}

/// An example program of a package.
pub(crate) fn example(release: bool, package: &str, name: &str) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--package", package, "--example", name]);
    if release {
        build.arg("--release");
    }
    run(&mut build, "the messages above are the compiler's")
}
