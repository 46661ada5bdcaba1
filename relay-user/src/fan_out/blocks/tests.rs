//! Who sits where, whatever comes and goes, and what a successor makes of it.

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
    let place = |blocks: &Blocks, receiver| served(blocks, 1).into_iter().find(|found| found.0 == receiver);
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
        // The next process finds the same, and takes nobody's seat.
        let mut next = Blocks::new(blocks.groups.clone(), blocks.blocks.clone());
        let all: Vec<u32> = (1..=SOURCES).collect();
        let before: Vec<_> = all.iter().map(|source| (served(&blocks, *source), blocks.group(*source))).collect();
        next.adopt(&Left { sources: &all, may_receive: |_| true, cpus: 1 }, now);
        let after: Vec<_> = all.iter().map(|source| (served(&next, *source), next.group(*source))).collect();
        prop_assert_eq!(before, after);
        for receiver in 200..210 {
            next.join(1, receiver, 0, 0, now + REST);
        }
        for receiver in there.keys() {
            prop_assert!(next.leave(*receiver, now).is_some());
        }
        prop_assert_eq!(next.receivers(1), (200..210).collect::<Vec<_>>());
        prop_assert!(!next.has_group(2) && !next.has_group(3));
    }
}

#[test]
fn what_makes_no_sense_is_taken_out_and_the_rest_of_the_chain_stays() {
    let (mut blocks, now) = (blocks(8), Instant::now());
    assert!((0..4).all(|device| blocks.join(1, device + 1, device, 0, now)));
    let [_, second, third, last] =
        served(&blocks, 1).iter().map(|found| found.2).collect::<Vec<_>>().try_into().unwrap();
    let store = |block, offset, value| blocks.blocks.word32(block, offset).store(value, Ordering::Relaxed);
    // Killed before it was counted in, before the block was taken out, and a chain that bites its tail.
    store(second, seat_offset(4), 9);
    store(third, seat_offset(0), 0);
    store(last, offset_of!(Block, next), second);
    let mut next = Blocks::new(blocks.groups.clone(), blocks.blocks.clone());
    next.adopt(&Left { sources: &[1, 2], may_receive: |_| true, cpus: 1 }, now);
    assert_eq!(next.receivers(1), [1, 2, 9, 4]);
    assert_eq!(served(&next, 1).len(), 4);
    assert!(!next.has_group(2));
    // The block that nobody sits in any more rests first.
    assert!(next.join(2, 20, 0, 0, now));
    assert_ne!(served(&next, 2)[0].2, third);
}
