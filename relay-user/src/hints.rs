//! Where legs of our IPv4 addresses lie: each address has a stretch of slots of its own, in the order of its ports, which the
//! program is told, so that it finds most legs without the table of buckets.

use std::mem::offset_of;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use relay_common::leg::{KeyKind, LegHint, LegKey};

use crate::kernel::SharedArray;

/// The hints, of which this is the one writer.
pub(crate) struct Hints {
    records: SharedArray<LegHint>,
    ports: RangeInclusive<u16>,
    slots: u32,
}

impl Hints {
    /// For legs in `1..slots` on these ports; hints that a predecessor gave stay as they are.
    pub(crate) fn new(records: SharedArray<LegHint>, ports: &[RangeInclusive<u16>], slots: u32) -> Self {
        let first = ports.iter().map(|range| *range.start()).min().unwrap_or(0);
        let last = ports.iter().map(|range| *range.end()).max().unwrap_or(u16::MAX);
        Self { records, ports: first..=last, slots }
    }

    /// The slot in which the program will look for a leg first.
    pub(crate) fn slot(&self, key: LegKey) -> Option<u32> {
        if key.kind() != KeyKind::Ipv4 as u8 {
            return None;
        }
        let place = LegHint::place(key.address());
        let mut hint = self.records.read(place);
        if hint == LegHint::default() {
            hint = LegHint { address: key.address(), base: self.next_base() };
            self.records.word32(place, offset_of!(LegHint, base)).store(hint.base, Ordering::Relaxed);
            // Release: who sees the address sees its base.
            self.records
                .word32(place, offset_of!(LegHint, address))
                .store(hint.address.wire(), Ordering::Release);
        }
        Some(hint.guess(key)).filter(|slot| (1..self.slots).contains(slot))
    }

    /// The base of the next address: stretches follow each other, and begin anew where no other fits. Then some ports of
    /// two addresses have the same slot, and who comes second has another one.
    fn next_base(&self) -> u32 {
        let stretch = u32::from(self.ports.end() - self.ports.start()) + 1;
        let fit = (self.slots.saturating_sub(1) / stretch).max(1);
        let known =
            (0..self.records.length()).filter(|place| self.records.read(*place) != LegHint::default());
        // There are 1,024 records.
        let known = u32::try_from(known.count()).unwrap_or(0);
        (1 + known % fit * stretch).wrapping_sub(u32::from(*self.ports.start()))
    }
}

#[cfg(test)]
mod tests {
    use relay_common::address::Ipv6;
    use relay_common::byte_order::{Be16, Be32};
    use relay_common::leg::HINTS;

    use super::*;

    fn hints(slots: u32) -> Hints {
        Hints::new(SharedArray::in_memory(HINTS), &[30_000..=30_009, 30_020..=30_099], slots)
    }

    fn key(address: u32, port: u16) -> LegKey {
        LegKey::new(Be32::new(0x0a00_0000 + address), Be16::new(port))
    }

    #[test]
    fn each_address_has_its_own_stretch_in_the_order_of_ports() {
        let hints = hints(201);
        let slots =
            [key(1, 30_000), key(1, 30_099), key(2, 30_000), key(2, 30_099)].map(|key| hints.slot(key));
        assert_eq!(slots, [Some(1), Some(100), Some(101), Some(200)]);
        assert_eq!(hints.slot(key(3, 30_000)), Some(1), "no third stretch fits");
    }

    #[test]
    fn what_lies_beyond_the_table_has_no_slot() {
        let hints = hints(51);
        assert_eq!((hints.slot(key(1, 30_049)), hints.slot(key(1, 30_050))), (Some(50), None));
        assert_eq!(hints.slot(key(1, 29_999)), None);
    }

    #[test]
    fn a_successor_goes_on_with_the_hints_that_are_there() {
        let first = hints(201);
        let slot = first.slot(key(2, 30_004));
        first.slot(key(1, 30_000));
        let successor = Hints::new(first.records, &[40_000..=40_099], 201);
        assert_eq!(successor.slot(key(2, 30_004)), slot);
    }

    #[test]
    fn an_address_whose_record_belongs_to_another_has_no_slot() {
        let hints = hints(201);
        hints.slot(key(1, 30_000));
        let place = |address| LegHint::place(key(address, 0).address());
        let other = (2..).find(|address| place(*address) == place(1)).unwrap();
        assert_eq!(hints.slot(key(other, 30_000)), None);
    }

    #[test]
    fn only_ipv4_ports_have_slots() {
        let hints = hints(201);
        assert_eq!(hints.slot(LegKey::v6(&Ipv6([Be32::new(1); 4]), Be16::new(30_000))), None);
        assert_eq!(hints.slot(LegKey::ssrc(1, Be32::new(7))), None);
    }
}
