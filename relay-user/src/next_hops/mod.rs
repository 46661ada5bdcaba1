//! Next hops: which neighbour, behind which device and under which VLAN tags, a destination is sent through, and the
//! kernel's table of them.

use std::collections::{HashMap, HashSet};
use std::mem::offset_of;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use relay_common::byte_order::Be32;
use relay_common::ledger::NeighbourRecord;
use relay_common::next_hop::{NO_DEVICE, NO_ROUTE, NextHop, RESOLVED};

use crate::kernel::SharedArray;
use crate::ledger;
use crate::netlink::{Link, Neighbour, NeighbourState};
use crate::vlan::{Tag, Tags};

/// The next hop of legs whose destination has no route any more. It is nobody's, and never resolved.
pub(crate) const NOWHERE: u32 = 1;

/// Tags that a frame can carry.
const MOST_TAGS: usize = 2;

/// Bytes of one tag. Devices take one more than their MTU says, not two.
const TAG_BYTES: u32 = 4;

/// A neighbour: on which device, by interface index, and its address there.
pub(crate) type NeighbourKey = (u32, IpAddr);

/// A way to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Via {
    /// The device of the route, which may be a VLAN device on one of ours.
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
    /// Tags that the caller told, inside those of the device.
    pub(crate) tags: Tags,
}

impl Via {
    /// The neighbour as the kernel knows it.
    pub(crate) fn neighbour(&self) -> NeighbourKey {
        (self.interface, self.address)
    }
}

/// Why there is no next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextHopError {
    /// The program does not run on this device, nor on the one that it stands on.
    NotAttached { interface: u32, name: Option<String> },
    /// The device is down or has no carrier.
    Down { name: String },
    /// The tags of the devices and those that were told are more than a frame carries.
    TooManyTags,
    /// The table is full.
    Full,
}

struct Entry {
    via: Via,
    users: usize,
}

/// What a packet needs from the devices that it leaves by.
struct Egress {
    slot: u32,
    mac: [u8; 6],
    mtu: u32,
    tags: Tags,
}

/// The table of next hops, and what is known of links and neighbours.
pub(crate) struct NextHops {
    shared: SharedArray<NextHop>,
    entries: HashMap<u32, Entry>,
    indexes: HashMap<Via, u32>,
    /// The next hops through each neighbour in use.
    by_neighbour: HashMap<NeighbourKey, Vec<u32>>,
    free: Vec<u32>,
    never_used: u32,
    /// Slot in the device map, by interface index.
    devices: HashMap<u32, u32>,
    links: HashMap<u32, Link>,
    neighbours: HashMap<NeighbourKey, NeighbourState>,
    /// Neighbours in use that the kernel has forgotten since it knew them: what it knew holds until it says otherwise.
    unconfirmed: HashSet<NeighbourKey>,
    /// What a successor needs to go on with the table.
    remembered: Option<SharedArray<NeighbourRecord>>,
    /// Sockets send: neighbours are found by the network stack.
    kernel_resolves: bool,
}

impl NextHops {
    /// An empty table; `devices` says which interfaces the program runs on, and their slots in the device map.
    pub(crate) fn new(shared: SharedArray<NextHop>, devices: HashMap<u32, u32>) -> Self {
        shared.write(NOWHERE, NextHop { state: NO_ROUTE, ..NextHop::default() });
        Self {
            shared,
            entries: HashMap::new(),
            indexes: HashMap::new(),
            by_neighbour: HashMap::new(),
            free: Vec::new(),
            never_used: NOWHERE + 1,
            devices,
            links: HashMap::new(),
            neighbours: HashMap::new(),
            unconfirmed: HashSet::new(),
            remembered: None,
            kernel_resolves: false,
        }
    }

    /// The same where sockets send: a next hop needs no MAC address.
    pub(crate) fn for_sockets(shared: SharedArray<NextHop>, devices: HashMap<u32, u32>) -> Self {
        Self { kernel_resolves: true, ..Self::new(shared, devices) }
    }

