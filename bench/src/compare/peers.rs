//! Installs what is missing of the subjects that are programs of others.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::subject::Subject;

/// Installs the Debian packages of subjects that are missing.
///
/// # Errors
/// With what `apt-get` is to be told by hand.
pub(crate) fn install() -> Result<()> {
    let packages: Vec<_> = Subject::ALL.into_iter().filter_map(Subject::missing_package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    eprintln!("bench: installing {}", packages.join(" "));
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(&packages);
    let status = command
        .status()
        .with_context(|| format!("there is no apt-get; install by hand what is in `{by_hand}`"))?;
    ensure!(status.success(), "apt-get failed; run `apt-get update` and `{by_hand}`, and see what it says");
    Ok(())
}
