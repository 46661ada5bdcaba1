//! A BPF array map that both halves see as the same memory (`BPF_F_MMAPABLE`), so that a rule changes with a store
//! instead of a system call.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use aya::Pod;
use aya::maps::MapData;

/// The mapped elements of one array map. The program in the kernel reads, and for some words writes, at any time. A clone
/// is another handle of the same memory.
#[derive(Clone)]
pub(crate) struct SharedArray<T> {
    start: NonNull<T>,
    length: u32,
    elements: PhantomData<T>,
    /// Keeps the memory mapped.
    _mapping: Arc<Mapping>,
}

/// Memory that is mapped; unmapped when it is dropped.
struct Mapping {
    address: NonNull<libc::c_void>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process and is not tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: nothing is accessed through it but its own address and size.
unsafe impl Sync for Mapping {}

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
        let mapping = Mapping::new(bytes, libc::MAP_SHARED, map.fd().as_fd().as_raw_fd())?;
        Ok(Self::over(mapping, length))
    }

    /// An array of zeros that no kernel half shares.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(crate) fn anonymous(length: u32) -> io::Result<Self> {
        let bytes = size_of::<T>().next_multiple_of(8) * length as usize;
        let mapping = Mapping::new(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        Ok(Self::over(mapping, length))
    }

    /// Like [`SharedArray::anonymous`], for tests of the tables.
    #[cfg(test)]
    pub(crate) fn in_memory(length: u32) -> Self {
        Self::anonymous(length).unwrap()
    }

    fn over(mapping: Mapping, length: u32) -> Self {
        let start = mapping.address.cast();
        Self { start, length, elements: PhantomData, _mapping: Arc::new(mapping) }
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

    /// Address of one element, if there is such an element: aligned, and valid for reads and writes as long as a handle
    /// of this memory lives.
    pub(crate) fn pointer(&self, index: u32) -> Option<*mut T> {
        (index < self.length).then(|| self.element(index))
    }

    /// A copy of an element. Words that the kernel half changes meanwhile are old or new, each as a whole.
    pub(crate) fn read(&self, index: u32) -> T {
        // SAFETY: in range and aligned by the mapping's page alignment; volatile, because the kernel half may write.
        unsafe { self.element(index).read_volatile() }
    }

    /// A copy of an element of several words that the kernel half changes together: read again until two copies agree,
    /// a few times at most. A leg under full load may still be caught between two words.
    pub(crate) fn read_settled(&self, index: u32) -> T
    where
        T: PartialEq,
    {
        const TRIES: usize = 4;
        let mut before = self.read(index);
        for _ in 0..TRIES {
            let now = self.read(index);
            if now == before {
                break;
            }
            before = now;
        }
        before
    }

    /// Overwrites an element that the kernel half does not use yet, or does not mind to see half-written.
    pub(crate) fn write(&self, index: u32, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.element(index).write_volatile(value) }
    }

    /// Overwrites the part at `offset` of an element, like [`SharedArray::write`].
    pub(crate) fn write_part<P: Pod>(&self, index: u32, offset: usize, value: P) {
        assert!(offset.is_multiple_of(align_of::<P>()) && offset + size_of::<P>() <= size_of::<T>());
        // SAFETY: in range and aligned, as asserted; volatile, because the kernel half may read.
        unsafe { self.element(index).byte_add(offset).cast::<P>().write_volatile(value) }
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

impl Mapping {
    fn new(bytes: usize, kind: libc::c_int, file: RawFd) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no memory of ours is touched.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, file, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { address, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `new` made; every handle of it is gone.
        unsafe { libc::munmap(self.address.as_ptr(), self.bytes) };
    }
}
