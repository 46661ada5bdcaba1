//! One packet in, a copy for each receiver of a group (`docs/fan-out.md`): [`enqueue`] where it arrives, [`broadcast`] where it
//! is copied, [`deliver`] for each copy, [`further`] on the way to the next block.

pub(crate) mod broadcast;
pub(crate) mod deliver;
pub(crate) mod enqueue;
pub(crate) mod further;
pub(crate) mod losses;
mod metadata;
mod places;
pub(crate) mod witness;
