//! The one writer of the kernel's leg table: slots, bucket chains, and the order of stores that lets the program read
//! at any moment.

use std::collections::{HashMap, VecDeque};
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay_common::leg::{Leg, LegKey};
use relay_common::limits::{LEG_BUCKETS, LEGS_PER_BUCKET};

use crate::kernel::SharedArray;

/// A freed slot rests this long: a program that found it just before it was unlinked has long finished.
const REST: Duration = Duration::from_millis(100);

/// Why a leg cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    /// Every slot is taken.
    Full,
    /// Another leg has this address and port.
    Taken,
    /// Too many addresses share the bucket of this port.
    BucketFull,
}

/// The leg table.
pub(crate) struct LegTable {
    buckets: SharedArray<u32>,
    legs: SharedArray<Leg>,
    installed: HashMap<LegKey, u32>,
    never_used: u32,
    resting: VecDeque<(u32, Instant)>,
}

impl LegTable {
    /// An empty table in freshly loaded maps.
    pub(crate) fn new(buckets: SharedArray<u32>, legs: SharedArray<Leg>) -> Self {
        Self { buckets, legs, installed: HashMap::new(), never_used: 1, resting: VecDeque::new() }
    }

    /// How many more legs fit.
    pub(crate) fn free(&self) -> usize {
        (self.legs.length() as usize).saturating_sub(1 + self.installed.len())
    }

    /// A slot for a leg of this key; the kernel does not know of it yet.
    pub(crate) fn reserve(&mut self, key: LegKey, now: Instant) -> Result<u32, TableError> {
        if self.installed.contains_key(&key) {
            return Err(TableError::Taken);
        }
        if self.chain(key).count() >= LEGS_PER_BUCKET as usize {
            return Err(TableError::BucketFull);
        }
        let index = if self.never_used < self.legs.length() {
            self.never_used += 1;
            self.never_used - 1
        } else {
            let rested = self.resting.front().is_some_and(|(_, since)| now.duration_since(*since) >= REST);
            if !rested {
                return Err(TableError::Full);
            }
            self.resting.pop_front().map(|(index, _)| index).ok_or(TableError::Full)?
        };
        self.installed.insert(key, index);
        Ok(index)
    }

    /// Makes a leg in a reserved slot known to the kernel: from here on its packets are its own.
    pub(crate) fn publish(&mut self, index: u32, leg: Leg) {
        let bucket = self.buckets.word32(leg.key.bucket(), 0);
        let generation = self.legs.read(index).generation.wrapping_add(1);
        self.legs.write(index, Leg { next: bucket.load(Ordering::Relaxed), generation, ..leg });
        // Release: a program that sees the new head sees the whole record behind it.
        bucket.store(index, Ordering::Release);
    }

    /// Gives a slot back that was reserved, whether it was published or not.
    pub(crate) fn remove(&mut self, key: LegKey, now: Instant) {
        let Some(index) = self.installed.remove(&key) else {
            return;
        };
        let next = self.legs.read(index).next;
        let mut link = self.buckets.word32(key.bucket(), 0);
        loop {
            match link.load(Ordering::Relaxed) {
                0 => break,
                found if found == index => {
                    // The record keeps its own `next`: a program that stands on it finds the rest of the chain.
                    link.store(next, Ordering::Release);
                    break;
                }
                other => link = self.legs.word32(other, offset_of!(Leg, next)),
            }
        }
        self.resting.push_back((index, now));
    }

    /// The records of the legs.
    pub(crate) fn legs(&self) -> &SharedArray<Leg> {
        &self.legs
    }

    /// Indexes of the published legs in the bucket of `key`.
    fn chain(&self, key: LegKey) -> impl Iterator<Item = u32> {
        debug_assert!(key.bucket() < LEG_BUCKETS);
        let head = self.buckets.word32(key.bucket(), 0).load(Ordering::Relaxed);
        std::iter::successors(Some(head), |index| Some(self.legs.read(*index).next))
            .take_while(|index| *index != 0)
    }
}
