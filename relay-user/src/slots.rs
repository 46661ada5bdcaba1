//! Which records of the leg table are free, so that legs of one local address lie together: packets that arrive on one
//! side then touch memory that only that side uses.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A freed slot rests this long: a program that found it just before it was unlinked has long finished.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// Slots that one local address takes at a time.
const SLAB: u32 = u64::BITS;

/// Homes whose last slab is remembered; there are as many as local addresses.
const MOST_HOMES: usize = 4096;

/// A home: whatever legs have in common that should lie together.
pub(crate) type Home = u128;

/// A stretch of [`SLAB`] slots.
#[derive(Clone, Copy, Debug, Default)]
struct Slab {
    /// Bit n says that slot n of the slab is free.
    free: u64,
    /// How many of its slots are in use or rest.
    busy: u32,
    home: Option<Home>,
}

/// The free slots. Slot 0 is never given away.
#[derive(Debug)]
pub(crate) struct Slots {
    slabs: Vec<Slab>,
    /// Slabs that belong to nobody.
    vacant: BTreeSet<u32>,
    /// Slabs of each home that have free slots.
    open: HashMap<Home, BTreeSet<u32>>,
    resting: VecDeque<(u32, Instant)>,
    /// The slab that each home took last.
    last: HashMap<Home, u32>,
}

impl Slots {
    /// All of `0..slots` but 0 are free.
    pub(crate) fn new(slots: u32) -> Self {
        let slab = |first: u32| {
            let length = (slots - first).min(SLAB);
            let all = u64::MAX >> (SLAB - length);
            Slab { free: if first == 0 { all & !1 } else { all }, busy: 0, home: None }
        };
        let slabs: Vec<Slab> = (0..slots).step_by(SLAB as usize).map(slab).collect();
        let vacant = (0..).zip(&slabs).filter(|(_, slab)| slab.free != 0).map(|(number, _)| number).collect();
        Self { slabs, vacant, open: HashMap::new(), resting: VecDeque::new(), last: HashMap::new() }
    }

    /// A slot near others of this home if there is one, else any. `None`: all are in use or rest.
    pub(crate) fn take(&mut self, home: Home, now: Instant) -> Option<u32> {
        self.wake(now);
        let own = self.open.get(&home).and_then(|slabs| slabs.first().copied());
        let number = match own.or_else(|| self.settle(home)) {
            Some(number) => number,
            // Every slab has a home: take what another has left.
            None => *self.open.values().find_map(BTreeSet::first)?,
        };
        let slab = self.slabs.get_mut(number as usize)?;
        let bit = slab.free.trailing_zeros();
        slab.free &= slab.free.wrapping_sub(1);
        slab.busy += 1;
        if slab.free == 0 {
            let home = slab.home;
            self.close(home, number);
        }
        Some(number * SLAB + bit)
    }

    /// Takes this slot, if it is free.
    pub(crate) fn take_this(&mut self, slot: u32, home: Home, now: Instant) -> bool {
        self.wake(now);
        let (number, bit) = (slot / SLAB, 1_u64 << (slot % SLAB));
        let Some(slab) = self.slabs.get_mut(number as usize).filter(|slab| slab.free & bit != 0) else {
            return false;
        };
        slab.free &= !bit;
        slab.busy += 1;
        let full = slab.free == 0;
        if slab.home.is_none() {
            slab.home = Some(home);
            self.vacant.remove(&number);
            if !full {
                self.open.entry(home).or_default().insert(number);
            }
        } else if full {
            let home = slab.home;
            self.close(home, number);
        }
        true
    }

    /// Gives a slot back; it is given out again when it has rested.
    pub(crate) fn give(&mut self, slot: u32, now: Instant) {
        self.resting.push_back((slot, now));
    }

    /// A vacant slab becomes this home's: the next after its last one, so that its slabs lie in few stretches of memory,
    /// for which a processor needs few page translations. Homes begin far from each other.
    fn settle(&mut self, home: Home) -> Option<u32> {
        const GOLDEN: u64 = 0x9e37_79b9;
        if self.last.len() >= MOST_HOMES {
            self.last.clear();
        }
        let begin = |homes: usize| (((homes as u64 * GOLDEN) & 0xffff_ffff) * self.slabs.len() as u64) >> 32;
        let from = match self.last.get(&home) {
            Some(last) => *last,
            None => u32::try_from(begin(self.last.len())).ok()?,
        };
        let number = self.vacant.range(from..).next().or_else(|| self.vacant.first()).copied()?;
        self.vacant.remove(&number);
        self.last.insert(home, number);
        self.slabs.get_mut(number as usize)?.home = Some(home);
        self.open.entry(home).or_default().insert(number);
        Some(number)
    }