    /// The same, written down for a successor.
    pub(crate) fn remembering(self, neighbours: SharedArray<NeighbourRecord>) -> Self {
        Self { remembered: Some(neighbours), ..self }
    }

    /// Takes over what a predecessor left in the table: `users` says how many legs use each next hop. Links and
    /// neighbours must be known already. Returns the next hops that cannot be used any more.
    pub(crate) fn adopt(&mut self, users: &HashMap<u32, usize>) -> HashSet<u32> {
        let mut lost = HashSet::new();
        for (index, users) in users.iter().filter(|(index, _)| **index != NOWHERE) {
            let Some(via) = self.recall(*index) else {
                lost.insert(*index);
                continue;
            };
            let record = self.shared.read(*index);
            if record.state & RESOLVED != 0 {
                // Until it is confirmed: better than to drop what worked until now.
                let known = NeighbourState::Known(record.destination_mac());
                self.neighbours.entry(via.neighbour()).or_insert_with(|| {
                    self.unconfirmed.insert(via.neighbour());
                    known
                });
            }
            self.indexes.insert(via, *index);
            self.entries.insert(*index, Entry { via, users: *users });
            self.by_neighbour.entry(via.neighbour()).or_default().push(*index);
            self.store(*index, via);
        }
        self.never_used = self.entries.keys().max().map_or(NOWHERE, |last| *last) + 1;
        self.free =
            (NOWHERE + 1..self.never_used).filter(|index| !self.entries.contains_key(index)).collect();
        lost
    }

    /// Which way a next hop of a predecessor stands for, if that is still there.
    fn recall(&self, index: u32) -> Option<Via> {
        let remembered = self.remembered.as_ref().filter(|array| index < array.length())?;
        let NeighbourRecord { address, interface, tags, .. } = remembered.read(index);
        let via = Via { interface, address: ledger::address(address), tags: Tags::from_words(tags) };
        let is_there = matches!(self.egress(&via), Ok(_) | Err(NextHopError::Down { .. }));
        (is_there && !self.indexes.contains_key(&via)).then_some(via)
    }

    /// Writes down which way a next hop stands for; `None`: for none.
    fn remember(&self, index: u32, via: Option<Via>) {
        let Some(remembered) = &self.remembered else { return };
        let record = via.map(|via| NeighbourRecord {
            address: ledger::octets(via.address),
            interface: via.interface,
            tags: via.tags.wire().map(Be32::get),
            ..NeighbourRecord::default()
        });
        remembered.write(index, record.unwrap_or_default());
    }

    /// How many next hops there may be.
    pub(crate) fn capacity(&self) -> u32 {
        self.shared.length().saturating_sub(NOWHERE + 1)
    }

    /// The index of a next hop for one more user.
    pub(crate) fn acquire(&mut self, via: Via) -> Result<u32, NextHopError> {
        self.egress(&via)?;
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
        self.remember(index, Some(via));
        self.by_neighbour.entry(via.neighbour()).or_default().push(index);
        self.store(index, via);
        Ok(index)
    }

    /// One user fewer.
    pub(crate) fn release(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(&index) else {
            return;
        };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let via = entry.via;
        self.indexes.remove(&via);
        self.entries.remove(&index);
        if let Some(indexes) = self.by_neighbour.get_mut(&via.neighbour()) {
            indexes.retain(|other| *other != index);
            if indexes.is_empty() {
                self.by_neighbour.remove(&via.neighbour());
                if self.unconfirmed.remove(&via.neighbour()) {
                    self.neighbours.remove(&via.neighbour());
                }
            }
        }
        self.set_state(index, 0);
        self.remember(index, None);
        self.free.push(index);
    }

    /// Whether the next hop has its MAC address.
    pub(crate) fn is_resolved(&self, index: u32) -> bool {
        self.shared.read(index).state & RESOLVED != 0
    }

    /// Whether the kernel has given up looking for a neighbour.
    pub(crate) fn has_failed(&self, neighbour: NeighbourKey) -> bool {
        self.neighbours.get(&neighbour) == Some(&NeighbourState::Failed)
    }

