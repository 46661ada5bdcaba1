//! Memory that is shared with the kernel: mapped here, unmapped with the last user.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A mapping of whole pages.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the value and is not tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: the value only gives addresses; whoever turns one into a reference argues why it may.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory of our own.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(crate) fn anonymous(length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// What a descriptor offers at this offset.
    ///
    /// # Errors
    /// The kernel refused the mapping.
    pub(crate) fn of(descriptor: BorrowedFd<'_>, length: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::map(length, libc::MAP_SHARED | libc::MAP_POPULATE, descriptor.as_raw_fd(), offset)
    }

    fn map(length: usize, kind: libc::c_int, descriptor: libc::c_int, at: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no memory of ours is touched.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, descriptor, at) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, length })
    }

    /// Bytes of the mapping.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The address of `count` values from `offset` on, or `None` if they do not lie within the mapping, aligned.
    pub(crate) fn at<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        if end > self.length || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: within the mapping, as just checked.
        Some(unsafe { self.start.byte_add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `map` made; who keeps an address of it keeps the value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_within_the_mapping() {
        let mapping = Mapping::anonymous(4096).unwrap();
        assert!(mapping.at::<u64>(0, 512).is_some());
        assert!(mapping.at::<u64>(0, 513).is_none());
        assert!(mapping.at::<u64>(4, 1).is_none(), "not aligned");
        assert!(mapping.at::<u8>(usize::MAX, 1).is_none());
    }
}
