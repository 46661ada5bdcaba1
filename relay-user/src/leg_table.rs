//! The one writer of the kernel's leg table: slots, bucket chains, and the order of stores that lets the program read
//! at any moment.

use std::collections::{HashMap, VecDeque};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use relay_common::leg::{Admission, Leg, LegKey};
use relay_common::limits::{BUCKETS_PER_RECORD, LEGS_PER_BUCKET};

use crate::kernel::{BucketRecord, SharedArray};

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
    buckets: SharedArray<BucketRecord>,
    legs: SharedArray<Leg>,
    admissions: SharedArray<Admission>,
    installed: HashMap<LegKey, u32>,
    never_used: u32,
    resting: VecDeque<(u32, Instant)>,
}

impl LegTable {
    /// An empty table in freshly loaded maps.
    pub(crate) fn new(
        buckets: SharedArray<BucketRecord>,
        legs: SharedArray<Leg>,
        admissions: SharedArray<Admission>,
    ) -> Self {
        Self { buckets, legs, admissions, installed: HashMap::new(), never_used: 1, resting: VecDeque::new() }
    }

    /// How many records there are, with the one that is never used.
    pub(crate) fn slots(&self) -> u32 {
        self.legs.length()
    }

    /// How many records have been used, from the first one on.
    pub(crate) fn used(&self) -> u32 {
        self.never_used
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
        let rested = self.resting.front().is_some_and(|(_, since)| now.duration_since(*since) >= REST);
        let index = if rested {
            self.resting.pop_front().map(|(index, _)| index).ok_or(TableError::Full)?
        } else if self.never_used < self.legs.length() {
            self.never_used += 1;
            self.never_used - 1
        } else {
            return Err(TableError::Full);
        };
        self.installed.insert(key, index);
        Ok(index)
    }

    /// The number of the life that a slot begins when a leg is published in it.
    pub(crate) fn next_generation(&self, index: u32) -> u32 {
        self.admissions.read(index).generation.wrapping_add(1)
    }

    /// Makes a leg in a reserved slot known to the kernel: from here on its packets are its own.
    pub(crate) fn publish(&mut self, index: u32, leg: Leg, admission: Admission) {
        let bucket = self.bucket(leg.key);
        let generation = self.next_generation(index);
        self.legs.write(index, leg);
        self.admissions
            .write(index, Admission { next: bucket.load(Ordering::Relaxed), generation, ..admission });
        // Release: a program that sees the new head sees the whole record behind it.
        bucket.store(index, Ordering::Release);
    }

    /// Gives a slot back that was reserved, whether it was published or not.
    pub(crate) fn remove(&mut self, key: LegKey, now: Instant) {
        let Some(index) = self.installed.remove(&key) else {
            return;
        };
        let next = self.admissions.read(index).next;
        let mut link = self.bucket(key);
        loop {
            match link.load(Ordering::Relaxed) {
                0 => break,
                found if found == index => {
                    // The record keeps its own `next`: a program that stands on it finds the rest of the chain.
                    link.store(next, Ordering::Release);
                    break;
                }
                other => link = self.admissions.word32(other, offset_of!(Admission, next)),
            }
        }
        self.resting.push_back((index, now));
    }

    /// The records of the legs.
    pub(crate) fn legs(&self) -> &SharedArray<Leg> {
        &self.legs
    }

    /// The rest of the legs, by the same index.
    pub(crate) fn admissions(&self) -> &SharedArray<Admission> {
        &self.admissions
    }

    /// The head of the chain of a key's bucket.
    fn bucket(&self, key: LegKey) -> &AtomicU32 {
        let bucket = key.bucket(self.buckets.length() * BUCKETS_PER_RECORD - 1);
        let (record, lane) = (bucket / BUCKETS_PER_RECORD, bucket % BUCKETS_PER_RECORD);
        self.buckets.word32(record, lane as usize * size_of::<u32>())
    }

