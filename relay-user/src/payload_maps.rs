//! The kernel's tables of payload types: one for each different map, however many legs use it.

use std::collections::HashMap;

use relay_common::retag::PayloadMap;

use crate::kernel::SharedArray;

/// The tables and who uses them.
pub(crate) struct PayloadMaps {
    shared: SharedArray<PayloadMap>,
    /// Number and users of each map.
    used: HashMap<PayloadMap, (u16, usize)>,
    free: Vec<u16>,
}

impl PayloadMaps {
    /// No map is used. Table 0 is left alone: legs without a map name it.
    pub(crate) fn new(shared: SharedArray<PayloadMap>) -> Self {
        let tables = u16::try_from(shared.length()).unwrap_or(u16::MAX);
        Self { shared, used: HashMap::new(), free: (1..tables).rev().collect() }
    }

    /// How many different maps fit.
    pub(crate) fn capacity(&self) -> u16 {
        u16::try_from(self.free.len() + self.used.len()).unwrap_or(u16::MAX)
    }

    /// The number of the table that holds this map, for one more user. `None`: all tables are taken.
    pub(crate) fn acquire(&mut self, map: PayloadMap) -> Option<u16> {
        if let Some((number, users)) = self.used.get_mut(&map) {
            *users += 1;
            return Some(*number);
        }
        let number = self.free.pop()?;
        self.shared.write(u32::from(number), map);
        self.used.insert(map, (number, 1));
        Some(number)
    }

    /// What a table that a predecessor filled holds.
    pub(crate) fn read(&self, number: u16) -> Option<PayloadMap> {
        (u32::from(number) < self.shared.length()).then(|| self.shared.read(u32::from(number)))
    }

    /// Takes over a table that a predecessor filled, for one more user.
    pub(crate) fn adopt(&mut self, number: u16) {
        let Some(map) = self.read(number).filter(|_| number != 0) else { return };
        let (_, users) = self.used.entry(map).or_insert((number, 0));
        *users += 1;
        if *users == 1 {
            self.free.retain(|free| *free != number);
        }
    }

    /// One user fewer.
    pub(crate) fn release(&mut self, number: u16) {
        if number == 0 {
            return;
        }
        let map = self.shared.read(u32::from(number));
        if let Some((_, users)) = self.used.get_mut(&map) {
            *users -= 1;
            if *users == 0 {
                self.used.remove(&map);
                self.free.push(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_with_the_same_map_share_a_table_until_the_last_is_gone() {
        let mut maps = PayloadMaps::new(SharedArray::in_memory(3));
        let (one, two, three) = ([1; 128], [2; 128], [3; 128]);
        let first = maps.acquire(one).unwrap();
        assert_eq!(maps.acquire(one), Some(first));
        let second = maps.acquire(two).unwrap();
        assert!(first != 0 && second != 0 && first != second);
        assert_eq!(maps.shared.read(u32::from(second)), two);
        assert_eq!(maps.acquire(three), None);
        maps.release(first);
        assert_eq!(maps.acquire(three), None, "it has a user left");
        maps.release(first);
        assert_eq!(maps.acquire(three), Some(first));
        assert_eq!(maps.capacity(), 2);
    }

    #[test]
    fn a_successor_goes_on_with_the_tables_in_use() {
        let mut before = PayloadMaps::new(SharedArray::in_memory(4));
        let number = before.acquire([1; 128]).unwrap();
        let mut after = PayloadMaps::new(before.shared);
        assert_eq!(after.read(number), Some([1; 128]));
        after.adopt(number);
        after.adopt(number);
        assert_eq!(after.acquire([1; 128]), Some(number));
        let other = after.acquire([2; 128]).unwrap();
        assert_ne!(other, number);
        for _ in 0..3 {
            after.release(number);
        }
        assert_eq!(after.capacity(), 3);
        assert_eq!(after.read(9), None);
    }
}
