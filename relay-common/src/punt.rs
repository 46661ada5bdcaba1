//! Packets that user space must see: what the kernel half writes in front of them, and where it sends them.

/// Receive queues of one device that have a socket; packets of a queue beyond take the kernel path.
pub const QUEUES_PER_DEVICE: u32 = 64;

/// Elements of the `PUNTS` map: a socket for each queue of each device.
pub const SOCKETS: u32 = crate::limits::DEVICES * QUEUES_PER_DEVICE;

/// Where the `PUNTS` map has the socket of a device's receive queue. `None`: a queue that can have none.
#[inline(always)]
pub const fn socket_index(device: u32, queue: u32) -> Option<u32> {
    if device >= crate::limits::DEVICES || queue >= QUEUES_PER_DEVICE {
        return None;
    }
    Some(device * QUEUES_PER_DEVICE + queue)
}

/// Every packet of the leg goes to user space.
pub const EVERY_PACKET: u32 = 1;
/// The packet is RTCP, and the leg's RTCP ends here.
pub const RTCP: u32 = 2;

/// The 16 bytes right in front of a punted frame. Numbers are in the machine's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Metadata {
    /// Slot of the leg that the packet is addressed to.
    pub leg: u32,
    /// The leg's generation, so that a packet of a removed leg is not taken for one of its successor.
    pub generation: u32,
    /// Why it was punted: [`EVERY_PACKET`] or [`RTCP`].
    pub reason: u32,
    /// Slot of the device that it arrived on, as in the `DEVICES` map.
    pub device: u32,
}

impl Metadata {
    /// Bytes of the metadata; the kernel takes multiples of four up to 32 everywhere.
    pub const LENGTH: usize = size_of::<Self>();

    /// From the bytes in front of a frame.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            leg: u32::from_ne_bytes([a, b, c, d]),
            generation: u32::from_ne_bytes([e, f, g, h]),
            reason: u32::from_ne_bytes([i, j, k, l]),
            device: u32::from_ne_bytes([m, n, o, p]),
        }
    }

    /// As the bytes in front of a frame.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let words = [self.leg, self.generation, self.reason, self.device];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_its_bytes() {
        let metadata = Metadata { leg: 7, generation: 0x0102_0304, reason: RTCP, device: 255 };
        assert_eq!(Metadata::from_bytes(metadata.to_bytes()), metadata);
        assert_eq!(Metadata::LENGTH, 16);
    }

    #[test]
    fn every_queue_has_a_place_of_its_own() {
        assert_eq!(socket_index(0, 63), Some(63));
        assert_eq!(socket_index(1, 0), Some(64));
        assert_eq!(socket_index(255, 63), Some(SOCKETS - 1));
        assert_eq!(socket_index(0, 64), None);
        assert_eq!(socket_index(256, 0), None);
    }
}
