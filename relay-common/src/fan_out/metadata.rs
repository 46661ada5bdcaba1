//! What stands in front of a frame on its way through the passes of a fan-out.

/// Bytes right in front of the frame. Copies carry them too, because the kernel copies what is in front of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Metadata {
    /// Number of the broadcast on its CPU. While the packet waits for it, the number of its place in the queue
    /// ([`super::Queue`]); 0 before it has one.
    pub number: u64,
    /// The block that is served; 0 before the first.
    pub block: u32,
    /// Generation of that block; before the first, of the group.
    pub generation: u32,
    /// Copies that were asked for.
    pub seats: u32,
    /// Index of the leg that the packet arrived on.
    pub source: u32,
}

impl Metadata {
    /// Bytes of the metadata; the kernel takes multiples of four up to 32 everywhere.
    pub const LENGTH: usize = size_of::<Self>();

    /// As the bytes in front of a frame.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let number = self.number.to_ne_bytes();
        let words = [self.block, self.generation, self.seats, self.source].map(u32::to_ne_bytes);
        for (place, byte) in bytes.iter_mut().zip(number.into_iter().chain(words.into_iter().flatten())) {
            *place = byte;
        }
        bytes
    }

    /// A packet of the leg `source` that waits in this place for its first broadcast.
    #[inline(always)]
    pub const fn first(source: u32, generation: u32, place: u64) -> Self {
        Self { number: place, block: 0, generation, seats: 0, source }
    }

    /// A packet of the leg `source` that waits in this place for the broadcast to the receivers of this block.
    #[inline(always)]
    pub const fn further(source: u32, block: u32, generation: u32, place: u64) -> Self {
        Self { number: place, block, generation, seats: 0, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_record() {
        let metadata =
            Metadata { number: 0x0102_0304_0506_0708, block: 9, generation: 10, seats: 11, source: 12 };
        // SAFETY: a structure of integers without padding.
        let expected: [u8; Metadata::LENGTH] = unsafe { core::mem::transmute(metadata) };
        assert_eq!(metadata.to_bytes(), expected);
    }
}
