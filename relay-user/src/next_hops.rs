//! Next hops: which neighbour, behind which device, a destination is sent through, and the kernel's table of them.

use std::collections::HashMap;
use std::mem::offset_of;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use relay_common::next_hop::{NextHop, RESOLVED};

use crate::kernel::SharedArray;
use crate::netlink::{Link, Neighbour};

/// A neighbour on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Via {
    pub(crate) interface: u32,
    pub(crate) address: Ipv4Addr,
}

/// Why there is no next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextHopError {
    /// The program does not run on this device.
    NotAttached { interface: u32, name: Option<String> },
    /// The table is full.
    Full,
}

struct Entry {
    via: Via,
    users: usize,
}

/// The table of next hops, and what is known of links and neighbours.
pub(crate) struct NextHops {
    shared: SharedArray<NextHop>,
    entries: HashMap<u32, Entry>,
    indexes: HashMap<Via, u32>,
    free: Vec<u32>,
    never_used: u32,
    /// Slot in the device map, by interface index.
    devices: HashMap<u32, u32>,
    links: HashMap<u32, Link>,
    macs: HashMap<Via, [u8; 6]>,
}

impl NextHops {
    /// An empty table; `devices` says which interfaces the program runs on, and their slots in the device map.
    pub(crate) fn new(shared: SharedArray<NextHop>, devices: HashMap<u32, u32>) -> Self {
        Self {
            shared,
            entries: HashMap::new(),
            indexes: HashMap::new(),
            free: Vec::new(),
            never_used: 1,
            devices,
            links: HashMap::new(),
            macs: HashMap::new(),
        }
    }

