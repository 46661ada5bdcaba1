//! The one writer of the kernel's leg table: slots, bucket chains, and the order of stores that lets the program read
//! at any moment.

use std::collections::{HashMap, HashSet};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use relay_common::address::Ipv6;
use relay_common::leg::{Admission, Leg, LegKey};
use relay_common::limits::{BUCKETS_PER_RECORD, LEGS_PER_BUCKET};

use crate::hints::Hints;
use crate::kernel::{BucketRecord, SharedArray};
use crate::slots::{Home, Slots};

/// Why a leg cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    /// Every slot is taken.
    Full,
    /// Another leg claims the same packets.
    Taken,
    /// Too many legs share the bucket of this one.
    BucketFull,
}

/// What finds a leg: the key in the table, and the IPv6 address that it holds only a fold of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) key: LegKey,
    /// Zero where the key says everything.
    pub(crate) address: Ipv6,
    /// Legs of one home lie together.
    pub(crate) home: Home,
}

/// The leg table.
pub(crate) struct LegTable {
    buckets: SharedArray<BucketRecord>,
    legs: SharedArray<Leg>,
    admissions: SharedArray<Admission>,
    /// Where the program looks first; none where no program looks.
    hints: Option<Hints>,
    places: HashMap<Place, u32>,
    slots: Slots,
    /// How many legs each bucket has, reserved or published.
    lengths: Vec<u8>,
    /// The highest slot that was ever taken.
    highest: u32,
}

impl LegTable {
    /// An empty table in freshly loaded maps.
    pub(crate) fn new(
        buckets: SharedArray<BucketRecord>,
        legs: SharedArray<Leg>,
        admissions: SharedArray<Admission>,
        hints: Option<Hints>,
    ) -> Self {
        let slots = Slots::new(legs.length());
        let lengths = vec![0; (buckets.length() * BUCKETS_PER_RECORD) as usize];
        Self { buckets, legs, admissions, hints, places: HashMap::new(), slots, lengths, highest: 0 }
    }

    /// The slot of the leg that a place belongs to, if there is one.
    pub(crate) fn find(&self, place: &Place) -> Option<u32> {
        self.places.get(place).copied()
    }

    /// How many records there are, with the one that is never used.
    pub(crate) fn slots(&self) -> u32 {
        self.legs.length()
    }

    /// How many records may have been used, from the first one on.
    pub(crate) fn used(&self) -> u32 {
        self.highest + 1
    }

    /// How many more legs fit.
    pub(crate) fn free(&self) -> usize {
        (self.legs.length() as usize).saturating_sub(1 + self.places.len())
    }

    /// A slot for a leg of this place; the kernel does not know of it yet.
    pub(crate) fn reserve(&mut self, place: Place, now: Instant) -> Result<u32, TableError> {
        if self.places.contains_key(&place) {
            return Err(TableError::Taken);
        }
        let bucket = place.key.bucket(self.mask()) as usize;
        if self.lengths.get(bucket).is_none_or(|length| u32::from(*length) >= LEGS_PER_BUCKET) {
            return Err(TableError::BucketFull);
        }
        let hinted = self.hints.as_ref().and_then(|hints| hints.slot(place.key));
        let slot = match hinted.filter(|slot| self.slots.take_this(*slot, place.home, now)) {
            Some(slot) => slot,
            None => self.slots.take(place.home, now).ok_or(TableError::Full)?,
        };
        self.lengths[bucket] += 1;
        self.places.insert(place, slot);
        self.highest = self.highest.max(slot);
        Ok(slot)
    }

    /// The number of the life that a slot begins when a leg is published in it.
    pub(crate) fn next_generation(&self, slot: u32) -> u32 {
        self.admissions.read(slot).generation.wrapping_add(1)
    }

