//! What the copies of a trial must be.

use relay_common::fan_out::{SEATS, Witnessed};

use super::{port, receivers};

/// Whether these are the copies of so many packets for all seats of these blocks, in the order in which they came.
///
/// # Errors
/// What is wrong with them, as part of a sentence.
pub(super) fn judge(copies: &[Witnessed], packets: u32, blocks: &[u32]) -> Result<(), String> {
    let expected = packets as usize * blocks.len() * SEATS;
    if copies.len() != expected {
        return Err(format!("{} copies came of {expected}", copies.len()));
    }
    let mut served = vec![0; blocks.len()];
    let mut last = 0;
    for broadcast in copies.chunks(SEATS) {
        let Some(first) = broadcast.first() else { continue };
        if broadcast.iter().any(|copy| (copy.number, copy.block) != (first.number, first.block)) {
            return Err("copies of different packets came between each other".to_owned());
        }
        if first.number <= last {
            return Err(format!("packet {} came after packet {last}", first.number));
        }
        last = first.number;
        let Some(place) = blocks.iter().position(|block| *block == first.block) else {
            return Err(format!("a copy came for block {}, which is none", first.block));
        };
        if let Some(count) = served.get_mut(place) {
            *count += 1;
        }
        for (seat, (copy, receiver)) in broadcast.iter().zip(receivers(first.block)).enumerate() {
            let found = copy.ports.get() & 0xffff;
            if found != u32::from(port(receiver).get()) {
                return Err(format!(
                    "copy {seat} of a packet has the headers of receiver {found}, not {receiver}"
                ));
            }
        }
    }
    match served.iter().position(|count| *count != packets) {
        Some(place) => Err(format!("block {place} was not served each of {packets} packets once")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use relay_common::byte_order::Be32;

    use super::*;

    const BLOCKS: [u32; 2] = [2, 3];
    const PACKETS: u32 = 3;

    /// As they must be: each packet for the first block, then for the second.
    fn right() -> Vec<Witnessed> {
        let broadcasts = (0..PACKETS).flat_map(|_| BLOCKS);
        let copies = |(number, block)| {
            receivers(block).map(move |receiver| Witnessed {
                number,
                block,
                ports: Be32::new(1 << 16 | receiver),
            })
        };
        (1..).zip(broadcasts).flat_map(copies).collect()
    }

    fn judged(change: impl FnOnce(&mut Vec<Witnessed>)) -> String {
        let mut copies = right();
        change(&mut copies);
        judge(&copies, PACKETS, &BLOCKS).unwrap_err()
    }

    #[test]
    fn copies_in_the_order_of_their_seats_are_right() {
        assert_eq!(judge(&right(), PACKETS, &BLOCKS), Ok(()));
    }

    #[test]
    fn whatever_else_is_wrong_and_told() {
        let lost = judged(|copies| {
            copies.pop();
        });
        assert_eq!(lost, "89 copies came of 90");
        let swapped = judged(|copies| copies.swap(3, 4));
        assert_eq!(swapped, "copy 3 of a packet has the headers of receiver 5, not 4");
        let shared_memory = judged(|copies| copies.iter_mut().for_each(|copy| copy.ports = Be32::new(15)));
        assert_eq!(shared_memory, "copy 0 of a packet has the headers of receiver 15, not 1");
        let mixed = judged(|copies| copies.swap(14, 15));
        assert_eq!(mixed, "copies of different packets came between each other");
        let overtaken = judged(|copies| copies.rotate_left(SEATS));
        assert_eq!(overtaken, "packet 1 came after packet 6");
        let stray = judged(|copies| copies.iter_mut().take(SEATS).for_each(|copy| copy.block = 9));
        assert_eq!(stray, "a copy came for block 9, which is none");
        let twice = judged(|copies| {
            let again = copies[..SEATS].to_vec();
            copies.splice(SEATS..2 * SEATS, again.into_iter().map(|copy| Witnessed { number: 2, ..copy }));
        });
        assert_eq!(twice, "block 0 was not served each of 3 packets once");
    }
}