    /// Indexes of the published legs in the bucket of `key`.
    fn chain(&self, key: LegKey) -> impl Iterator<Item = u32> {
        let head = self.bucket(key).load(Ordering::Relaxed);
        std::iter::successors(Some(head), |index| Some(self.admissions.read(*index).next))
            .take_while(|index| *index != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_common::byte_order::{Be16, Be32};
    use relay_common::limits::LEG_BUCKETS;

    const ADDRESS: Be32 = Be32::new(0x0a00_0001);
    const MASK: u32 = LEG_BUCKETS - 1;

    fn table(legs: u32) -> LegTable {
        LegTable::new(
            SharedArray::in_memory(LEG_BUCKETS / BUCKETS_PER_RECORD),
            SharedArray::in_memory(legs + 1),
            SharedArray::in_memory(legs + 1),
        )
    }

    fn key(port: u16) -> LegKey {
        LegKey::new(ADDRESS, Be16::new(port))
    }

    /// Another address and port with the bucket of `key(port)`.
    fn neighbour(port: u16, number: u16) -> LegKey {
        let address = Be32::new(ADDRESS.get() + u32::from(number));
        let scattered = |address| LegKey::new(address, Be16::new(0)).bucket(MASK);
        let offset = scattered(ADDRESS).wrapping_sub(scattered(address)) & MASK;
        let shifted = u32::from(port).wrapping_add(offset) & MASK;
        let key = LegKey::new(address, Be16::new(shifted.try_into().unwrap()));
        assert_eq!(key.bucket(MASK), self::key(port).bucket(MASK));
        key
    }

    impl LegTable {
        fn add(&mut self, key: LegKey, now: Instant) -> u32 {
            let index = self.reserve(key, now).unwrap();
            self.publish(index, Leg { key, ..Leg::default() }, Admission::default());
            index
        }

        /// What the kernel half would find.
        fn find(&self, key: LegKey) -> Option<u32> {
            self.chain(key).find(|index| self.legs.read(*index).key == key)
        }
    }

    #[test]
    fn a_leg_is_found_from_its_publication_to_its_removal() {
        let (mut table, now) = (table(4), Instant::now());
        let index = table.reserve(key(4000), now).unwrap();
        assert_eq!(table.find(key(4000)), None, "reserved is not published");
        table.publish(index, Leg { key: key(4000), ..Leg::default() }, Admission::default());
        assert_eq!(table.find(key(4000)), Some(index));
        table.remove(key(4000), now);
        assert_eq!(table.find(key(4000)), None);
    }

    #[test]
    fn a_chain_survives_removal_anywhere() {
        for removed in 0..3 {
            let (mut table, now) = (table(4), Instant::now());
            let keys = [key(4000), neighbour(4000, 1), neighbour(4000, 2)];
            let indexes = keys.map(|key| table.add(key, now));
            table.remove(keys[removed], now);
            for at in 0..3 {
                assert_eq!(table.find(keys[at]), (at != removed).then_some(indexes[at]), "{removed} {at}");
            }
        }
    }

    #[test]
    fn a_removed_record_still_leads_to_the_rest_of_its_chain() {
        let (mut table, now) = (table(4), Instant::now());
        let last = table.add(key(4000), now);
        let middle = table.add(neighbour(4000, 1), now);
        table.add(neighbour(4000, 2), now);
        table.remove(neighbour(4000, 1), now);
        // A program that stood on the record when it was unlinked reads on.
        assert_eq!(table.admissions.read(middle).next, last);
    }

    #[test]
    fn keys_are_unique_and_buckets_bounded() {
        let (mut table, now) = (table(64), Instant::now());
        table.add(key(4000), now);
        assert_eq!(table.reserve(key(4000), now), Err(TableError::Taken));
        for number in 1..16 {
            table.add(neighbour(4000, number), now);
        }
        assert_eq!(table.reserve(neighbour(4000, 16), now), Err(TableError::BucketFull));
        assert!(table.reserve(key(4001 + 64), now).is_ok(), "other buckets are not");
    }

    #[test]
    fn a_slot_rests_before_its_next_life_and_counts_its_lives() {
        let (mut table, now) = (table(1), Instant::now());
        let index = table.add(key(4000), now);
        let generation = table.admissions.read(index).generation;
        assert_eq!(table.reserve(key(4002), now), Err(TableError::Full));
        table.remove(key(4000), now);
        assert_eq!(table.reserve(key(4002), now), Err(TableError::Full), "it rests");
        assert_eq!(table.add(key(4002), now + REST), index);
        assert_eq!(table.admissions.read(index).generation, generation + 1);
    }

    #[test]
    fn a_slot_that_was_reserved_in_vain_is_given_back() {
        let (mut table, now) = (table(1), Instant::now());
        let kept = table.add(key(4000), now);
        table.remove(key(4000), now);
        table.reserve(key(4002), now + REST).unwrap();
        table.remove(key(4002), now + REST);
        assert_eq!(table.free(), 1);
        assert_eq!(table.reserve(key(4004), now + REST * 2), Ok(kept));
    }
}
