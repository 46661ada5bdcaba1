//! Threads of ours that look into a namespace: a thread's network is its own on Linux.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};

/// Moves the calling thread, and no other, into a network namespace. There is no way back.
pub(super) fn enter(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    // SAFETY: the descriptor is open for the whole call; setns affects the calling thread only.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot enter {}", namespace.display()));
    }
    Ok(())
}

/// Runs `work` on a thread inside the namespace and returns its result.
pub(super) fn run_in<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(move || enter(namespace).map(|()| work()));
        thread
            .join()
            .map_err(|_| anyhow!("a thread of the demo broke down"))?
    })
}