    /// The number of the life that a slot is in.
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.admissions.read(slot).generation
    }

    /// Takes over what a predecessor published in these maps: the slots that the program finds, and of which `place`
    /// says what should be found there. What makes no sense is taken out of its chain.
    pub(crate) fn adopt(&mut self, now: Instant, place: impl Fn(u32) -> Option<Place>) -> Vec<u32> {
        let mut adopted = Vec::new();
        let (buckets, legs, admissions) = (self.buckets.clone(), self.legs.clone(), self.admissions.clone());
        let mask = self.mask();
        for bucket in 0..=mask {
            let mut link = head(&buckets, bucket);
            for step in 0.. {
                let slot = link.load(Ordering::Relaxed);
                if slot == 0 {
                    break;
                }
                // A chain that is longer bites its tail.
                if slot >= legs.length() || step == LEGS_PER_BUCKET {
                    link.store(0, Ordering::Release);
                    break;
                }
                let next = admissions.word32(slot, offset_of!(Admission, next));
                let key = legs.read(slot).key;
                let place = place(slot).filter(|place| {
                    key == place.key && key.bucket(mask) == bucket && !self.places.contains_key(place)
                });
                match place.filter(|place| self.slots.take_this(slot, place.home, now)) {
                    Some(place) => {
                        self.places.insert(place, slot);
                        self.lengths[bucket as usize] += 1;
                        self.highest = self.highest.max(slot);
                        adopted.push(slot);
                        link = next;
                    }
                    None => link.store(next.load(Ordering::Relaxed), Ordering::Release),
                }
            }
        }
        // A predecessor that was killed between two stores may have left a leg that is found only where it is hinted at.
        let kept: HashSet<u32> = adopted.iter().copied().collect();
        for slot in (1..self.legs.length()).filter(|slot| !kept.contains(slot)) {
            self.key(slot).store(0, Ordering::Release);
        }
        adopted
    }

    /// Makes a leg in a reserved slot known to the kernel: from here on its packets are its own.
    pub(crate) fn publish(&mut self, slot: u32, leg: Leg, admission: Admission) {
        let bucket = self.bucket(leg.key);
        let generation = self.next_generation(slot);
        self.legs.write(slot, Leg { key: LegKey::default(), ..leg });
        self.admissions
            .write(slot, Admission { next: bucket.load(Ordering::Relaxed), generation, ..admission });
        // Release: a program that sees the key, or the new head, sees the whole record behind it.
        self.key(slot).store(leg.key.word(), Ordering::Release);
        bucket.store(slot, Ordering::Release);
    }

    /// Gives a slot back that was reserved, whether it was published or not.
    pub(crate) fn remove(&mut self, place: &Place, now: Instant) {
        let Some(slot) = self.places.remove(place) else {
            return;
        };
        // A program that looks here first finds nothing from now on.
        self.key(slot).store(0, Ordering::Release);
        let next = self.admissions.read(slot).next;
        let mut link = self.bucket(place.key);
        loop {
            match link.load(Ordering::Relaxed) {
                0 => break,
                found if found == slot => {
                    // The record keeps its own `next`: a program that stands on it finds the rest of the chain.
                    link.store(next, Ordering::Release);
                    break;
                }
                other => link = self.admissions.word32(other, offset_of!(Admission, next)),
            }
        }
        let bucket = place.key.bucket(self.mask()) as usize;
        if let Some(length) = self.lengths.get_mut(bucket) {
            *length -= 1;
        }
        self.slots.give(slot, now);
    }

    /// The records of the legs.
    pub(crate) fn legs(&self) -> &SharedArray<Leg> {
        &self.legs
    }

    /// The rest of the legs, by the same index.
    pub(crate) fn admissions(&self) -> &SharedArray<Admission> {
        &self.admissions
    }

    /// The word that makes a leg that of its packets.
    fn key(&self, slot: u32) -> &AtomicU64 {
        self.legs.word64(slot, offset_of!(Leg, key))
    }

    /// Number of buckets less one.
    fn mask(&self) -> u32 {
        self.buckets.length() * BUCKETS_PER_RECORD - 1
    }

    /// The head of the chain of a key's bucket.
    fn bucket(&self, key: LegKey) -> &AtomicU32 {
        head(&self.buckets, key.bucket(self.mask()))
    }
}

