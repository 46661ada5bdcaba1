//! Who sits where: groups are chains of blocks, and a block has a seat for each receiver. Whoever joins or leaves changes single
//! words, so that packets which are being copied meanwhile are not disturbed.

use std::collections::{HashMap, VecDeque};
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::fan_out::{Block, Group, SEATS};

use crate::kernel::SharedArray;
use crate::slots::REST;

/// [`Used::taken`] of a block that has no room.
const FULL: u32 = u32::MAX >> (u32::BITS as usize - SEATS);

/// Where a receiver sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    /// The leg whose packets it receives.
    source: u32,
    block: u32,
    seat: u32,
}

/// A block in use.
struct Used {
    device: u32,
    /// Bit n says that seat n is taken.
    taken: u32,
}

/// The blocks of a group, in the order of their passes.
struct Chain {
    blocks: Vec<u32>,
    cpu: u32,
}

/// All groups.
pub(super) struct Blocks {
    groups: SharedArray<Group>,
    blocks: SharedArray<Block>,
    /// By the leg that packets arrive on.
    chains: HashMap<u32, Chain>,
    used: HashMap<u32, Used>,
    /// By the receiver's leg.
    seats: HashMap<u32, Seat>,
    free: Vec<u32>,
    /// Packets may still lead to these.
    resting: VecDeque<(u32, Instant)>,
    never_used: u32,
}

impl Blocks {
    pub(super) fn new(groups: SharedArray<Group>, blocks: SharedArray<Block>) -> Self {
        Self {
            groups,
            blocks,
            chains: HashMap::new(),
            used: HashMap::new(),
            seats: HashMap::new(),
            free: Vec::new(),
            resting: VecDeque::new(),
            // Block 0 means "none".
            never_used: 1,
        }
    }

    /// Whether a leg has receivers.
    pub(super) fn has_group(&self, source: u32) -> bool {
        self.chains.contains_key(&source)
    }

    /// The device of the block that a receiver sits in.
    pub(super) fn device(&self, receiver: u32) -> Option<u32> {
        self.used.get(&self.seats.get(&receiver)?.block).map(|block| block.device)
    }

    /// The CPU that copies a group, and its blocks.
    pub(super) fn group(&self, source: u32) -> Option<(u32, usize)> {
        self.chains.get(&source).map(|chain| (chain.cpu, chain.blocks.len()))
    }

    /// How many groups each of these CPUs copies.
    pub(super) fn load(&self, cpu: u32) -> usize {
        self.chains.values().filter(|chain| chain.cpu == cpu).count()
    }

