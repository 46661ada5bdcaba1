//! Debian packages: which are needed for what, which are missing, and their installation.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::command::{is_installed, output, run};
use crate::privilege::{self, Privilege};

/// Packages that belong together.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// What cannot be done without them.
    pub(super) purpose: &'static str,
    /// Debian's names.
    pub(super) packages: &'static [&'static str],
    /// Programs that the packages bring: looked for on a system without dpkg.
    pub(super) programs: &'static [&'static str],
    /// What to do on a system without apt-get.
    pub(super) elsewhere: &'static str,
}

/// Compiler and `core` for the BPF target, and the LLVM that its linker uses.
pub(super) const KERNEL_TOOLCHAIN: Group = Group {
    purpose: "build the kernel half",
    packages: &["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"],
    programs: &["llvm-config-22"],
    elsewhere: "install LLVM 22 with its headers (`llvm-config-22`) and run\n    \
                rustup toolchain install nightly --component rust-src",
};

/// Lints of the kernel half, namespaces, packet filters, device features, an independent SIP peer, and independent
/// readers of captures and of program streams.
pub(super) const TESTS: Group = Group {
    purpose: "run the tests",
    packages: &[
        "rust-web-clippy",
        "iproute2",
        "nftables",
        "ethtool",
        "sip-tester",
        "tshark",
        "gstreamer1.0-tools",
        "gstreamer1.0-plugins-good",
    ],
    programs: &["ip", "nft", "ethtool", "sipp", "tshark", "capinfos", "gst-launch-1.0"],
    elsewhere: "install ip, nft, ethtool, sipp 3.6 and tshark with your system's package manager",
};

/// SIP terminals with real codecs, and the encoder that makes the camera's picture.
pub(super) const DEMO: Group = Group {
    purpose: "run the demo",
    packages: &["iproute2", "ethtool", "baresip-core", "baresip-ffmpeg", "ffmpeg"],
    programs: &["ip", "ethtool", "baresip", "ffmpeg"],
    elsewhere: "install ip, ethtool, baresip with its ffmpeg modules, and ffmpeg with your system's package manager",
};

/// Package lists older than this are fetched again before anything is installed.
const LISTS_STALE_AFTER: Duration = Duration::from_hours(24);

/// Installs what is missing of these groups, or fails with the exact command to run.
pub(super) fn install(groups: &[Group]) -> Result<()> {
    if !is_installed("dpkg-query") {
        return check_by_hand(groups);
    }
    let missing = missing(groups);
    if missing.is_empty() {
        return Ok(());
    }
    let purposes: Vec<_> = groups.iter().map(|group| group.purpose).collect();
    eprintln!("to {}: installing {}", purposes.join(" and "), missing.join(" "));
    if privilege::find() == Privilege::Missing {
        bail!(
            "packages are missing and neither root nor a `sudo` that works without a password was found; run\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    if are_lists_stale() {
        update_lists()?;
    }
    let hint = format!(
        "if a package is unknown: they are in Debian 12 with its security archive. On other systems: {}",
        groups.iter().map(|group| group.elsewhere).collect::<Vec<_>>().join("; ")
    );
    if run(&mut install_command(&missing)?, &hint).is_err() {
        // Lists that look fresh may still name versions that the archive has replaced.
        update_lists()?;
        run(&mut install_command(&missing)?, &hint)?;
    }
    Ok(())
}

fn install_command(packages: &[&str]) -> Result<Command> {
    let mut command = privilege::elevated("apt-get", "installing packages")?;
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
    Ok(command)
}

fn update_lists() -> Result<()> {
    run(
        privilege::elevated("apt-get", "fetching package lists")?.args(["update", "--quiet"]),
        "check the network and /etc/apt/sources.list",
    )
}

/// The packages of these groups that dpkg does not call installed, each once.
fn missing(groups: &[Group]) -> Vec<&'static str> {
    let installed = installed();
    let mut missing: Vec<_> = groups
        .iter()
        .flat_map(|group| group.packages)
        .copied()
        .filter(|name| !installed.contains(*name))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn installed() -> HashSet<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]);
    output(&mut query)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect()
}

fn are_lists_stale() -> bool {
    let newest = fs::read_dir(Path::new("/var/lib/apt/lists"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("Packages"))
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    let age = newest.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_none_or(|age| age > LISTS_STALE_AFTER)
}

/// Without dpkg we can only look for the programs that the packages would bring.
fn check_by_hand(groups: &[Group]) -> Result<()> {
    for group in groups {
        if let Some(missing) = group.programs.iter().find(|program| !is_installed(program)) {
            bail!("cannot {}: `{missing}` is missing; {}", group.purpose, group.elsewhere);
        }
    }
    Ok(())
}
