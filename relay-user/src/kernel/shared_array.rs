//! A BPF array map that both halves see as the same memory (`BPF_F_MMAPABLE`), so that a rule changes with a store
//! instead of a system call.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use aya::Pod;
use aya::maps::MapData;

/// The mapped elements of one array map. The program in the kernel reads, and for some words writes, at any time.
pub(crate) struct SharedArray<T> {
    start: NonNull<T>,
    length: u32,
    bytes: usize,
    elements: PhantomData<T>,
}

// SAFETY: the mapping belongs to the value and is not tied to a thread.
unsafe impl<T: Send> Send for SharedArray<T> {}
// SAFETY: shared access goes through atomics and volatile copies only.
unsafe impl<T: Sync> Sync for SharedArray<T> {}

impl<T: Pod> SharedArray<T> {
    /// Maps an array map whose value type is `T`.
    ///
    /// # Errors
    /// The map's elements are not of `T`'s size, or the kernel refused the mapping.
    pub(crate) fn map(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let size = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
        if info.value_size() != size || size % 4 != 0 {
            let found = info.value_size();
            return Err(io::Error::other(format!("elements of the map have {found} bytes, expected {size}")));
        }
        // The kernel spaces elements at multiples of eight bytes; an array of u32 would not be dense.
        let stride = size_of::<T>().next_multiple_of(8);
        let length = info.max_entries();
        let bytes = stride * length as usize;
        // SAFETY: a new mapping at an address of the kernel's choice; no memory of ours is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, length, bytes, elements: PhantomData })
    }

    /// An array of zeros that no kernel half shares: for tests of the tables.
    #[cfg(test)]
    pub(crate) fn in_memory(length: u32) -> Self {
        let bytes = size_of::<T>().next_multiple_of(8) * length as usize;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice; no memory of ours is touched.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        assert_ne!(address, libc::MAP_FAILED);
        Self { start: NonNull::new(address.cast()).unwrap(), length, bytes, elements: PhantomData }
    }

    /// Number of elements.
    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    /// Address of one element.
    ///
    /// # Panics
    /// `index` is out of range: indexes come from this crate's own allocators, never from a packet or a user.
    fn element(&self, index: u32) -> *mut T {
        assert!(index < self.length, "index {index} of an array of {}", self.length);
        // SAFETY: within the mapping, as just asserted.
        unsafe { self.start.as_ptr().byte_add(size_of::<T>().next_multiple_of(8) * index as usize) }
    }

    /// A copy of an element. Words that the kernel half changes meanwhile are old or new, each as a whole.
    pub(crate) fn read(&self, index: u32) -> T {
        // SAFETY: in range and aligned by the mapping's page alignment; volatile, because the kernel half may write.
        unsafe { self.element(index).read_volatile() }
    }

    /// Overwrites an element that the kernel half does not use yet, or does not mind to see half-written.
    pub(crate) fn write(&self, index: u32, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.element(index).write_volatile(value) }
    }

    /// The aligned 32-bit word at `offset` of an element.
    pub(crate) fn word32(&self, index: u32, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= size_of::<T>());
        // SAFETY: in range and aligned, as asserted; both halves treat such words as atomics.
        unsafe { AtomicU32::from_ptr(self.element(index).byte_add(offset).cast()) }
    }

    /// The aligned 64-bit word at `offset` of an element.
    pub(crate) fn word64(&self, index: u32, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= size_of::<T>());
        // SAFETY: as in `word32`.
        unsafe { AtomicU64::from_ptr(self.element(index).byte_add(offset).cast()) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `map` made; nothing borrowed from it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