    /// The index of the next hop through this neighbour, for one more user.
    pub(crate) fn acquire(&mut self, via: Via) -> Result<u32, NextHopError> {
        if !self.devices.contains_key(&via.interface) {
            let name = self.links.get(&via.interface).map(|link| link.name.clone());
            return Err(NextHopError::NotAttached { interface: via.interface, name });
        }
        if let Some(index) = self.indexes.get(&via) {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.users += 1;
            }
            return Ok(*index);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.never_used < self.shared.length() => {
                self.never_used += 1;
                self.never_used - 1
            }
            None => return Err(NextHopError::Full),
        };
        self.indexes.insert(via, index);
        self.entries.insert(index, Entry { via, users: 1 });
        self.store(index, via);
        Ok(index)
    }

    /// One user fewer.
    pub(crate) fn release(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(&index) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0 {
            self.indexes.remove(&entry.via);
            self.entries.remove(&index);
            self.shared.word32(index, offset_of!(NextHop, state)).store(0, Ordering::Relaxed);
            self.free.push(index);
        }
    }

    /// Whether the next hop has its MAC address.
    pub(crate) fn is_resolved(&self, index: u32) -> bool {
        self.shared.read(index).state & RESOLVED != 0
    }

    /// The neighbour of a next hop.
    pub(crate) fn via(&self, index: u32) -> Option<Via> {
        self.entries.get(&index).map(|entry| entry.via)
    }

    /// Neighbours in use that have no MAC address; with `all`, every neighbour in use.
    pub(crate) fn to_confirm(&self, all: bool) -> Vec<Via> {
        self.indexes.keys().filter(|via| all || !self.macs.contains_key(via)).copied().collect()
    }

    /// A device appeared, or changed its address, name or size.
    pub(crate) fn link_changed(&mut self, link: Link) {
        let interface = link.index;
        self.links.insert(interface, link);
        self.store_all(|via| via.interface == interface);
    }

    /// A device is gone.
    pub(crate) fn link_gone(&mut self, interface: u32) {
        self.links.remove(&interface);
        self.macs.retain(|via, _| via.interface != interface);
        self.store_all(|via| via.interface == interface);
    }

    /// A neighbour was found, changed or lost. All are remembered: the kernel bounds their number.
    pub(crate) fn neighbour_changed(&mut self, neighbour: &Neighbour) {
        let via = Via { interface: neighbour.interface, address: neighbour.address };
        match neighbour.mac {
            Some(mac) => self.macs.insert(via, mac),
            None => self.macs.remove(&via),
        };
        self.store_all(|candidate| *candidate == via);
    }

    /// Name of an interface.
    pub(crate) fn interface_name(&self, interface: u32) -> Option<&str> {
        self.links.get(&interface).map(|link| link.name.as_str())
    }

    fn store_all(&self, changed: impl Fn(&Via) -> bool) {
        for (via, index) in self.indexes.iter().filter(|(via, _)| changed(via)) {
            self.store(*index, *via);
        }
    }

    /// Writes what is known of a next hop to the kernel's table.
    fn store(&self, index: u32, via: Via) {
        let known =
            self.devices.get(&via.interface).zip(self.links.get(&via.interface)).zip(self.macs.get(&via));
        match known {
            Some(((device, link), mac)) => {
                self.shared.write(index, NextHop::resolved(*mac, link.mac, *device, link.mtu));
            }
            None => self.shared.word32(index, offset_of!(NextHop, state)).store(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACE: u32 = 3;
    const VIA: Via = Via { interface: INTERFACE, address: Ipv4Addr::new(10, 0, 0, 9) };

    fn link(mtu: u32, mac: u8) -> Link {
        Link { index: INTERFACE, name: "eth0".into(), ethernet: true, mac: [mac; 6], mtu }
    }

    fn neighbour(mac: Option<u8>) -> Neighbour {
        Neighbour { interface: VIA.interface, address: VIA.address, mac: mac.map(|mac| [mac; 6]) }
    }

    fn hops() -> NextHops {
        let mut hops = NextHops::new(SharedArray::in_memory(3), HashMap::from([(INTERFACE, 5)]));
        hops.link_changed(link(1500, 1));
        hops
    }

    #[test]
    fn a_next_hop_is_resolved_once_its_neighbour_is_known() {
        let mut hops = hops();
        let index = hops.acquire(VIA).unwrap();
        assert!(!hops.is_resolved(index));
        assert_eq!(hops.to_confirm(false), [VIA]);
        hops.neighbour_changed(&neighbour(Some(2)));
        assert_eq!(hops.shared.read(index), NextHop::resolved([2; 6], [1; 6], 5, 1500));
        assert!(hops.to_confirm(false).is_empty());
        hops.neighbour_changed(&neighbour(None));
        assert!(!hops.is_resolved(index));
    }

    #[test]
    fn a_neighbour_that_is_known_before_is_resolved_at_once() {
        let mut hops = hops();
        hops.neighbour_changed(&neighbour(Some(2)));
        let index = hops.acquire(VIA).unwrap();
        assert!(hops.is_resolved(index));
    }

    #[test]
    fn a_device_that_changes_changes_its_next_hops() {
        let mut hops = hops();
        hops.neighbour_changed(&neighbour(Some(2)));
        let index = hops.acquire(VIA).unwrap();
        hops.link_changed(link(9000, 7));
        assert_eq!(hops.shared.read(index), NextHop::resolved([2; 6], [7; 6], 5, 9000));
        hops.link_gone(INTERFACE);
        assert!(!hops.is_resolved(index));
    }

    #[test]
    fn one_neighbour_is_one_record_until_its_last_user_leaves() {
        let mut hops = hops();
        hops.neighbour_changed(&neighbour(Some(2)));
        let index = hops.acquire(VIA).unwrap();
        assert_eq!(hops.acquire(VIA), Ok(index));
        hops.release(index);
        assert!(hops.is_resolved(index));
        hops.release(index);
        assert!(!hops.is_resolved(index), "nobody uses it");
        assert_eq!(hops.via(index), None);
    }

    #[test]
    fn the_table_is_bounded_and_its_records_are_used_again() {
        let mut hops = hops();
        let via = |last| Via { address: Ipv4Addr::new(10, 0, 0, last), ..VIA };
        let first = hops.acquire(via(1)).unwrap();
        hops.acquire(via(2)).unwrap();
        assert_eq!(hops.acquire(via(3)), Err(NextHopError::Full));
        hops.release(first);
        assert_eq!(hops.acquire(via(3)), Ok(first));
    }

    #[test]
    fn a_device_without_the_program_is_refused_by_name() {
        let mut hops = hops();
        hops.link_changed(Link { index: 4, name: "eth1".into(), ..link(1500, 1) });
        let error = hops.acquire(Via { interface: 4, ..VIA });
        assert_eq!(error, Err(NextHopError::NotAttached { interface: 4, name: Some("eth1".into()) }));
    }
}