    /// The way that a next hop stands for.
    pub(crate) fn via(&self, index: u32) -> Option<Via> {
        self.entries.get(&index).map(|entry| entry.via)
    }

    /// Slot of the device that packets to a next hop leave by, if it is there and up.
    pub(crate) fn device(&self, index: u32) -> Option<u32> {
        Some(self.egress(&self.via(index)?).ok()?.slot)
    }

    /// The devices that the program runs on, by slot, and what is known of them.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (u32, Option<&Link>)> {
        self.devices.iter().map(|(interface, slot)| (*slot, self.links.get(interface)))
    }

    /// Neighbours in use whose MAC address the kernel does not know; with `all`, every neighbour in use.
    pub(crate) fn to_confirm(&self, all: bool) -> Vec<NeighbourKey> {
        if self.kernel_resolves {
            return Vec::new();
        }
        let known = |key| {
            matches!(self.neighbours.get(key), Some(NeighbourState::Known(_)))
                && !self.unconfirmed.contains(key)
        };
        self.by_neighbour.keys().filter(|key| all || !known(key)).copied().collect()
    }

    /// A device appeared, or changed. Says whether routes may lead elsewhere now.
    pub(crate) fn link_changed(&mut self, link: Link) -> bool {
        let interface = link.index;
        let same = |old: &Link| (old.up, old.vlan, old.ethernet) == (link.up, link.vlan, link.ethernet);
        let moves_routes = !self.links.get(&interface).is_some_and(same);
        if self.links.get(&interface) != Some(&link) {
            self.links.insert(interface, link);
            self.store_behind(interface);
        }
        moves_routes
    }

    /// A device is gone.
    pub(crate) fn link_gone(&mut self, interface: u32) {
        self.links.remove(&interface);
        self.devices.remove(&interface);
        self.neighbours.retain(|(on, _), _| *on != interface);
        self.unconfirmed.retain(|(on, _)| *on != interface);
        self.store_behind(interface);
    }

    /// The program runs on a device from now on.
    pub(crate) fn attached(&mut self, interface: u32, slot: u32) {
        self.devices.insert(interface, slot);
        self.store_behind(interface);
    }

    /// A neighbour was found, changed or lost. All are remembered: the kernel bounds their number. One in use that the
    /// kernel forgets, because it does not see that media uses it, goes on as it was known. Says whether the neighbour
    /// should be asked for.
    pub(crate) fn neighbour_changed(&mut self, neighbour: &Neighbour) -> bool {
        let key = (neighbour.interface, neighbour.address);
        let old = self.neighbours.get(&key).copied().unwrap_or(NeighbourState::Unknown);
        let in_use = self.by_neighbour.contains_key(&key);
        match (neighbour.state, old) {
            (NeighbourState::Unknown, NeighbourState::Known(_)) if in_use => {
                self.unconfirmed.insert(key);
                return true;
            }
            (NeighbourState::Unknown, _) => self.neighbours.remove(&key),
            (state, _) => self.neighbours.insert(key, state),
        };
        self.unconfirmed.remove(&key);
        if old == neighbour.state {
            return false;
        }
        self.store_through(key);
        in_use && !matches!(neighbour.state, NeighbourState::Known(_))
    }

    /// What there is now: whatever is not among these is gone.
    pub(crate) fn read_anew(&mut self, links: Vec<Link>, neighbours: &[Neighbour]) {
        let there: HashSet<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self.links.keys().filter(|index| !there.contains(index)).copied().collect();
        for interface in gone {
            self.link_gone(interface);
        }
        for link in links {
            self.link_changed(link);
        }
        let there: HashSet<NeighbourKey> =
            neighbours.iter().map(|found| (found.interface, found.address)).collect();
        let gone = self.neighbours.keys().filter(|key| !there.contains(key)).copied();
        for (interface, address) in gone.collect::<Vec<_>>() {
            self.neighbour_changed(&Neighbour { interface, address, state: NeighbourState::Unknown });
        }
        for neighbour in neighbours {
            self.neighbour_changed(neighbour);
        }
    }

    /// Name of a device.
    pub(crate) fn interface_name(&self, interface: u32) -> Option<&str> {
        self.links.get(&interface).map(|link| link.name.as_str())
    }

    /// Writes every next hop that leaves by a device, be it through VLAN devices.
    fn store_behind(&self, interface: u32) {
        for (via, index) in &self.indexes {
            if self.stands_on(via.interface, interface) {
                self.store(*index, *via);
            }
        }
    }

    /// Whether a device is `base`, or a VLAN device on it. One that is gone may have stood on anything.
    fn stands_on(&self, interface: u32, base: u32) -> bool {
        let mut at = interface;
        for _ in 0..=MOST_TAGS {
            if at == base {
                return true;
            }
            match self.links.get(&at).map(|link| link.vlan) {
                Some(Some(vlan)) => at = vlan.parent,
                Some(None) => return false,
                None => return true,
            }
        }
        false
    }

    fn store_through(&self, neighbour: NeighbourKey) {
        for index in self.by_neighbour.get(&neighbour).into_iter().flatten() {
            if let Some(via) = self.via(*index) {
                self.store(*index, via);
            }
        }
    }

    /// Writes what is known of a next hop to the kernel's table.
    fn store(&self, index: u32, via: Via) {
        let Ok(egress) = self.egress(&via) else {
            return self.set_state(index, NO_DEVICE);
        };
        if self.kernel_resolves {
            // The MAC addresses are the network stack's business.
            let hop = NextHop::resolved([0; 6], egress.mac, egress.slot, egress.mtu);
            return self.shared.write(index, hop);
        }
        match self.neighbours.get(&via.neighbour()) {
            Some(NeighbourState::Known(mac)) => {
                let hop = NextHop::resolved(*mac, egress.mac, egress.slot, egress.mtu);
                let hop = NextHop { tags: egress.tags.wire(), ..hop };
                // Packets use the record while it is written: not without need.
                if self.shared.read(index) != hop {
                    self.shared.write(index, hop);
                }
            }
            _ => self.set_state(index, 0),
        }
    }

    fn set_state(&self, index: u32, state: u32) {
        self.shared.word32(index, offset_of!(NextHop, state)).store(state, Ordering::Relaxed);
    }

    /// Where a packet leaves: down from the route's device, through VLAN devices, to one that the program runs on.
    fn egress(&self, via: &Via) -> Result<Egress, NextHopError> {
        let not_attached = || {
            let name = self.links.get(&via.interface).map(|link| link.name.clone());
            NextHopError::NotAttached { interface: via.interface, name }
        };
        // From the inside of the frame to its outside.
        let mut tags: Vec<Tag> = via.tags.iter().collect();
        tags.reverse();
        let (mut at, mut mac, mut mtu, mut down) = (via.interface, None, u32::MAX, None);
        let (slot, base) = loop {
            let link = self.links.get(&at).ok_or_else(not_attached)?;
            if !link.up {
                down = Some(&link.name);
            }
            mac.get_or_insert(link.mac);
            mtu = mtu.min(link.mtu);
            if let Some(slot) = self.devices.get(&at) {
                break (*slot, link);
            }
            let vlan = link.vlan.ok_or_else(not_attached)?;
            if tags.len() == MOST_TAGS {
                return Err(NextHopError::TooManyTags);
            }
            tags.push(vlan.tag);
            at = vlan.parent;
        };
        if let Some(name) = down {
            return Err(NextHopError::Down { name: name.clone() });
        }
        let tags = match tags.as_slice() {
            [] => Tags::NONE,
            [tag] => Tags::one(*tag),
            [inner, outer, ..] => {
                mtu = mtu.min(base.mtu.saturating_sub(TAG_BYTES));
                Tags::two(*outer, *inner)
            }
        };
        Ok(Egress { slot, mac: mac.unwrap_or(base.mac), mtu, tags })
    }
}

#[cfg(test)]
mod tests;
