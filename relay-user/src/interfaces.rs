//! The interfaces that the program runs on, through their lives: renamed, down, up, deleted and made again.

use std::error::Error;
use std::os::fd::AsFd;

use aya::maps::{DevMap, HashMap, MapData, MapError};
use relay_common::limits::DEVICES;

use crate::LoadError;
use crate::attach::{self, AttachError, AttachedInterface, Attachments, InterfaceState, ModeChoice};
use crate::device_counters::{DeviceCounters, DeviceDrops};
use crate::error::StartError;
use crate::kernel::Program;
use crate::netlink::Link;

/// One interface that was asked for.
struct Slot {
    /// Its slot in the device map. It stays with the interface from one process to the next, because next hops name it.
    number: u32,
    /// The name that it was asked for by.
    configured: String,
    report: AttachedInterface,
}

/// The maps that know devices.
pub(crate) struct Devices {
    /// Where packets leave, by slot.
    pub(crate) map: DevMap<MapData>,
    /// Slots by interface index.
    pub(crate) slots: HashMap<MapData, u32, u32>,
    /// What devices refused.
    pub(crate) drops: DeviceDrops,
}

impl Devices {
    /// Gives each interface a slot: the one that a predecessor gave it, or a free one. Returns the slots by interface
    /// index. Of what else a predecessor left in the maps, nothing is used any more.
    ///
    /// # Errors
    /// The kernel refuses, because an interface has just gone, for one.
    pub(crate) fn assign(&mut self, interfaces: &[u32]) -> Result<Assigned, Box<dyn Error + Send + Sync>> {
        let mut assigned = Assigned::new();
        // Slots of interfaces that are not asked for now come last: somebody may ask for them again.
        let (mut free, mut used_before) = (Vec::new(), Vec::new());
        for slot in 0..DEVICES {
            match self.map.get(slot, 0) {
                Ok(found)
                    if interfaces.contains(&found.if_index) && !assigned.contains_key(&found.if_index) =>
                {
                    assigned.insert(found.if_index, slot);
                }
                Ok(_) => used_before.push(slot),
                Err(MapError::KeyNotFound) => free.push(slot),
                Err(error) => return Err(error.into()),
            }
        }
        let mut free = free.into_iter().chain(used_before);
        for interface in interfaces {
            if !assigned.contains_key(interface) {
                let slot = free.next().ok_or(MapError::KeyNotFound)?;
                self.map.set(slot, *interface, None, 0)?;
                assigned.insert(*interface, slot);
            }
        }
        let stale: Vec<u32> =
            self.slots.keys().flatten().filter(|interface| !assigned.contains_key(interface)).collect();
        for interface in stale {
            self.slots.remove(&interface)?;
        }
        Ok(assigned)
    }
}

/// Slots of the device map, by interface index.
pub(crate) type Assigned = std::collections::HashMap<u32, u32>;

/// The interfaces of these names, by index.
///
/// # Errors
/// One is not there, or is no Ethernet device; or there are none, or too many.
pub(crate) fn find(names: &[String], links: &[Link]) -> Result<Vec<u32>, StartError> {
    if names.is_empty() {
        return Err(StartError::NoInterface);
    }
    if names.len() > DEVICES as usize {
        return Err(StartError::TooManyInterfaces { found: names.len(), most: DEVICES });
    }
    let index = |name: &String| {
        let index = attach::index_of(name)?;
        let is_ethernet = links.iter().any(|link| link.index == index && link.ethernet);
        if is_ethernet { Ok(index) } else { Err(StartError::NotEthernet(name.clone())) }
    };
    names.iter().map(index).collect()
}

/// The program, and where it runs.
pub(crate) struct Interfaces {
    pub(crate) program: Program,
    attachments: Attachments,
    devices: Devices,
    mode: ModeChoice,
    slots: Vec<Slot>,
}

impl Interfaces {
    /// Runs the program on the interfaces of these names, whose slots were assigned, and on no other. Where a
    /// predecessor's runs, it is replaced.
    ///
    /// # Errors
    /// The first that it cannot run on.
    pub(crate) fn attach(
        program: Program,
        attachments: Attachments,
        devices: Devices,
        names: &[String],
        mode: ModeChoice,
        links: &[Link],
        assigned: &Assigned,
    ) -> Result<Self, StartError> {
        let slots = Vec::with_capacity(names.len());
        let mut interfaces = Self { program, attachments, devices, mode, slots };
        for name in names {
            let mut report = interfaces.run_on(name)?;
            let missing = || AttachError::Missing(name.clone());
            let link = links.iter().find(|link| link.index == report.index).ok_or_else(missing)?;
            let number = *assigned.get(&report.index).ok_or_else(missing)?;
            report.state = state_of(link);
            interfaces.enter(number, &report)?;
            interfaces.slots.push(Slot { number, configured: name.clone(), report });
        }
        let wanted: Vec<u32> = assigned.keys().copied().collect();
        interfaces.attachments.keep_only(&wanted);
        Ok(interfaces)
    }

