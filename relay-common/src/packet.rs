//! The one place where packet memory is read and written: a packet, and views of it whose size was checked once.

use core::marker::PhantomData;

use crate::byte_order::{Be16, Be32};

/// The bytes of one frame, from its Ethernet header to its end.
#[derive(Debug)]
pub struct Packet<'a> {
    start: *mut u8,
    end: *mut u8,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> Packet<'a> {
    /// A packet in ordinary memory.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        let range = bytes.as_mut_ptr_range();
        Self { start: range.start, end: range.end, bytes: PhantomData }
    }

    /// A packet between two addresses, as the kernel hands it to an XDP program (`data` and `data_end`).
    ///
    /// # Safety
    /// All bytes from `start` up to, not including, `end` must stay valid for reads and writes, and be accessed by
    /// nobody else, for `'a`.
    #[inline(always)]
    pub const unsafe fn from_range(start: *mut u8, end: *mut u8) -> Self {
        Self { start, end, bytes: PhantomData }
    }

    /// Length of the frame in bytes.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.end as usize - self.start as usize
    }

    /// The `N` bytes from `offset` on, or `None` if the packet ends before.
    #[inline(always)]
    pub fn view<const N: usize>(&self, offset: usize) -> Option<View<'a, N>> {
        let start = self.start.wrapping_add(offset);
        if start.wrapping_add(N) > self.end {
            return None;
        }
        Some(View { start, bytes: PhantomData })
    }
}

/// `N` bytes of a packet that are known to be there; offsets into it are checked when the program is compiled.
#[derive(Debug)]
pub struct View<'a, const N: usize> {
    start: *mut u8,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<const N: usize> View<'_, N> {
    /// The byte at `AT`.
    #[inline(always)]
    pub fn u8<const AT: usize>(&self) -> u8 {
        const { assert!(AT < N) };
        // SAFETY: `Packet::view` checked that N bytes follow `start`, and AT < N.
        unsafe { load(self.start.add(AT)) }
    }

    /// The 16 bits at `AT`.
    #[inline(always)]
    pub fn be16<const AT: usize>(&self) -> Be16 {
        const { assert!(AT + 2 <= N) };
        // SAFETY: as in `u8`, for two bytes.
        Be16::from_wire(unsafe { load(self.start.add(AT).cast()) })
    }

    /// The 32 bits at `AT`.
    #[inline(always)]
    pub fn be32<const AT: usize>(&self) -> Be32 {
        const { assert!(AT + 4 <= N) };
        // SAFETY: as in `u8`, for four bytes.
        Be32::from_wire(unsafe { load(self.start.add(AT).cast()) })
    }

    /// Writes the byte at `AT`.
    #[inline(always)]
    pub fn set_u8<const AT: usize>(&mut self, value: u8) {
        const { assert!(AT < N) };
        // SAFETY: as in `u8`.
        unsafe { store(self.start.add(AT), value) }
    }

    /// Writes the 16 bits at `AT`.
    #[inline(always)]
    pub fn set_be16<const AT: usize>(&mut self, value: Be16) {
        const { assert!(AT + 2 <= N) };
        // SAFETY: as in `u8`, for two bytes.
        unsafe { store(self.start.add(AT).cast(), value.wire()) }
    }

    /// Writes the 32 bits at `AT`.
    #[inline(always)]
    pub fn set_be32<const AT: usize>(&mut self, value: Be32) {
        const { assert!(AT + 4 <= N) };
        // SAFETY: as in `u8`, for four bytes.
        unsafe { store(self.start.add(AT).cast(), value.wire()) }
    }
}

/// Reads a value at any alignment.
///
/// # Safety
/// `size_of::<T>()` bytes from `from` must be valid for reads.
#[inline(always)]
unsafe fn load<T: Copy>(from: *const T) -> T {
    #[cfg(target_arch = "bpf")]
    {
        // An unaligned read would be compiled to single bytes, at twice the cost. The machines that run XDP natively
        // load at any alignment, and the verifier refuses the program on those that do not.
        // SAFETY: valid by the caller's promise; alignment as argued above.
        unsafe { *from }
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        // SAFETY: valid by the caller's promise.
        unsafe { from.read_unaligned() }
    }
}

/// Writes a value at any alignment.
///
/// # Safety
/// `size_of::<T>()` bytes from `to` must be valid for writes.
#[inline(always)]
unsafe fn store<T: Copy>(to: *mut T, value: T) {
    #[cfg(target_arch = "bpf")]
    {
        // SAFETY: as in `load`.
        unsafe { *to = value }
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        // SAFETY: valid by the caller's promise.
        unsafe { to.write_unaligned(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_never_reaches_past_the_end() {
        let mut bytes = [0; 20];
        let packet = Packet::new(&mut bytes);
        assert_eq!(packet.length(), 20);
        assert!(packet.view::<20>(0).is_some());
        assert!(packet.view::<21>(0).is_none());
        assert!(packet.view::<4>(16).is_some());
        assert!(packet.view::<4>(17).is_none());
        assert!(packet.view::<1>(20).is_none());
    }

    #[test]
    fn values_are_written_where_they_are_read() {
        let mut bytes = [0; 8];
        let packet = Packet::new(&mut bytes);
        let mut view = packet.view::<7>(1).unwrap();
        view.set_be16::<0>(Be16::new(0x0102));
        view.set_be32::<2>(Be32::new(0x0304_0506));
        view.set_u8::<6>(7);
        assert_eq!(
            (view.be16::<0>().get(), view.be32::<2>().get(), view.u8::<6>()),
            (0x0102, 0x0304_0506, 7)
        );
        assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
