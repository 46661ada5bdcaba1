//! `cargo xtask fuzz`: runs the coverage-guided fuzz targets of `fuzz/`, which need a nightly compiler, each for a while.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::build;
use crate::command::{cargo, is_installed, run};
use crate::workspace;

/// Which, and how long.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Only this target: the name of a file in `fuzz/fuzz_targets`.
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs them.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    if !is_installed("cargo-fuzz") {
        bail!(
            "cargo-fuzz is not installed\n  rustup toolchain install nightly && cargo install cargo-fuzz --locked"
        );
    }
    let targets = targets()?;
    if let Some(wanted) = &options.target {
        ensure!(targets.contains(wanted), "no target is named `{wanted}`; there are: {}", targets.join(", "));
    }
    // The crates that are fuzzed embed them.
    build::kernel_halves()?;
    for target in targets.iter().filter(|target| options.target.as_ref().is_none_or(|only| only == *target)) {
        // What was found before lies in `corpus`, which is not kept in the repository; what to start from, in `seeds`.
        let folders =
            [workspace::fuzz().join("corpus").join(target), workspace::fuzz().join("seeds").join(target)];
        fs::create_dir_all(&folders[0])?;
        let mut command = cargo();
        command
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .current_dir(workspace::fuzz())
            .args(["fuzz", "run", target]);
        command.args(folders.iter().filter(|folder| folder.is_dir()));
        command.args(["--".to_owned(), format!("-max_total_time={}", options.seconds)]);
        run(&mut command, "the input is in fuzz/artifacts; make a test of it, then mend what it shows")?;
    }
    Ok(())
}

/// Every target, by name.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::fuzz().join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