    /// Takes the program off every interface.
    pub(crate) fn detach(&mut self) {
        self.attachments.keep_only(&[]);
    }

    fn run_on(&mut self, name: &str) -> Result<AttachedInterface, StartError> {
        let program = self.program.xdp()?.fd().map_err(|error| LoadError::Refused(error.into()))?;
        Ok(self.attachments.attach(program.as_fd(), name, self.mode)?)
    }

    /// The interfaces that are there, by index, and their slots.
    pub(crate) fn slots(&self) -> Assigned {
        let there = self.slots.iter().filter(|slot| slot.report.state != InterfaceState::Gone);
        there.map(|slot| (slot.report.index, slot.number)).collect()
    }

    /// What there is to say of each interface.
    pub(crate) fn report(&self) -> Vec<AttachedInterface> {
        self.slots.iter().map(|slot| slot.report.clone()).collect()
    }

    /// Counts what the pair of devices between blocks of groups refuses, too. Works in the network namespace of the calling
    /// thread.
    pub(crate) fn count_pair(&mut self, near: u32) {
        if let Err(error) = self.devices.drops.watch_pair(near) {
            tracing::warn!(%error, "what is lost between two blocks of a group is not counted");
        }
    }

    /// What devices refused.
    pub(crate) fn drops(&self) -> Vec<DeviceCounters> {
        self.devices.drops.read()
    }

    /// A device appeared, or changed. If it is one of ours that was deleted and made again, the program is attached to
    /// it; then its slot is returned.
    pub(crate) fn link_changed(&mut self, link: &Link) -> Option<u32> {
        let gone = |slot: &Slot| slot.report.state == InterfaceState::Gone;
        let same = |slot: &&mut Slot| slot.report.index == link.index && !gone(slot);
        if let Some(slot) = self.slots.iter_mut().find(same) {
            slot.report.name.clone_from(&link.name);
            slot.report.state = state_of(link);
            return None;
        }
        let named = |slot: &Slot| slot.report.name == link.name || slot.configured == link.name;
        let number =
            self.slots.iter().position(|slot| gone(slot) && named(slot)).filter(|_| link.ethernet)?;
        let slot = self.slots.get(number)?.number;
        let attached = self.attach_again(slot, link);
        let place = self.slots.get_mut(number)?;
        match attached {
            Ok(report) => {
                tracing::info!(interface = %link.name, mode = %report.mode, "an interface is there again");
                place.report = report;
                Some(slot)
            }
            Err(error) => {
                tracing::warn!(interface = %link.name, %error, "an interface is there again, but of no use");
                place.report.reason = format!("it was deleted and made again, and {error}");
                None
            }
        }
    }

    /// A device is gone, and what was attached to it. Says whether it was one of ours.
    pub(crate) fn link_gone(&mut self, index: u32) -> bool {
        let there =
            |slot: &&mut Slot| slot.report.index == index && slot.report.state != InterfaceState::Gone;
        let Some(slot) = self.slots.iter_mut().find(there) else {
            return false;
        };
        slot.report.state = InterfaceState::Gone;
        slot.report.reason = "the interface was deleted".into();
        // The kernel emptied its slot of the device map itself; this entry would lead nowhere, and may be gone.
        let _ = self.devices.slots.remove(&index);
        tracing::warn!(interface = %slot.report.name, "an interface was deleted");
        true
    }

    /// The list of all devices: those of ours that are not in it are gone.
    pub(crate) fn read_anew(&mut self, links: &[Link]) -> Vec<(u32, u32)> {
        let missing = |slot: &&Slot| !links.iter().any(|link| link.index == slot.report.index);
        let missing: Vec<u32> = self.slots.iter().filter(missing).map(|slot| slot.report.index).collect();
        for index in missing {
            self.link_gone(index);
        }
        links.iter().filter_map(|link| Some((link.index, self.link_changed(link)?))).collect()
    }

    fn attach_again(&mut self, slot: u32, link: &Link) -> Result<AttachedInterface, StartError> {
        let mut report = self.run_on(&link.name)?;
        if report.index != link.index {
            // It was deleted and made once more meanwhile: that is told next.
            return Err(AttachError::Missing(link.name.clone()).into());
        }
        report.state = state_of(link);
        self.enter(slot, &report)?;
        Ok(report)
    }

    /// Tells the program that an interface has a slot.
    fn enter(&mut self, slot: u32, interface: &AttachedInterface) -> Result<(), StartError> {
        let failed = |error| StartError::Device(interface.name.clone(), error);
        let Devices { map, slots, drops } = &mut self.devices;
        let there = map.get(slot, 0).is_ok_and(|found| found.if_index == interface.index);
        if !there {
            map.set(slot, interface.index, None, 0).map_err(|error| failed(error.into()))?;
        }
        slots.insert(interface.index, slot, 0).map_err(|error| failed(error.into()))?;
        drops.watch(slot, interface).map_err(|error| failed(error.into()))
    }
}

fn state_of(link: &Link) -> InterfaceState {
    if link.up { InterfaceState::Up } else { InterfaceState::Down }
}
