//! `cargo xtask soak`: hands its arguments to the program `soak`, built for release and run as root.

use anyhow::Result;

use crate::command::run;
use crate::{build, privilege, setup, workspace};

const PURPOSE: &str = "the soak, which loads XDP programs and makes network namespaces,";

/// How long, and which.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Minutes of traffic.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Repeats what happened with this seed.
    #[arg(long)]
    seed: Option<u64>,
}

impl Options {
    /// The short form, as continuous integration runs it.
    pub(crate) fn short() -> Self {
        Self { minutes: 0.4, seed: None }
    }
}

/// Builds and runs.
pub(crate) fn soak(options: Options) -> Result<()> {
    // Before minutes of building, not after.
    privilege::prefix(PURPOSE)?;
    build::kernel_halves()?;
    build::user_half(true, &["soak"])?;
    setup::test_programs()?;
    let mut command = privilege::elevated(workspace::program("soak", true), PURPOSE)?;
    command.current_dir(workspace::root()).args(["--minutes", &options.minutes.to_string()]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    run(&mut command, "the seed is above: `cargo xtask soak --seed SEED` does the same again")
}
