//! The memory of an array map whose records another version laid out: bytes and words at offsets, nothing typed.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::bpf;

/// A mapped array map.
pub(crate) struct RawArray {
    start: NonNull<u8>,
    /// Bytes of a record.
    pub(crate) value: usize,
    /// Records.
    pub(crate) length: u32,
    stride: usize,
}

impl RawArray {
    /// Maps the array that is pinned here.
    ///
    /// # Errors
    /// It is no array, or cannot be mapped.
    pub(crate) fn open(pin: &Path) -> io::Result<Self> {
        let map = bpf::open(pin)?;
        let shape = bpf::map_shape(map.as_fd())?;
        if shape.kind != bpf::ARRAY || shape.entries == 0 || shape.value == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the pinned object is no array map"));
        }
        let value = shape.value as usize;
        let stride = value.next_multiple_of(8);
        let (access, descriptor) = (libc::PROT_READ | libc::PROT_WRITE, map.as_fd().as_raw_fd());
        let bytes = stride * shape.entries as usize;
        // SAFETY: a new mapping at an address of the kernel's choice; no memory of ours is touched.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, value, length: shape.entries, stride })
    }

    /// Address of `size` bytes at an offset of a record; `None` if they are not within it.
    fn at(&self, index: u32, offset: usize, size: usize) -> Option<*mut u8> {
        let fits = index < self.length && offset.checked_add(size).is_some_and(|end| end <= self.value);
        // SAFETY: within the mapping, as just checked.
        fits.then(|| unsafe { self.start.as_ptr().add(self.stride * index as usize + offset) })
    }

    /// Copies bytes of a record into one of another array that no program uses yet.
    pub(crate) fn copy(&self, index: u32, offset: usize, size: usize, to: &Self, (at, place): (u32, usize)) {
        let (Some(from), Some(place)) = (self.at(index, offset, size), to.at(at, place, size)) else {
            return;
        };
        let both = from.addr() | place.addr() | size;
        if both.is_multiple_of(8) {
            copy_words::<u64>(from, place, size);
        } else if both.is_multiple_of(4) {
            copy_words::<u32>(from, place, size);
        } else {
            copy_words::<u8>(from, place, size);
        }
    }

    /// An aligned 64-bit word of a record.
    pub(crate) fn word64(&self, index: u32, offset: usize) -> Option<&AtomicU64> {
        let address = self.at(index, offset, 8).filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: in range, and aligned as the mapping and the stride are; both halves treat such words as atomics.
        Some(unsafe { AtomicU64::from_ptr(address.cast()) })
    }

    /// An aligned 32-bit word of a record.
    pub(crate) fn word32(&self, index: u32, offset: usize) -> Option<&AtomicU32> {
        let address = self.at(index, offset, 4).filter(|_| offset.is_multiple_of(4))?;
        // SAFETY: as in `word64`.
        Some(unsafe { AtomicU32::from_ptr(address.cast()) })
    }
}

/// Copies word by word, so that a word which a program changes meanwhile is old or new. Both addresses and the size were
/// checked by the caller, and are multiples of the word's.
fn copy_words<W: Copy>(from: *const u8, to: *mut u8, size: usize) {
    for at in (0..size).step_by(size_of::<W>()) {
        // SAFETY: within both ranges, and aligned, as the caller checked; volatile, because a program may write.
        unsafe { to.add(at).cast::<W>().write_volatile(from.add(at).cast::<W>().read_volatile()) };
    }
}

impl Drop for RawArray {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `open` made; nothing borrowed from it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.stride * self.length as usize) };
    }
}
