//! One process at a time for each folder of pins: a lock on the folder itself, which ends with the process however that
//! ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::StateError;

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another process has it.
    pub(super) fn take(folder: &Path) -> Result<Self, StateError> {
        let refused = |source| StateError::Refused { path: folder.to_owned(), source };
        let file = File::open(folder).map_err(refused)?;
        // SAFETY: an open descriptor; the call touches no memory.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Self(file));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(refused(error));
        }
        let inode = file.metadata().map_err(refused)?.ino();
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        Err(StateError::InUse { folder: folder.to_owned(), holder: describe(holder(&locks, inode)) })
    }
}

/// The process that holds a lock on this file, from the text of `/proc/locks`: `1: FLOCK ADVISORY WRITE 42 00:28:7 0 EOF`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = fields.as_slice() else { return None };
        (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| process.parse().ok())?
    })
}

fn describe(process: Option<u32>) -> String {
    let Some(process) = process else { return "another process".to_owned() };
    match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("process {process} (`{}`)", name.trim()),
        Err(_) => format!("process {process}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_among_other_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 40 00:28:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 41 fe:00:17 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 42 00:28:7 0 EOF\n";
        assert_eq!(holder(locks, 7), Some(42));
        assert_eq!(holder(locks, 8), None);
    }

    #[test]
    fn a_second_instance_is_told_who_the_first_is() {
        let folder = std::env::temp_dir().join(format!("culvert-lock-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let first = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Lock::take(&folder).unwrap();
        fs::remove_dir(folder).unwrap();
    }
}
