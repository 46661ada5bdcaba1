//! What becomes of a punted packet is decided behind this trait; the worker knows frames and rings, not media.

use relay_common::punt::Metadata;
use relay_common::verdict::Drop;

/// A packet in its frame, with room in front and behind.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    frame: &'a mut [u8],
    start: usize,
    length: usize,
}

impl<'a> Packet<'a> {
    /// The `length` bytes of a frame from `start` on. `None` if the frame does not have them.
    pub(crate) fn new(frame: &'a mut [u8], start: usize, length: usize) -> Option<Self> {
        (start.checked_add(length)? <= frame.len()).then_some(Self { frame, start, length })
    }

    /// From the Ethernet header to the end.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // `new` and the methods below keep the range inside.
        self.frame.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }

    /// Moves the start of the packet: `bytes` more in front, or fewer if negative; what is there then is for the
    /// caller to write. `None`, and nothing changed, if there is no room.
    pub(crate) fn grow_front(&mut self, bytes: isize) -> Option<()> {
        let start = self.start.checked_add_signed(bytes.checked_neg()?)?;
        let length = self.length.checked_add_signed(bytes)?;
        if start + length > self.frame.len() {
            return None;
        }
        (self.start, self.length) = (start, length);
        Some(())
    }

    /// Keeps the first `length` bytes. `None`, and nothing changed, if there are not so many.
    pub(crate) fn cut(&mut self, length: usize) -> Option<()> {
        if length > self.length {
            return None;
        }
        self.length = length;
        Some(())
    }

    /// Where it starts, and its bytes.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.start, self.length)
    }

    /// The metadata that the kernel half wrote right in front. `None` if there is no room for it.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        let bytes = self.frame.get(self.start.checked_sub(Metadata::LENGTH)?..self.start)?;
        Some(Metadata::from_bytes(bytes.try_into().ok()?))
    }
}

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It leaves as it is now, by the device of this slot.
    Send {
        /// Slot in the `DEVICES` map.
        device: u32,
    },
    /// It must not go on.
    Drop(Drop),
    /// It must not go on; what it is now, an answer to its sender, leaves by the device of this slot.
    Answer {
        /// Slot in the `DEVICES` map.
        device: u32,
        /// Why it must not go on.
        reason: Drop,
    },
    /// A copy goes to each receiver of the group of the leg that it arrived for ([`super::copier::Copier`]).
    Copy,
}

/// Decides about punted packets. One for each worker, on the worker's thread; it must not block.
pub(crate) trait Handler {
    /// Decides about a packet, and rewrites it if it is to leave.
    fn handle(&mut self, metadata: &Metadata, packet: &mut Packet<'_>) -> Outcome;

    /// The packet that was just decided about leaves, or is copied. `bytes` as it arrived.
    fn sent(&mut self, metadata: &Metadata, bytes: usize);

    /// It was dropped, by the handler's decision or because the device did not take it. `bytes` as it arrived.
    fn dropped(&mut self, metadata: &Metadata, reason: Drop, bytes: usize);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_never_leaves_its_frame() {
        let mut frame = [0; 64];
        assert!(Packet::new(&mut frame, 60, 5).is_none());
        let mut packet = Packet::new(&mut frame, 20, 40).unwrap();
        assert_eq!(packet.grow_front(21), None);
        assert_eq!(packet.grow_front(20), Some(()));
        assert_eq!(packet.range(), (0, 60));
        assert_eq!(packet.grow_front(-61), None);
        assert_eq!(packet.bytes().len(), 60);
        assert_eq!(packet.grow_front(-60), Some(()));
        assert_eq!(packet.grow_front(isize::MIN), None);
        assert!(packet.bytes().is_empty());
        assert_eq!((packet.grow_front(60), packet.cut(61), packet.cut(3)), (Some(()), None, Some(())));
        assert_eq!(packet.range(), (0, 3));
    }

    #[test]
    fn metadata_lies_right_in_front() {
        let metadata = Metadata { leg: 1, generation: 2, reason: 3, device: 4 };
        let mut frame = [0; 64];
        frame[4..20].copy_from_slice(&metadata.to_bytes());
        assert_eq!(Packet::new(&mut frame, 20, 10).unwrap().metadata(), Some(metadata));
        assert_eq!(Packet::new(&mut frame, 15, 10).unwrap().metadata(), None);
    }
}
