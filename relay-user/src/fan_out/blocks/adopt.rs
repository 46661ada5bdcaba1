//! Going on with the groups that a predecessor left in the records. Those are the truth, because the program reads them; what
//! makes no sense in them is taken out, so that what is left is whole.

use std::collections::HashSet;
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::fan_out::{Block, Group, SEATS};
use relay_common::limits::DEVICES;

use super::{Blocks, Chain, Seat, Used, seat_offset};

/// What there is to take over.
pub(in crate::fan_out) struct Left<'a, R> {
    /// The legs that may have receivers.
    pub(in crate::fan_out) sources: &'a [u32],
    /// Whether a leg may be a receiver.
    pub(in crate::fan_out) may_receive: R,
    /// How many CPUs may make copies.
    pub(in crate::fan_out) cpus: u32,
}

impl Blocks {
    /// Takes over the groups of these legs. Nothing changes for a packet that is on its way, unless a record was damaged, or
    /// written half.
    pub(in crate::fan_out) fn adopt<R: Fn(u32) -> bool>(&mut self, left: &Left<'_, R>, now: Instant) {
        let mut seen = HashSet::new();
        // When a source was switched, the one before leads to the same blocks still: they belong to the leg that they name,
        // and to the one before if the switch was not finished.
        let (named, others): (Vec<u32>, Vec<u32>) =
            left.sources.iter().partition(|source| self.names(self.head(**source), **source));
        for source in named.into_iter().chain(others) {
            self.adopt_chain(source, left, &mut seen);
        }
        for source in (0..self.groups.length()).filter(|source| !self.chains.contains_key(source)) {
            if self.head(source) != 0 {
                self.groups.word32(source, offset_of!(Group, head)).store(0, Ordering::Release);
            }
        }
        let has_lived = |block: &u32| self.word(*block, offset_of!(Block, generation)) != 0;
        let last =
            (1..self.blocks.length()).rev().find(|block| self.used.contains_key(block) || has_lived(block));
        self.never_used = last.map_or(1, |last| last + 1);
        // A predecessor may have freed some of them just now.
        let free = (1..self.never_used).filter(|block| !self.used.contains_key(block));
        self.resting.extend(free.map(|block| (block, now)));
    }

    fn adopt_chain<R: Fn(u32) -> bool>(&mut self, source: u32, left: &Left<'_, R>, seen: &mut HashSet<u32>) {
        let cpu = self.groups.word32(source, offset_of!(Group, cpu)).load(Ordering::Relaxed);
        if cpu >= left.cpus {
            return;
        }
        let (groups, blocks) = (self.groups.clone(), self.blocks.clone());
        let mut link = groups.word32(source, offset_of!(Group, head));
        let mut chain = Vec::new();
        loop {
            let block = link.load(Ordering::Relaxed);
            if block == 0 {
                break;
            }
            // A chain that leads to another, or bites its tail.
            if block >= blocks.length() || !seen.insert(block) {
                link.store(0, Ordering::Release);
                break;
            }
            let next = blocks.word32(block, offset_of!(Block, next));
            if self.adopt_block(source, block, &left.may_receive) {
                self.correct(block, offset_of!(Block, cpu), cpu);
                self.correct(block, offset_of!(Block, source), source);
                chain.push(block);
                link = next;
            } else {
                link.store(next.load(Ordering::Relaxed), Ordering::Release);
            }
        }
        if !chain.is_empty() {
            self.chains.insert(source, Chain { blocks: chain, cpu });
        }
    }

    /// Seats whoever sits in a block rightly. `false`: nobody does.
    fn adopt_block(&mut self, source: u32, block: u32, may_receive: &impl Fn(u32) -> bool) -> bool {
        let device = self.word(block, offset_of!(Block, device));
        let mut taken = 0_u32;
        for seat in (0..u32::BITS).take(SEATS) {
            let receiver = self.word(block, seat_offset(seat));
            let is_right = device < DEVICES && !self.seats.contains_key(&receiver) && may_receive(receiver);
            if receiver != 0 && is_right {
                taken |= 1 << seat;
                self.seats.insert(receiver, Seat { source, block, seat });
            } else {
                self.correct(block, seat_offset(seat), 0);
            }
        }
        // Who was joining when the predecessor was killed may not be counted yet.
        self.correct(block, offset_of!(Block, seats), u32::BITS - taken.leading_zeros());
        if taken != 0 {
            self.used.insert(block, Used { device, taken });
        }
        taken != 0
    }

    /// The first block of a leg's group.
    fn head(&self, source: u32) -> u32 {
        self.groups.word32(source, offset_of!(Group, head)).load(Ordering::Relaxed)
    }

    /// Whether a block says that it is of this leg's group.
    fn names(&self, block: u32, source: u32) -> bool {
        (1..self.blocks.length()).contains(&block) && self.word(block, offset_of!(Block, source)) == source
    }

    fn word(&self, block: u32, offset: usize) -> u32 {
        self.blocks.word32(block, offset).load(Ordering::Relaxed)
    }

    /// Writes a word that is not what it should be.
    fn correct(&self, block: u32, offset: usize, expected: u32) {
        if self.word(block, offset) != expected {
            self.blocks.word32(block, offset).store(expected, Ordering::Release);
        }
    }
}
