//! Who sits where: groups are chains of blocks, and a block has a seat for each receiver. Whoever joins or leaves changes single
//! words, so that packets which are being copied meanwhile are not disturbed.

mod adopt;

use std::collections::{HashMap, VecDeque};
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::fan_out::{Block, Group, SEATS};

use crate::kernel::SharedArray;
use crate::slots::REST;

pub(super) use adopt::Left;

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

    /// Whether no leg has receivers.
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty()
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
            self.begin(source, cpu);
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

    /// Begins another life of a group's record, for packets that arrive from now on.
    fn begin(&self, source: u32, cpu: u32) {
        let life = self.groups.word32(source, offset_of!(Group, generation));
        life.store(life.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.groups.word32(source, offset_of!(Group, cpu)).store(cpu, Ordering::Release);
    }

    /// Makes the group of a leg that of another, which has none. The record of the first still leads to the blocks, for
    /// packets that wait: they come out before those of the next, because the CPU stays the same.
    pub(super) fn switch(&mut self, source: u32, next: u32) {
        let Some(chain) = self.chains.remove(&source) else { return };
        let Some(first) = chain.blocks.first() else { return };
        for block in &chain.blocks {
            self.blocks.word32(*block, offset_of!(Block, source)).store(next, Ordering::Release);
            for receiver in self.blocks.read(*block).receivers {
                if let Some(seat) = self.seats.get_mut(&receiver) {
                    seat.source = next;
                }
            }
        }
        self.begin(next, chain.cpu);
        self.groups.word32(next, offset_of!(Group, head)).store(*first, Ordering::Release);
        self.chains.insert(next, chain);
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
mod tests;