/// The head of the chain of a bucket.
fn head(buckets: &SharedArray<BucketRecord>, bucket: u32) -> &AtomicU32 {
    buckets.word32(bucket / BUCKETS_PER_RECORD, (bucket % BUCKETS_PER_RECORD) as usize * size_of::<u32>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slots::REST;
    use relay_common::byte_order::{Be16, Be32};
    use relay_common::leg::{HINTS, LegHint};
    use relay_common::limits::LEG_BUCKETS;

    const ADDRESS: Be32 = Be32::new(0x0a00_0001);

    fn table(legs: u32) -> LegTable {
        table_with(legs, None)
    }

    fn table_with(legs: u32, hints: Option<Hints>) -> LegTable {
        LegTable::new(
            SharedArray::in_memory(LEG_BUCKETS / BUCKETS_PER_RECORD),
            SharedArray::in_memory(legs + 1),
            SharedArray::in_memory(legs + 1),
            hints,
        )
    }

    fn key(port: u16) -> Place {
        place(ADDRESS, port)
    }

    fn place(address: Be32, port: u16) -> Place {
        Place { key: LegKey::new(address, Be16::new(port)), ..Place::default() }
    }

    /// Another address and port with the bucket of `key(port)`.
    fn neighbour(port: u16, number: u32) -> Place {
        let mask = LEG_BUCKETS - 1;
        let wanted = key(port).key.bucket(mask);
        let address = Be32::new(ADDRESS.get() + number);
        let base = place(address, 0).key.bucket(mask);
        let found = place(address, (wanted.wrapping_sub(base) & 0xffff) as u16);
        assert_eq!(found.key.bucket(mask), wanted);
        found
    }

    impl LegTable {
        fn add(&mut self, place: Place, now: Instant) -> u32 {
            let index = self.reserve(place, now).unwrap();
            self.publish(index, Leg { key: place.key, ..Leg::default() }, Admission::default());
            index
        }

        /// What the kernel half would find.
        fn seen(&self, place: Place) -> Option<u32> {
            let head = self.bucket(place.key).load(Ordering::Relaxed);
            std::iter::successors(Some(head), |index| Some(self.admissions.read(*index).next))
                .take_while(|index| *index != 0)
                .find(|index| self.legs.read(*index).key == place.key)
        }
    }

    #[test]
    fn a_leg_is_found_from_its_publication_to_its_removal() {
        let (mut table, now) = (table(4), Instant::now());
        let index = table.reserve(key(4000), now).unwrap();
        assert_eq!(table.seen(key(4000)), None, "reserved is not published");
        table.publish(index, Leg { key: key(4000).key, ..Leg::default() }, Admission::default());
        assert_eq!(table.seen(key(4000)), Some(index));
        table.remove(&key(4000), now);
        assert_eq!(table.seen(key(4000)), None);
    }

    #[test]
    fn a_chain_survives_removal_anywhere() {
        for removed in 0..3 {
            let (mut table, now) = (table(4), Instant::now());
            let keys = [key(4000), neighbour(4000, 1), neighbour(4000, 2)];
            let indexes = keys.map(|key| table.add(key, now));
            table.remove(&keys[removed], now);
            for at in 0..3 {
                assert_eq!(table.seen(keys[at]), (at != removed).then_some(indexes[at]), "{removed} {at}");
            }
        }
    }

    /// A table over the memory of another, as the next process has it. `used` are the slots that were written down.
    fn successor(table: LegTable, used: &[(u32, Place)]) -> (LegTable, Vec<u32>) {
        let mut successor = LegTable::new(table.buckets, table.legs, table.admissions, table.hints);
        let place = |slot| used.iter().find(|(used, _)| *used == slot).map(|(_, place)| *place);
        let mut adopted = successor.adopt(Instant::now(), place);
        adopted.sort_unstable();
        (successor, adopted)
    }

    #[test]
    fn a_successor_finds_every_leg_and_no_other() {
        let (mut table, now) = (table(8), Instant::now());
        let places = [key(4000), neighbour(4000, 1), neighbour(4000, 2), key(5000)];
        let slots = places.map(|place| table.add(place, now));
        table.remove(&places[1], now);
        let used = [0, 2, 3].map(|at| (slots[at], places[at]));
        let (mut successor, adopted) = successor(table, &used);
        assert_eq!(adopted, used.map(|(slot, _)| slot));
        assert_eq!(successor.reserve(places[0], now), Err(TableError::Taken));
        assert_eq!((successor.free(), successor.used()), (8 - 3, 5));
        assert!(!adopted.contains(&successor.reserve(places[1], now).unwrap()));
    }

    #[test]
    fn what_makes_no_sense_is_not_adopted() {
        let (mut table, now) = (table(8), Instant::now());
        let places = [key(4000), neighbour(4000, 1), neighbour(4000, 2)];
        let slots = places.map(|place| table.add(place, now));
        // The last is the head. The middle one was not written down; the first leads out of the table.
        table.admissions.word32(slots[0], offset_of!(Admission, next)).store(77, Ordering::Relaxed);
        let (successor, adopted) = successor(table, &[(slots[0], places[0]), (slots[2], places[2])]);
        assert_eq!(adopted, [slots[0], slots[2]]);
        let chain = [
            successor.bucket(places[0].key).load(Ordering::Relaxed),
            successor.admissions.read(slots[2]).next,
        ];
        assert_eq!((chain, successor.admissions.read(slots[0]).next), ([slots[2], slots[0]], 0));
    }

    #[test]
    fn a_chain_that_bites_its_tail_is_cut() {
        for used in [2, 1, 0] {
            let (mut table, now) = (table(8), Instant::now());
            let places = [key(4000), neighbour(4000, 1)];
            let slots = places.map(|place| table.add(place, now));
            table.admissions.word32(slots[0], offset_of!(Admission, next)).store(slots[1], Ordering::Relaxed);
            let written: Vec<_> = slots.into_iter().zip(places).take(used).collect();
            let (successor, adopted) = successor(table, &written);
            assert_eq!(adopted.len(), used);
            let mut slot = successor.bucket(places[0].key).load(Ordering::Relaxed);
            for _ in 0..used {
                slot = successor.admissions.read(slot).next;
            }
            assert_eq!(slot, 0, "{used}");
        }
    }

    #[test]
    fn a_removed_record_still_leads_to_the_rest_of_its_chain() {
        let (mut table, now) = (table(4), Instant::now());
        let last = table.add(key(4000), now);
        let middle = table.add(neighbour(4000, 1), now);
        table.add(neighbour(4000, 2), now);
        table.remove(&neighbour(4000, 1), now);
        // A program that stood on the record when it was unlinked reads on.
        assert_eq!(table.admissions.read(middle).next, last);
    }

    /// A table whose legs lie as their ports do, from 4000 on, and what the program finds at first sight.
    fn hinted(legs: u32) -> (LegTable, impl Fn(&LegTable, Place) -> Option<u32>) {
        let records = SharedArray::in_memory(HINTS);
        let hints = Hints::new(records.clone(), &[4000..=4999], legs + 1);
        let guess = move |table: &LegTable, place: Place| {
            let slot = records.read(LegHint::place(place.key.address())).guess(place.key);
            (slot != 0 && slot <= legs && table.legs.read(slot).key == place.key).then_some(slot)
        };
        (table_with(legs, Some(hints)), guess)
    }

    #[test]
    fn a_leg_lies_where_the_program_looks_first() {
        let ((mut table, guess), now) = (hinted(8), Instant::now());
        let slot = table.reserve(key(4002), now).unwrap();
        assert_eq!((slot, guess(&table, key(4002))), (3, None), "reserved is not published");
        table.publish(slot, Leg { key: key(4002).key, ..Leg::default() }, Admission::default());
        assert_eq!((guess(&table, key(4002)), table.seen(key(4002))), (Some(3), Some(3)));
        table.remove(&key(4002), now);
        assert_eq!(guess(&table, key(4002)), None);
    }

    #[test]
    fn a_leg_without_its_own_slot_is_found_all_the_same() {
        let ((mut table, guess), now) = (hinted(8), Instant::now());
        table.add(key(4002), now);
        table.remove(&key(4002), now);
        let places = [key(4002), key(4900)];
        let slots = places.map(|place| table.add(place, now));
        assert!(!slots.contains(&3), "it rests: {slots:?}");
        assert_eq!(places.map(|place| guess(&table, place)), [None; 2]);
        assert_eq!(places.map(|place| table.seen(place)), slots.map(Some));
    }

    #[test]
    fn what_is_not_adopted_is_not_found_at_first_sight() {
        let ((mut table, guess), now) = (hinted(8), Instant::now());
        let slots = [key(4000), key(4002)].map(|place| table.add(place, now));
        // Killed after the key was written, and before the bucket was.
        table.bucket(key(4002).key).store(0, Ordering::Relaxed);
        let (successor, adopted) = successor(table, &[(slots[0], key(4000)), (slots[1], key(4002))]);
        assert_eq!(adopted, [slots[0]]);
        assert_eq!([4000, 4002].map(|port| guess(&successor, key(port))), [Some(slots[0]), None]);
    }

    #[test]
    fn keys_are_unique_and_buckets_bounded() {
        let (mut table, now) = (table(64), Instant::now());
        table.add(key(4000), now);
        assert_eq!(table.reserve(key(4000), now), Err(TableError::Taken));
        // A plan reserves all its slots before it publishes the first: those count, too.
        for number in 1..16 {
            table.reserve(neighbour(4000, number), now).unwrap();
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
        table.remove(&key(4000), now);
        assert_eq!(table.reserve(key(4002), now), Err(TableError::Full), "it rests");
        assert_eq!(table.add(key(4002), now + REST), index);
        assert_eq!(table.admissions.read(index).generation, generation + 1);
    }

    #[test]
    fn a_slot_that_was_reserved_in_vain_is_given_back() {
        let (mut table, now) = (table(1), Instant::now());
        let kept = table.add(key(4000), now);
        table.remove(&key(4000), now);
        table.reserve(key(4002), now + REST).unwrap();
        table.remove(&key(4002), now + REST);
        assert_eq!(table.free(), 1);
        assert_eq!(table.reserve(key(4004), now + REST * 2), Ok(kept));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_kernel_finds_what_is_installed_and_nothing_else(
            steps in prop::collection::vec((any::<bool>(), 0_u32..4, 0_u16..40), 0..150),
        ) {
            let mut table = table(48);
            let mut now = Instant::now();
            let mut model: HashMap<Place, u32> = HashMap::new();
            // Few addresses and ports, many of them in one bucket.
            let place_of = |address: u32, port: u16| {
                if port < 20 { neighbour(4000, address * 20 + u32::from(port)) } else { place(Be32::new(address), port) }
            };
            for (add, address, port) in steps {
                now += REST;
                let place = place_of(address, port);
                let crowded = model.keys().filter(|other| {
                    other.key.bucket(LEG_BUCKETS - 1) == place.key.bucket(LEG_BUCKETS - 1)
                });
                let crowded = crowded.count() >= LEGS_PER_BUCKET as usize;
                if !add {
                    table.remove(&place, now);
                    model.remove(&place);
                } else if model.contains_key(&place) {
                    prop_assert_eq!(table.reserve(place, now), Err(TableError::Taken));
                } else if crowded {
                    prop_assert_eq!(table.reserve(place, now), Err(TableError::BucketFull));
                } else if model.len() == 48 {
                    prop_assert_eq!(table.reserve(place, now), Err(TableError::Full));
                } else {
                    model.insert(place, table.add(place, now));
                }
                prop_assert_eq!(table.free(), 48 - model.len());
                prop_assert_eq!(table.seen(place), model.get(&place).copied());
            }
            for (address, port) in (0..4).flat_map(|address| (0..40).map(move |port| (address, port))) {
                let place = place_of(address, port);
                prop_assert_eq!(table.seen(place), model.get(&place).copied());
            }
        }
    }
}
