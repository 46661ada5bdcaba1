//! Socket options that no crate of ours knows by name.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets an option whose value is an `int`.
///
/// # Errors
/// As setsockopt(2).
pub(super) fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: i32) -> io::Result<()> {
    // The size of an `int` is 4.
    let length = u32::try_from(size_of::<i32>()).unwrap_or_default();
    // SAFETY: the value lives on this stack during the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
