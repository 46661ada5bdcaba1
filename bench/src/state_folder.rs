//! A folder for what outlives the process that owns a data plane, of this run of the bench alone.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder, on the BPF file system; removed with everything that is pinned in it.
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// One for this purpose.
    pub(crate) fn new(purpose: &str) -> Self {
        Self(PathBuf::from(format!("/sys/fs/bpf/culvert-bench-{}-{purpose}", std::process::id())))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        // It is gone already if the last owner ended as it should.
        let _ = fs::remove_dir_all(&self.0);
    }
}
