//! What the kernel needs for groups beside their records: queues, device maps, programs, and the pair of devices between blocks.
//! With a state folder all of it outlives the process, and the next one puts its own programs in place.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::pair::{Pair, Purpose};
use super::{FanOutChoice, FanOutError, devices, trial};
use crate::LoadError;
use crate::kernel::FanOutPrograms;

/// What the kernel needs before the first group, and for each device.
pub(crate) struct FanOutSetup {
    fans: OwnedFd,
    queues: OwnedFd,
    program_slots: OwnedFd,
    programs: Result<FanOutPrograms, Arc<LoadError>>,
    /// Where the link of the pair is pinned; nowhere if it ends with the process.
    folder: Option<PathBuf>,
    pair: Option<Pair>,
    /// The interface in each slot that device maps were made for.
    made: HashMap<u32, u32>,
    cpus: Vec<u32>,
    /// What the caller wants.
    pub(super) choice: FanOutChoice,
    /// What is wrong with the kernel's copies, if it was tried and something is.
    pub(super) untrusted: Option<String>,
}

impl FanOutSetup {
    /// Nothing is made yet.
    pub(super) fn new(
        fans: OwnedFd,
        queues: OwnedFd,
        program_slots: OwnedFd,
        programs: Result<FanOutPrograms, LoadError>,
        choice: FanOutChoice,
    ) -> Self {
        Self {
            fans,
            queues,
            program_slots,
            programs: programs.map_err(Arc::new),
            folder: None,
            pair: None,
            made: HashMap::new(),
            cpus: Vec::new(),
            choice,
            untrusted: None,
        }
    }

    /// The pair is to outlive the process, and may be there already: its link is pinned in this folder.
    pub(crate) fn keep_in(&mut self, folder: PathBuf) {
        self.folder = Some(folder);
    }

    /// Whether a predecessor made what groups need.
    pub(crate) fn is_left(&self) -> bool {
        self.folder.as_deref().is_some_and(|folder| matches!(Pair::find(folder), Ok(Some(_))))
    }

    /// Makes what the first group needs, once, and what devices need that are new to it, by slots of interfaces; in the network
    /// namespace of the calling thread. What a predecessor made gets the programs of this process: every packet is seen by the
    /// old ones or the new ones. Returns the CPUs that make copies.
    ///
    /// # Errors
    /// The kernel refused something.
    pub(crate) fn prepare(&mut self, devices: &HashMap<u32, u32>) -> Result<Vec<u32>, FanOutError> {
        let programs = self.programs.as_ref().map_err(|error| FanOutError::Programs(Arc::clone(error)))?;
        if let Some(pair) = &self.pair {
            for (interface, slot) in devices {
                if self.made.get(slot) != Some(interface) {
                    devices::make_fans(self.fans.as_fd(), *slot, *interface, pair.near, programs)?;
                    self.made.insert(*slot, *interface);
                }
            }
            return Ok(self.cpus.clone());
        }
        let cpus = devices::online_cpus()?;
        let interface = devices.keys().min().copied().ok_or(FanOutError::NoDevice)?;
        let left = self.folder.as_deref().map(Pair::find).transpose()?.flatten();
        let pair = match left {
            Some(pair) => pair,
            None => {
                trial::run(interface, &cpus)?;
                let (further, folder) = (programs.further.as_fd(), self.folder.as_deref());
                Pair::make(Purpose::Further, interface, cpus.len(), further, folder)?
            }
        };
        for (interface, slot) in devices {
            devices::make_fans(self.fans.as_fd(), *slot, *interface, pair.near, programs)?;
            self.made.insert(*slot, *interface);
        }
        // From here on packets are copied by these programs.
        devices::hand_over(self.program_slots.as_fd(), programs)?;
        devices::make_queues(self.queues.as_fd(), &cpus, programs)?;
        pair.run(programs)?;
        self.pair = Some(pair);
        self.cpus = cpus;
        Ok(self.cpus.clone())
    }

    /// The CPUs that make copies, once everything is made.
    pub(crate) fn prepared(&self) -> Option<Vec<u32>> {
        self.pair.as_ref().map(|_| self.cpus.clone())
    }

    /// The near end of the pair of devices between blocks, once there is one.
    pub(crate) fn pair(&self) -> Option<u32> {
        self.pair.as_ref().map(|pair| pair.near)
    }

    /// A device was made anew: the kernel has taken it out of all maps.
    ///
    /// # Errors
    /// The kernel refused something.
    pub(crate) fn device_made(&mut self, slot: u32, interface: u32) -> Result<(), FanOutError> {
        self.made.remove(&slot);
        if self.pair.is_some() { self.prepare(&HashMap::from([(interface, slot)])).map(drop) } else { Ok(()) }
    }

    /// Removes the devices that were made, whoever might find them.
    pub(crate) fn end(&mut self) {
        if let Some(pair) = self.pair.take() {
            pair.remove();
        }
    }
}