    /// A slab has no free slot any more, or no home.
    fn close(&mut self, home: Option<Home>, number: u32) {
        let Some(home) = home else { return };
        if let Some(slabs) = self.open.get_mut(&home) {
            slabs.remove(&number);
            if slabs.is_empty() {
                self.open.remove(&home);
            }
        }
    }

    /// Slots that have rested are free again.
    fn wake(&mut self, now: Instant) {
        while let Some((slot, since)) = self.resting.front().copied() {
            if now.duration_since(since) < REST {
                return;
            }
            self.resting.pop_front();
            let (number, bit) = (slot / SLAB, 1_u64 << (slot % SLAB));
            let Some(slab) = self.slabs.get_mut(number as usize) else { continue };
            slab.free |= bit;
            slab.busy -= 1;
            let (busy, home) = (slab.busy, slab.home);
            if busy == 0 {
                slab.home = None;
                self.close(home, number);
                self.vacant.insert(number);
            } else if let Some(home) = home {
                self.open.entry(home).or_default().insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legs_of_one_address_lie_together() {
        let (mut slots, now) = (Slots::new(1000), Instant::now());
        // Calls come one by one, a leg of each side at a time.
        let pairs: Vec<_> =
            (0..40).map(|_| (slots.take(1, now).unwrap(), slots.take(2, now).unwrap())).collect();
        let of = |home: fn(&(u32, u32)) -> u32| pairs.iter().map(home).collect::<Vec<_>>();
        assert_eq!(of(|pair| pair.0), (1..41).collect::<Vec<_>>());
        let other = of(|pair| pair.1);
        assert!(other[0] > 2 * SLAB && other[0].is_multiple_of(SLAB), "far from the first: {other:?}");
        assert!(other.iter().zip(other[0]..).all(|(slot, expected)| *slot == expected), "{other:?}");
    }

    #[test]
    fn slabs_of_one_address_follow_each_other() {
        let (mut slots, now) = (Slots::new(64_000), Instant::now());
        let pairs: Vec<_> =
            (0..2_000).map(|_| (slots.take(1, now).unwrap(), slots.take(2, now).unwrap())).collect();
        let jumps = pairs.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1 || pair[1].1 != pair[0].1 + 1);
        assert_eq!(jumps.count(), 0);
    }

    #[test]
    fn every_slot_is_given_out_once_however_many_addresses_there_are() {
        for homes in [1, 2, 50, 200] {
            let (mut slots, now) = (Slots::new(200), Instant::now());
            let mut taken: Vec<u32> = (0..199).map(|n| slots.take(n % homes, now).unwrap()).collect();
            assert_eq!(slots.take(0, now), None);
            taken.sort_unstable();
            assert_eq!(taken, (1..200).collect::<Vec<_>>(), "{homes} homes");
        }
    }

    #[test]
    fn a_slot_rests_before_it_is_given_out_again() {
        let (mut slots, now) = (Slots::new(2), Instant::now());
        assert_eq!(slots.take(1, now), Some(1));
        slots.give(1, now);
        assert_eq!(slots.take(1, now + REST / 2), None);
        assert_eq!(slots.take(2, now + REST), Some(1), "and then to anybody");
    }

    #[test]
    fn a_slot_that_was_asked_for_is_taken() {
        let (mut slots, now) = (Slots::new(130), Instant::now());
        assert!(slots.take_this(70, 7, now));
        assert_eq!([70, 0, 130].map(|slot| slots.take_this(slot, 7, now)), [false; 3]);
        assert_eq!(slots.take(7, now), Some(64), "beside the adopted one");
        assert!((0..127).all(|_| slots.take(8, now).is_some_and(|slot| slot != 70)));
        assert_eq!(slots.take(8, now), None);
    }

    proptest! {
        #[test]
        fn nothing_is_given_out_twice_or_lost(size in 2_u32..300, steps in prop::collection::vec((0..3, 0_u128..5, any::<prop::sample::Index>()), 0..600)) {
            let (mut slots, mut now) = (Slots::new(size), Instant::now());
            let mut used: Vec<u32> = Vec::new();
            for (step, home, which) in steps {
                now += REST;
                if step == 0 {
                    let slot = u32::try_from(which.index(size as usize)).unwrap();
                    let taken = slots.take_this(slot, home, now);
                    prop_assert_eq!(taken, slot != 0 && !used.contains(&slot));
                    used.extend(taken.then_some(slot));
                } else if step == 1 {
                    match slots.take(home, now) {
                        Some(slot) => {
                            prop_assert!((1..size).contains(&slot) && !used.contains(&slot));
                            used.push(slot);
                        }
                        None => prop_assert_eq!(used.len(), size as usize - 1),
                    }
                } else if !used.is_empty() {
                    slots.give(used.swap_remove(which.index(used.len())), now);
                }
            }
            now += REST;
            let rest = std::iter::from_fn(|| slots.take(9, now)).count();
            prop_assert_eq!(rest + used.len(), size as usize - 1);
        }
    }
}
