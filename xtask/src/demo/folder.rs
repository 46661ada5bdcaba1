//! The folder that holds the files of one run: clip, configurations with this run's passwords, logs.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::leftovers;

/// The folder; it is removed with this value.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder that only its owner can look into, and removes those of crashed runs.
    pub(super) fn create() -> Result<Self> {
        let parent = env::temp_dir();
        for name in leftovers::among(leftovers::names_in(&parent.to_string_lossy())) {
            remove(&parent.join(name));
        }
        let folder = parent.join(leftovers::name("files"));
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

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("demo: cannot remove {}: {error}", folder.display());
    }
}
