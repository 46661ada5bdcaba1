//! Groups as a worker of this process sees them while it copies packets. It reads what the one writer, behind a lock, changes
//! word by word, and takes no lock itself.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use relay_common::fan_out::{BLOCKS, Block, Group, Losses, Receiver, SEATS};
use relay_common::leg::{Traffic, traffic_index};
use relay_common::retag::Retag;
use relay_common::verdict::Loss;

use super::Records;
use super::blocks::seat_offset;

/// How often a chain is read again when one of its blocks went to another group meanwhile. A block rests for 100 ms before it
/// does, so that it takes a worker which slept in the middle of a list.
const ATTEMPTS: usize = 4;

/// The groups, and where this worker counts.
pub(crate) struct Reader {
    records: Records,
    stretch: u32,
}

impl Reader {
    /// Counts in a stretch of its own.
    pub(crate) fn new(records: Records, stretch: u32) -> Self {
        Self { records, stretch }
    }

    /// Most receivers that a list can have.
    pub(crate) fn capacity(&self) -> usize {
        self.records.receivers.length() as usize
    }

    /// Lists the receivers of a leg, by the order of their seats. The list does not grow beyond its capacity.
    pub(crate) fn list(&self, source: u32, receivers: &mut Vec<u32>) {
        for _ in 0..ATTEMPTS {
            receivers.clear();
            if self.walk(source, receivers).is_some() {
                return;
            }
        }
    }

    /// `None`: the chain leads to another group.
    fn walk(&self, source: u32, receivers: &mut Vec<u32>) -> Option<()> {
        let groups = &self.records.groups;
        groups.pointer(source)?;
        let mut block = groups.word32(source, offset_of!(Group, head)).load(Ordering::Acquire);
        // No chain is longer.
        for _ in 0..BLOCKS {
            if block == 0 {
                return Some(());
            }
            let life = self.block_word(block, offset_of!(Block, generation)).load(Ordering::Acquire);
            if self.block_word(block, offset_of!(Block, source)).load(Ordering::Acquire) != source {
                return None;
            }
            let seats = self.block_word(block, offset_of!(Block, seats)).load(Ordering::Acquire);
            for seat in (0..seats).take(SEATS) {
                let receiver = self.block_word(block, seat_offset(seat)).load(Ordering::Acquire);
                if receiver != 0 && receivers.len() < receivers.capacity() {
                    receivers.push(receiver);
                }
            }
            let next = self.block_word(block, offset_of!(Block, next)).load(Ordering::Acquire);
            // What was read above is read before the look at the generation.
            fence(Ordering::Acquire);
            if self.block_word(block, offset_of!(Block, generation)).load(Ordering::Relaxed) != life {
                return None;
            }
            block = next;
        }
        None
    }

    fn block_word(&self, block: u32, offset: usize) -> &AtomicU32 {
        self.records.blocks.word32(block, offset)
    }

    /// Where the packets of a receiver go.
    pub(crate) fn receiver(&self, receiver: u32) -> Option<Receiver> {
        self.records.receivers.pointer(receiver)?;
        Some(self.records.receivers.read_settled(receiver))
    }

    /// How they are retagged: aligned, and valid for reads and writes as long as this reader lives.
    pub(crate) fn retag(&self, receiver: u32) -> Option<*mut Retag> {
        let record = self.records.receivers.pointer(receiver)?;
        // SAFETY: within the record, which `pointer` promises to be mapped.
        Some(unsafe { &raw mut (*record).retag })
    }

    /// A packet of a leg is about to be copied.
    pub(crate) fn entered(&self, source: u32) {
        if self.records.groups.pointer(source).is_some() {
            let entered = self.records.groups.word64(source, offset_of!(Group, entered));
            entered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts copies that were handed to the network stack, or to a device.
    pub(crate) fn sent(&self, receiver: u32, packets: u64, bytes: u64) {
        let traffic = &self.records.traffic;
        let at = traffic_index(self.stretch, self.records.receivers.length(), receiver);
        if traffic.pointer(at).is_some() {
            traffic.word64(at, offset_of!(Traffic, packets)).fetch_add(packets, Ordering::Relaxed);
            traffic.word64(at, offset_of!(Traffic, bytes)).fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts copies that did not leave.
    pub(crate) fn lost(&self, receiver: u32, loss: Loss, packets: u64) {
        if self.records.losses.pointer(receiver).is_some() {
            let place = offset_of!(Losses, packets) + loss as usize * size_of::<u64>();
            self.records.losses.word64(receiver, place).fetch_add(packets, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::fan_out::FanOut;

    /// Groups without a kernel half, and a reader of them.
    fn groups() -> (FanOut, Reader) {
        let records = Records::for_legs(200, 1).unwrap();
        (FanOut::by_sockets(records.clone(), 201, 1, ""), Reader::new(records, 0))
    }

    fn listed(reader: &Reader, source: u32) -> Vec<u32> {
        let mut receivers = Vec::with_capacity(reader.capacity());
        reader.list(source, &mut receivers);
        receivers
    }

    #[test]
    fn a_worker_sees_who_is_in_a_group_whatever_came_and_went() {
        let (mut groups, reader) = groups();
        let now = Instant::now();
        assert_eq!(listed(&reader, 1), []);
        for receiver in 10..110 {
            groups.join(1, receiver, 0, Receiver::default(), &[0], now).unwrap();
        }
        groups.join(2, 150, 0, Receiver::default(), &[0], now).unwrap();
        assert_eq!(listed(&reader, 1), (10..110).collect::<Vec<_>>());
        // Whole blocks, and a seat of the first.
        for receiver in (40..70).chain([11]) {
            groups.leave(receiver, now);
        }
        assert_eq!(listed(&reader, 1), [10].into_iter().chain(12..40).chain(70..110).collect::<Vec<_>>());
        assert_eq!(listed(&reader, 2), [150]);
        // Its place is used again when it has rested, by another group.
        let later = now + Duration::from_secs(1);
        for receiver in 160..195 {
            groups.join(2, receiver, 0, Receiver::default(), &[0], later).unwrap();
        }
        assert_eq!(listed(&reader, 2), [150].into_iter().chain(160..195).collect::<Vec<_>>());
        assert_eq!(listed(&reader, 1).len(), 69);
    }

    #[test]
    fn a_list_that_was_read_into_another_group_is_not_used() {
        let (mut groups, reader) = groups();
        let now = Instant::now();
        groups.join(1, 10, 0, Receiver::default(), &[0], now).unwrap();
        let head = |source| reader.records.groups.word32(source, offset_of!(Group, head));
        // As a worker sees it that read the head before the block went to leg 1.
        head(2).store(head(1).load(Ordering::Relaxed), Ordering::Relaxed);
        assert_eq!(listed(&reader, 2), []);
    }

    #[test]
    fn copies_are_counted_for_their_receiver_by_each_worker() {
        let (groups, reader) = groups();
        reader.sent(7, 3, 300);
        Reader { stretch: 1, ..reader }.sent(7, 1, 50);
        let (sent, lost) = groups.counted(7);
        assert_eq!(((sent.packets, sent.bytes), lost), ((4, 350), Vec::new()));
    }
}
