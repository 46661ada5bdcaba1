//! `cargo xtask bench`: hands its arguments to the program `bench`, built for release and run as root.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::command::run;
use crate::{build, privilege, setup, workspace};

const PURPOSE: &str = "the bench, which loads XDP programs,";

/// Arguments of the program `bench`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Handed to the program as they are; `cargo xtask bench -- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Options {
    /// The short form with thresholds on ratios, as continuous integration runs it: with what is missing of the programs to
    /// compare with, a report and a page, and compared with an earlier report if there is one.
    pub(crate) fn quick_check(report: &Path, page: &Path, earlier: Option<&Path>) -> Self {
        let mut arguments: Vec<OsString> =
            ["--quick", "--check", "--install-peers"].map(OsString::from).into();
        let files = [("--json", Some(report)), ("--html", Some(page)), ("--baseline", earlier)];
        for (option, file) in files {
            arguments.extend(file.into_iter().flat_map(|file| [option.into(), file.into()]));
        }
        Self { arguments }
    }
}

/// Builds and measures.
pub(crate) fn measure(options: &Options) -> Result<()> {
    // Before minutes of building, not after.
    privilege::prefix(PURPOSE)?;
    build::kernel_halves()?;
    build::user_half(true, &["bench", "control"])?;
    // What owns the data plane while it is killed, and another build of it that takes over.
    for release in [true, false] {
        build::example(release, "relay-user", "hold")?;
    }
    setup::test_programs()?;
    run(
        privilege::elevated(workspace::program("bench", true), PURPOSE)?
            .current_dir(workspace::root())
            .args(&options.arguments),
        "the bench's own message is above; other programs that use the processor spoil its figures",
    )
}
