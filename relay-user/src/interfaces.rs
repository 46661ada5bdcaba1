//! The interfaces that the program runs on, through their lives: renamed, down, up, deleted and made again.

use aya::maps::{DevMap, HashMap, MapData};
use relay_common::limits::DEVICES;

use crate::attach::{self, AttachError, AttachedInterface, InterfaceState, ModeChoice};
use crate::device_counters::{DeviceCounters, DeviceDrops};
use crate::error::StartError;
use crate::kernel::Program;
use crate::netlink::Link;

/// One interface that was asked for. Its place in the list is its slot in the device map.
struct Slot {
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

/// The program, and where it runs.
pub(crate) struct Interfaces {
    pub(crate) program: Program,
    devices: Devices,
    mode: ModeChoice,
    slots: Vec<Slot>,
}

impl Interfaces {
    /// Attaches the program to the interfaces of these names.
    ///
    /// # Errors
    /// The first that it cannot run on. Dropping the program takes it off the others.
    pub(crate) fn attach(
        program: Program,
        devices: Devices,
        names: &[String],
        mode: ModeChoice,
        links: &[Link],
    ) -> Result<Self, StartError> {
        if names.is_empty() {
            return Err(StartError::NoInterface);
        }
        if names.len() > DEVICES as usize {
            return Err(StartError::TooManyInterfaces { found: names.len(), most: DEVICES });
        }
        let mut interfaces = Self { program, devices, mode, slots: Vec::with_capacity(names.len()) };
        for (slot, name) in (0..DEVICES).zip(names) {
            let mut report = attach::attach(interfaces.program.xdp()?, name, mode)?;
            let link = links.iter().find(|link| link.index == report.index && link.ethernet);
            let link = link.ok_or_else(|| StartError::NotEthernet(name.clone()))?;
            report.state = state_of(link);
            interfaces.enter(slot, &report)?;
            interfaces.slots.push(Slot { configured: name.clone(), report });
        }
        Ok(interfaces)
    }

    /// The interfaces that are there, by index, and their slots.
    pub(crate) fn slots(&self) -> std::collections::HashMap<u32, u32> {
        let there = (0..).zip(&self.slots).filter(|(_, slot)| slot.report.state != InterfaceState::Gone);
        there.map(|(number, slot)| (slot.report.index, number)).collect()
    }

    /// What there is to say of each interface.
    pub(crate) fn report(&self) -> Vec<AttachedInterface> {
        self.slots.iter().map(|slot| slot.report.clone()).collect()
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
        let slot = u32::try_from(number).ok()?;
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
        let mut report = attach::attach(self.program.xdp()?, &link.name, self.mode)?;
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
        map.set(slot, interface.index, None, 0).map_err(|error| failed(error.into()))?;
        slots.insert(interface.index, slot, 0).map_err(|error| failed(error.into()))?;
        drops.watch(slot, interface).map_err(|error| failed(error.into()))
    }
}

fn state_of(link: &Link) -> InterfaceState {
    if link.up { InterfaceState::Up } else { InterfaceState::Down }
}
