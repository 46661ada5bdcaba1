//! A BPF file system of our own for what outlives the owner.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Mounted until it is dropped.
pub(crate) struct State(TempDir);

impl State {
    /// Mounts it.
    ///
    /// # Errors
    /// The process is not root, or the kernel has no BPF file system.
    pub(crate) fn mount() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("culvert-soak-").tempdir()?;
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status();
        let mounted = mounted.context("starting `mount`")?;
        ensure!(mounted.success(), "a BPF file system cannot be mounted: this takes root");
        Ok(Self(folder))
    }

    /// The folder for the relay.
    pub(crate) fn folder(&self) -> PathBuf {
        self.0.path().join("instance")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Lazily, and nobody to tell: the folder is empty but for the mount.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
