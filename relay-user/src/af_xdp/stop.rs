//! Tells workers to end, even while they sleep.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A request that is made once and can be polled for.
#[derive(Debug)]
pub(crate) struct Stop {
    requested: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: opens a descriptor; no memory is touched.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else knows it.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Self { requested: AtomicBool::new(false), event })
    }

    /// Makes the request; the descriptor stays readable from then on.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Release);
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes eight bytes that outlive the call. It cannot fail: the count is far from its end.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Whether it was made.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
