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
    let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend(&packages);
    // The lists of packages may be missing, or name versions that the archive has replaced.
    let is_done = apt(&install)? || (apt(&["update", "--quiet"])? && apt(&install)?);
    ensure!(is_done, "apt-get failed, and says why above; by hand: `apt-get update` and `{by_hand}`");
    Ok(())
}

/// Whether `apt-get` did it.
fn apt(arguments: &[&str]) -> Result<bool> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    let hint = "starting apt-get; where there is none, install rtpengine, nftables and socat by hand";
    Ok(command.status().context(hint)?.success())
}