    /// Gives a receiver behind a device a seat. `cpu` makes the copies if this is the group's first. `false`: every block is
    /// in use.
    pub(super) fn join(&mut self, source: u32, receiver: u32, device: u32, cpu: u32, now: Instant) -> bool {
        if !self.chains.contains_key(&source) {
            let life = self.groups.word32(source, offset_of!(Group, generation));
            life.store(life.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            self.groups.word32(source, offset_of!(Group, cpu)).store(cpu, Ordering::Release);
            self.chains.insert(source, Chain { blocks: Vec::new(), cpu });
        }
        let blocks = self.chains.get(&source).map_or(&[][..], |chain| &chain.blocks);
        let room = blocks.iter().copied().find(|block| {
            self.used.get(block).is_some_and(|used| used.device == device && used.taken != FULL)
        });
        match room {
            Some(block) => self.sit(source, receiver, block),
            None => return self.append(source, receiver, device, now),
        }
        true
    }

    /// Takes the first free seat of a block.
    fn sit(&mut self, source: u32, receiver: u32, block: u32) {
        let Some(used) = self.used.get_mut(&block) else { return };
        let seat = used.taken.trailing_ones();
        used.taken |= 1 << seat;
        self.blocks.word32(block, seat_offset(seat)).store(receiver, Ordering::Release);
        let seats = self.blocks.word32(block, offset_of!(Block, seats));
        if seats.load(Ordering::Relaxed) <= seat {
            // After the seat: who counts it in finds somebody there.
            seats.store(seat + 1, Ordering::Release);
        }
        self.seats.insert(receiver, Seat { source, block, seat });
    }

    /// Begins another block at the end of a chain.
    fn append(&mut self, source: u32, receiver: u32, device: u32, now: Instant) -> bool {
        let Some(block) = self.take(now) else {
            self.end_if_empty(source);
            return false;
        };
        let Some(chain) = self.chains.get_mut(&source) else { return false };
        let mut receivers = [0; SEATS];
        receivers[0] = receiver;
        let generation =
            self.blocks.word32(block, offset_of!(Block, generation)).load(Ordering::Relaxed).wrapping_add(1);
        let record =
            Block { seats: 1, next: 0, device, generation, cpu: chain.cpu, source, receivers, reserved: 0 };
        self.blocks.write(block, record);
        let link = match chain.blocks.last() {
            Some(last) => self.blocks.word32(*last, offset_of!(Block, next)),
            None => self.groups.word32(source, offset_of!(Group, head)),
        };
        // Release: a program that sees the link sees the whole block behind it.
        link.store(block, Ordering::Release);
        chain.blocks.push(block);
        self.used.insert(block, Used { device, taken: 1 });
        self.seats.insert(receiver, Seat { source, block, seat: 0 });
        true
    }

    /// Takes a receiver out of its group. Says whose group it was, and whether that has ended with it.
    pub(super) fn leave(&mut self, receiver: u32, now: Instant) -> Option<(u32, bool)> {
        let Seat { source, block, seat } = self.seats.remove(&receiver)?;
        let used = self.used.get_mut(&block)?;
        self.blocks.word32(block, seat_offset(seat)).store(0, Ordering::Release);
        used.taken &= !(1 << seat);
        let seats = u32::BITS - used.taken.leading_zeros();
        self.blocks.word32(block, offset_of!(Block, seats)).store(seats, Ordering::Release);
        if used.taken == 0 {
            self.unlink(source, block, now);
        }
        Some((source, self.end_if_empty(source)))
    }

    /// Takes an empty block out of its chain. Its record still leads to the rest, for packets that are on their way there.
    fn unlink(&mut self, source: u32, block: u32, now: Instant) {
        self.used.remove(&block);
        self.resting.push_back((block, now));
        let Some(chain) = self.chains.get_mut(&source) else { return };
        let Some(at) = chain.blocks.iter().position(|other| *other == block) else { return };
        chain.blocks.remove(at);
        let link = match at.checked_sub(1).and_then(|before| chain.blocks.get(before)) {
            Some(before) => self.blocks.word32(*before, offset_of!(Block, next)),
            None => self.groups.word32(source, offset_of!(Group, head)),
        };
        link.store(chain.blocks.get(at).copied().unwrap_or(0), Ordering::Release);
    }

    /// Ends a group that has no receiver any more.
    fn end_if_empty(&mut self, source: u32) -> bool {
        let is_empty = self.chains.get(&source).is_some_and(|chain| chain.blocks.is_empty());
        if is_empty {
            self.chains.remove(&source);
        }
        is_empty
    }

    /// The receivers of a leg, by the order of their seats.
    pub(super) fn receivers(&self, source: u32) -> Vec<u32> {
        let blocks = self.chains.get(&source).map_or(&[][..], |chain| &chain.blocks);
        let sitting = |block: &u32| self.blocks.read(*block).receivers;
        blocks.iter().flat_map(sitting).filter(|receiver| *receiver != 0).collect()
    }

    /// A block that nobody uses.
    fn take(&mut self, now: Instant) -> Option<u32> {
        while let Some((block, since)) = self.resting.front().copied() {
            if now.duration_since(since) < REST {
                break;
            }
            self.resting.pop_front();
            self.free.push(block);
        }
        if let Some(block) = self.free.pop() {
            return Some(block);
        }
        if self.never_used >= self.blocks.length() {
            return None;
        }
        self.never_used += 1;
        Some(self.never_used - 1)
    }
}

/// Where a seat is in the record of its block.
pub(super) fn seat_offset(seat: u32) -> usize {
    offset_of!(Block, receivers) + seat as usize * size_of::<u32>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SOURCES: u32 = 3;

    fn blocks(room: u32) -> Blocks {
        Blocks::new(SharedArray::in_memory(SOURCES + 1), SharedArray::in_memory(room + 1))
    }

    /// What the kernel half would serve for a source: each receiver with its device, block and seat, in the order of passes.
    fn served(blocks: &Blocks, source: u32) -> Vec<(u32, u32, u32, usize)> {
        let mut found = Vec::new();
        let mut block = blocks.groups.read(source).head;
        while block != 0 {
            let record = blocks.blocks.read(block);
            assert_eq!(record.source, source);
            let (sitting, beyond) = record.receivers.split_at(record.seats as usize);
            assert!(beyond.iter().all(|receiver| *receiver == 0), "nobody sits where no copy is made");
            let seats = sitting.iter().copied().enumerate().filter(|(_, receiver)| *receiver != 0);
            found.extend(seats.map(|(seat, receiver)| (receiver, record.device, block, seat)));
            block = record.next;
        }
        found
    }

    #[test]
    fn a_block_is_full_before_the_next_begins_and_holes_are_filled_first() {
        let (mut blocks, now) = (blocks(4), Instant::now());
        let seats = u32::try_from(SEATS).unwrap();
        assert!((1..=seats + 1).all(|receiver| blocks.join(1, receiver, 0, 0, now)));
        assert_eq!(blocks.group(1), Some((0, 2)));
        let place =
            |blocks: &Blocks, receiver| served(blocks, 1).into_iter().find(|found| found.0 == receiver);
        let left = place(&blocks, 3).unwrap();
        assert_eq!(blocks.leave(3, now), Some((1, false)));
        assert!(blocks.join(1, 99, 0, 0, now));
        assert_eq!(place(&blocks, 99).unwrap(), (99, left.1, left.2, left.3));
    }

    #[test]
    fn a_removed_block_leads_on_and_rests_before_its_next_life() {
        let (mut blocks, now) = (blocks(3), Instant::now());
        assert!((0..3).all(|device| blocks.join(1, device + 1, device, 0, now)));
        let [first, middle, last] =
            served(&blocks, 1).iter().map(|found| found.2).collect::<Vec<_>>().try_into().unwrap();
        let generation = blocks.blocks.read(middle).generation;
        blocks.leave(2, now);
        assert_eq!(blocks.blocks.read(first).next, last);
        assert_eq!(blocks.blocks.read(middle).next, last, "for packets that stand there");
        assert!(!blocks.join(2, 9, 0, 0, now + REST / 2), "it rests, and there is no other");
        assert!(!blocks.has_group(2));
        assert!(blocks.join(2, 9, 0, 0, now + REST));
        assert_eq!(served(&blocks, 2)[0].2, middle);
        assert_eq!(blocks.blocks.read(middle).generation, generation + 1);
    }

    #[test]
    fn a_group_has_another_generation_in_its_next_life() {
        let (mut blocks, now) = (blocks(2), Instant::now());
        assert!(blocks.join(1, 5, 0, 1, now));
        let before = blocks.groups.read(1);
        assert_eq!((before.cpu, blocks.leave(5, now)), (1, Some((1, true))));
        assert_eq!(blocks.groups.read(1).head, 0);
        assert!(blocks.join(1, 6, 0, 1, now));
        assert_eq!(blocks.groups.read(1).generation, before.generation + 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn everybody_is_served_once_and_keeps_the_seat(
            steps in prop::collection::vec((0..4_u8, 1..=SOURCES, 1_u32..120, 0_u32..3), 0..400),
        ) {
            let mut blocks = blocks(64);
            let mut now = Instant::now();
            let mut there: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
            let mut seats: BTreeMap<u32, (u32, u32, u32, usize)> = BTreeMap::new();
            for (kind, source, receiver, device) in steps {
                now += Duration::from_millis(40);
                if kind == 0 {
                    let left = blocks.leave(receiver, now);
                    prop_assert_eq!(left.map(|(source, _)| source), there.remove(&receiver).map(|(source, _)| source));
                    seats.remove(&receiver);
                } else if !there.contains_key(&receiver) && blocks.join(source, receiver, device, 0, now) {
                    there.insert(receiver, (source, device));
                }
                let mut found = 0;
                for source in 1..=SOURCES {
                    let serving = served(&blocks, source);
                    prop_assert_eq!(blocks.has_group(source), !serving.is_empty());
                    for place in serving {
                        found += 1;
                        prop_assert_eq!(there.get(&place.0), Some(&(source, place.1)));
                        prop_assert_eq!(*seats.entry(place.0).or_insert(place), place);
                    }
                }
                prop_assert_eq!(found, there.len());
            }
        }
    }
}
