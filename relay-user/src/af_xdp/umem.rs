//! The memory that frames lie in, registered with the kernel as a UMEM: frames of one size, one after the other. All
//! sockets of a worker share one, so that a packet that came in by one device leaves by another without a copy.

use std::io;
use std::sync::Arc;

use super::frames::Held;
use super::memory::Mapping;

/// What the kernel leaves free in front of a received packet (XDP_PACKET_HEADROOM): our metadata lies there, and
/// headers may grow into it.
pub(crate) const HEADROOM: usize = 256;

/// The memory of all frames of one worker.
#[derive(Debug)]
pub(crate) struct Umem {
    memory: Arc<Mapping>,
    frame_size: usize,
}

impl Umem {
    /// Room for `frames` frames of `frame_size` bytes, which must be 2,048 or 4,096: what the kernel takes for aligned
    /// frames.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(crate) fn new(frames: u32, frame_size: usize) -> io::Result<Self> {
        let length =
            frame_size.checked_mul(frames as usize).ok_or_else(|| io::Error::other("too many frames"))?;
        Ok(Self { memory: Arc::new(Mapping::anonymous(length)?), frame_size })
    }

    /// The memory itself.
    pub(crate) fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// Bytes of one frame.
    pub(crate) fn frame_size(&self) -> usize {
        self.frame_size
    }

    /// Number of the frame that an address of the kernel's lies in, and how far in.
    pub(crate) fn locate(&self, address: u64) -> Option<(u32, usize)> {
        let address = usize::try_from(address).ok()?;
        Some((u32::try_from(address / self.frame_size).ok()?, address % self.frame_size))
    }

    /// What the kernel calls the byte `offset` of a frame.
    pub(crate) fn address(&self, held: &Held, offset: usize) -> u64 {
        (held.index() as usize * self.frame_size + offset) as u64
    }

    /// The bytes of a frame.
    pub(crate) fn bytes<'a>(&'a self, held: &'a mut Held) -> &'a mut [u8] {
        let start = self.memory.at::<u8>(held.index() as usize * self.frame_size, self.frame_size);
        let Some(start) = start else { return &mut [] };
        // SAFETY: in the mapping, as just checked, which lives as long as the borrow of `self`. There is one `Held` for
        // a frame, the slice borrows it mutably, and while it exists the kernel does not have the frame.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.frame_size) }
    }
}
