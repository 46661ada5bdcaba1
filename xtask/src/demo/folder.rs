//! The folder that holds the files of one run: clip, configurations with this run's passwords, logs.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};

/// The process number follows.
const PREFIX: &str = "culvert-demo-";

/// The folder; it is removed with this value.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder that only its owner can look into, and removes those of crashed runs.
    pub(super) fn create() -> Result<Self> {
        let parent = env::temp_dir();
        remove_leftovers(&parent);
        let folder = parent.join(format!("{PREFIX}{}", process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes the folders of demos whose process is gone.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(PREFIX).is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("demo: cannot remove {}: {error}", folder.display());
    }
}
