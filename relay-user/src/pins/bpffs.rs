//! The BPF file system: whether a path lies on one, and mounting it where it is expected and missing.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::StateError;

/// Where the BPF file system is mounted by convention.
const MOUNT: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of linux/magic.h.
const MAGIC: u32 = 0xcafe_4a11;

/// Makes sure that `folder` exists on a BPF file system.
///
/// # Errors
/// It cannot be made there.
pub(super) fn prepare(folder: &Path) -> Result<(), StateError> {
    if !folder.is_absolute() {
        return Err(StateError::Relative(folder.to_owned()));
    }
    if !is_on_bpffs(folder) {
        if !folder.starts_with(MOUNT) {
            return Err(StateError::NotBpffs(folder.to_owned()));
        }
        mount().map_err(|source| StateError::Mount { folder: folder.to_owned(), source })?;
    }
    let refused = |source| StateError::Refused { path: folder.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)
}

/// Whether the nearest folder that exists lies on a BPF file system.
fn is_on_bpffs(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|folder| folder.exists()).map(Path::to_owned);
    existing.and_then(|folder| file_system(folder).ok()) == Some(MAGIC)
}

/// The magic number of the file system that a folder lies on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "magic numbers are 32-bit patterns"
)]
fn file_system(folder: PathBuf) -> io::Result<u32> {
    let path = CString::new(folder.into_os_string().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: all of the structure is integers, for which zero is a value.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the string ends in zero, and both live through the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut facts) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(facts.f_type as u32)
}

fn mount() -> io::Result<()> {
    const TARGET: &CStr = c"/sys/fs/bpf";
    const KIND: &CStr = c"bpf";
    const OPTIONS: &CStr = c"mode=0700";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: strings that end in zero and live through the call.
    let result =
        unsafe { libc::mount(KIND.as_ptr(), TARGET.as_ptr(), KIND.as_ptr(), flags, OPTIONS.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_file_systems_are_refused_by_name() {
        let error = prepare(Path::new("/tmp/culvert-state")).unwrap_err().to_string();
        assert!(error.contains("/tmp/culvert-state") && error.contains("mount -t bpf"), "{error}");
        let error = prepare(Path::new("state")).unwrap_err().to_string();
        assert!(error.contains("absolute"), "{error}");
        assert!(!Path::new("/tmp/culvert-state").exists());
    }
}
