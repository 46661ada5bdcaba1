//! Decides by the bytes of packets, and keeps the book that the simulation compares with.

use std::cell::RefCell;

use relay_common::next_hop::NextHop;
use relay_common::punt::Metadata;
use relay_common::verdict::{Drop, LOSSES, Loss};

use super::super::copier::{Copier, Exit};
use super::super::handler::{Handler, Outcome, Packet};

/// What the worker decided, counted.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) handled: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    /// Packets that were copied, and receivers that they had together.
    pub(super) entered: u64,
    pub(super) wanted: u64,
    pub(super) copied: u64,
    pub(super) lost: [u64; LOSSES],
    pub(super) mistakes: Vec<String>,
}

/// Decides by the first bytes of the packet, and keeps the book.
pub(super) struct Decider {
    pub(super) book: RefCell<Book>,
    /// Receivers of the packet that is being copied.
    receivers: u8,
    /// The bytes that each copy must begin with.
    original: [u8; 3],
}

impl Decider {
    pub(super) fn new() -> Self {
        Self { book: RefCell::default(), receivers: 0, original: [0; 3] }
    }
}

impl Handler for Decider {
    fn handle(&mut self, metadata: &Metadata, packet: &mut Packet<'_>) -> Outcome {
        let book = self.book.get_mut();
        book.handled += 1;
        let (_, length) = packet.range();
        if metadata.reason != u32::try_from(length).unwrap_or(0) {
            book.mistakes.push(format!("metadata of another packet: {metadata:?}, {length} bytes"));
        }
        let [decision, device, growth, ..] = *packet.bytes() else { return Outcome::Drop(Drop::NotMedia) };
        if decision & 3 == 3 {
            book.entered += 1;
            (self.receivers, self.original) = (decision >> 2, [decision, device, growth]);
            return Outcome::Copy;
        }
        let _ = packet.grow_front(isize::from(growth) - 64);
        match decision & 3 {
            0 => Outcome::Drop(Drop::NoStream),
            1 => {
                let _ = packet.cut(usize::from(growth));
                Outcome::Answer { device: u32::from(device % 8), reason: Drop::TooBig }
            }
            _ => Outcome::Send { device: u32::from(device % 8) },
        }
    }

    fn sent(&mut self, _: &Metadata, _: usize) {
        self.book.get_mut().sent += 1;
    }

    fn dropped(&mut self, _: &Metadata, _: Drop, _: usize) {
        self.book.get_mut().dropped += 1;
    }
}

/// Receivers are numbered from 1. Each third has no way, each fifth gets a packet that is too big; they are behind all devices.
impl Copier for Decider {
    fn most(&self) -> usize {
        64
    }

    fn list(&self, _: u32, receivers: &mut Vec<u32>) {
        receivers.clear();
        receivers.extend(1..=u32::from(self.receivers));
        self.book.borrow_mut().wanted += u64::from(self.receivers);
    }

    fn exit(&self, receiver: u32) -> Result<Exit, Loss> {
        if receiver.is_multiple_of(3) {
            return Err(Loss::NoRoute);
        }
        let device = (u32::from(self.original[1]) + receiver) % 8;
        Ok(Exit { hop: NextHop { device, ..NextHop::default() }, ..Exit::default() })
    }

    fn rewrite(&self, receiver: u32, _: &Exit, packet: &mut Packet<'_>) -> Result<(), Loss> {
        if !packet.bytes().starts_with(&self.original) {
            self.book.borrow_mut().mistakes.push(format!("receiver {receiver} gets another packet"));
        }
        packet.bytes().fill(0xee);
        if receiver.is_multiple_of(5) {
            return Err(Loss::TooBig);
        }
        packet.grow_front(20 - isize::from(self.original[2] & 31)).ok_or(Loss::NoRoom)
    }

    fn copied(&self, _: u32, _: usize) {
        self.book.borrow_mut().copied += 1;
    }

    fn lost(&self, receiver: u32, loss: Loss) {
        let mut book = self.book.borrow_mut();
        book.lost[loss as usize] += 1;
        if receiver == 0 || receiver >= 64 {
            book.mistakes.push(format!("a copy was lost for receiver {receiver}, who is none"));
        }
    }
}
