//! Tools that come from crates.io: built once into `target/tools`, so that they touch nothing outside the project.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{cargo, run};
use crate::workspace;

/// A program that `cargo install` builds.
pub(super) struct Tool {
    /// Name of the crate, and of its program.
    pub(super) name: &'static str,
    /// The version that is known to work; another one is replaced.
    pub(super) version: &'static str,
    /// Further arguments for `cargo install`.
    pub(super) arguments: &'static [&'static str],
    /// Variables for its build.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// What to do when it cannot be built.
    pub(super) hint: &'static str,
}

impl Tool {
    /// Where the program is; builds it if it is not there.
    pub(super) fn find_or_build(&self) -> Result<PathBuf> {
        if !self.is_built() {
            eprintln!("setup: building {} {}; this happens once", self.name, self.version);
            let mut install = cargo();
            // They run for seconds, so building them fast matters more than that they are.
            for (setting, value) in
                [("OPT_LEVEL", "1"), ("DEBUG", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16")]
            {
                install.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
            }
            install.envs(self.environment.iter().copied());
            install.args(["install", self.name, "--version", self.version, "--locked", "--force", "--root"]);
            run(install.arg(workspace::tools()).args(self.arguments), self.hint)?;
        }
        let program = self.program();
        program.is_file().then_some(program).with_context(|| format!("cargo install left no {}", self.name))
    }

    /// Whether this version is there, by what `cargo install` recorded: faster than starting it.
    pub(super) fn is_built(&self) -> bool {
        let record = fs::read_to_string(workspace::tools().join(".crates.toml")).unwrap_or_default();
        record.contains(&format!("\"{} {} ", self.name, self.version)) && self.program().is_file()
    }

    fn program(&self) -> PathBuf {
        workspace::tools().join("bin").join(self.name)
    }
}
