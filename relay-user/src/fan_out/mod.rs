//! Groups: what arrives on one leg goes to many receivers (`docs/fan-out.md`). This part knows the kernel's records and which
//! slots belong together; which legs there are, `state` knows.

mod blocks;
mod devices;
mod error;
mod pair;
mod reader;
mod records;
mod trial;

use std::collections::HashMap;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::fan_out::{FanDevice, Group, Losses, Receiver};
use relay_common::leg::{Traffic, traffic_index};
use relay_common::verdict::Loss;

use crate::LoadError;
use crate::counters::Sent;
use crate::kernel::{FanOutKernel, FanOutPrograms};
use crate::netlink::Link;
use crate::statistics::Path;
use blocks::Blocks;

pub use error::FanOutError;
use pair::{Pair, Purpose};
pub(crate) use reader::Reader;
pub(crate) use records::Records;

/// Bytes that the kernel allows beyond the MTU of a device: the Ethernet header and one tag.
const LINK_HEADERS: u32 = 18;
/// Bytes of the largest frame that is copied: what the pair of devices between blocks takes. The kernel copies a page at most,
/// with what is in front of a frame.
const LARGEST_COPY: u32 = pair::MTU + LINK_HEADERS;

/// What is counted for the receivers of a leg together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Who makes the copies: the XDP program, or sockets; [`crate::Relay::backend`] says why it is sockets.
    pub path: Path,
    /// Receivers now.
    pub receivers: usize,
    /// Passes that a packet takes: blocks of up to 15 receivers behind one device in XDP, one pass with sockets.
    pub passes: usize,
    /// The CPU that makes the copies in XDP. A worker with sockets runs where there is room.
    pub cpu: Option<u32>,
    /// Packets of which copies were made. In XDP those that came out of the queue before the copies: what the leg forwarded,
    /// less these, waits there or did not fit.
    pub entered: u64,
}

/// All groups, and what the kernel needs for them.
pub(crate) struct FanOut {
    blocks: Blocks,
    records: Records,
    slots: u32,
    stretches: u32,
    /// Who makes the copies.
    path: Path,
}

/// What the kernel needs before the first group, and for each device.
pub(crate) struct FanOutSetup {
    fans: std::os::fd::OwnedFd,
    queues: std::os::fd::OwnedFd,
    programs: Result<FanOutPrograms, Arc<LoadError>>,
    pair: Option<Pair>,
    cpus: Vec<u32>,
}

impl FanOut {
    /// No group; `slots` legs are counted on so many CPUs.
    pub(crate) fn new(kernel: FanOutKernel, slots: u32, cpus: u32) -> (Self, FanOutSetup) {
        let FanOutKernel { groups, blocks, receivers, losses, traffic, devices, fans, queues, programs } =
            kernel;
        let setup =
            FanOutSetup { fans, queues, programs: programs.map_err(Arc::new), pair: None, cpus: Vec::new() };
        let records = Records { groups, blocks, receivers, losses, traffic, devices };
        (Self::over(records, slots, cpus, Path::Xdp), setup)
    }

    /// No group; copies are made by so many workers with sockets, which read these records ([`Reader`]).
    pub(crate) fn by_sockets(records: Records, slots: u32, workers: u32) -> Self {
        Self::over(records, slots, workers, Path::User)
    }

    fn over(records: Records, slots: u32, stretches: u32, path: Path) -> Self {
        let blocks = Blocks::new(records.groups.clone(), records.blocks.clone());
        Self { blocks, records, slots, stretches, path }
    }

    /// Whether a leg has receivers.
    pub(crate) fn has_group(&self, source: u32) -> bool {
        self.blocks.has_group(source)
    }

    /// Makes a slot a receiver of another, from the next packet on. `record` says where its packets go.
    ///
    /// # Errors
    /// Every block is in use.
    pub(crate) fn join(
        &mut self,
        source: u32,
        receiver: u32,
        device: u32,
        record: Receiver,
        cpus: &[u32],
        now: Instant,
    ) -> Result<(), FanOutError> {
        let cpu =
            cpus.iter().copied().min_by_key(|cpu| self.blocks.load(*cpu)).ok_or(FanOutError::NoDevice)?;
        self.records.receivers.write(receiver, record);
        let device = self.place(device);
        let joined = self.blocks.join(source, receiver, device, cpu, now);
        if joined { Ok(()) } else { Err(FanOutError::Full(relay_common::fan_out::BLOCKS)) }
    }

    /// Counts a receiver anew.
    pub(crate) fn zero(&self, receiver: u32) {
        for stretch in 0..=self.stretches {
            self.records.traffic.write(traffic_index(stretch, self.slots, receiver), Traffic::default());
        }
        self.records.losses.write(receiver, Losses::default());
    }

    /// Changes where the packets of a receiver go. For an instant they may have nowhere to go, so that none goes to half of a
    /// new address.
    pub(crate) fn store(&self, receiver: u32, record: Receiver) {
        let route = self.records.receivers.word32(receiver, offset_of!(Receiver, route));
        route.store(0, Ordering::Release);
        let retag = self.records.receivers.read(receiver).retag;
        self.records
            .receivers
            .write(receiver, Receiver { route: relay_common::leg::Route::default(), retag, ..record });
        route.store(record.route.word(), Ordering::Release);
    }

    /// Whether a receiver sits where those behind this device do.
    pub(crate) fn is_behind(&self, receiver: u32, device: u32) -> bool {
        self.blocks.device(receiver) == Some(self.place(device))
    }

    /// The device that a block is for. The network stack sends by any, so that with sockets all blocks are alike.
    fn place(&self, device: u32) -> u32 {
        if self.path == Path::User { 0 } else { device }
    }

    /// Where the packets of a receiver go.
    pub(crate) fn record(&self, receiver: u32) -> Receiver {
        self.records.receivers.read(receiver)
    }

    /// Takes a receiver out of its group. Says whose that was, and whether it has ended.
    pub(crate) fn leave(&mut self, receiver: u32, now: Instant) -> Option<(u32, bool)> {
        self.blocks.leave(receiver, now)
    }

    /// The receivers of a leg.
    pub(crate) fn receivers(&self, source: u32) -> Vec<u32> {
        self.blocks.receivers(source)
    }

    /// What was sent to a receiver, and what was not, by reason.
    pub(crate) fn counted(&self, receiver: u32) -> (Sent, Vec<(&'static str, u64)>) {
        let mut sent = Sent::default();
        for stretch in 0..=self.stretches {
            sent += self.records.traffic.read(traffic_index(stretch, self.slots, receiver)).into();
        }
        let losses = self.records.losses.read(receiver).packets;
        let lost = Loss::ALL.iter().zip(losses).filter(|(_, count)| *count > 0);
        (sent, lost.map(|(loss, count)| (loss.name(), count)).collect())
    }

    /// What is counted for a group.
    pub(crate) fn statistics(&self, source: u32) -> Option<GroupStatistics> {
        let (cpu, blocks) = self.blocks.group(source)?;
        let (passes, cpu) = if self.path == Path::User { (1, None) } else { (blocks, Some(cpu)) };
        let entered = self.records.groups.word64(source, offset_of!(Group, entered)).load(Ordering::Relaxed);
        let receivers = self.receivers(source).len();
        Some(GroupStatistics { path: self.path, receivers, passes, cpu, entered })
    }

    /// Tells the program what the devices in these slots take; `None` for one that is gone.
    pub(crate) fn set_devices<'a>(&self, devices: impl Iterator<Item = (u32, Option<&'a Link>)>) {
        for (slot, link) in devices {
            let largest =
                link.filter(|link| link.up).map_or(0, |link| (link.mtu + LINK_HEADERS).min(LARGEST_COPY));
            self.records
                .devices
                .word32(slot, offset_of!(FanDevice, largest))
                .store(largest, Ordering::Relaxed);
        }
    }
}

impl FanOutSetup {
    /// Makes what the first group needs, once; in the network namespace of the calling thread. Returns the CPUs that make
    /// copies.
    ///
    /// # Errors
    /// The kernel refused something.
    pub(crate) fn prepare(&mut self, devices: &HashMap<u32, u32>) -> Result<Vec<u32>, FanOutError> {
        if let Some(cpus) = self.prepared() {
            return Ok(cpus);
        }
        let programs = self.programs.as_ref().map_err(|error| FanOutError::Programs(Arc::clone(error)))?;
        let cpus = devices::online_cpus()?;
        let interface = devices.keys().min().copied().ok_or(FanOutError::NoDevice)?;
        trial::run(interface, &cpus)?;
        let pair = Pair::make(Purpose::Further, interface, cpus.len(), programs.further.as_fd())?;
        devices::make_queues(self.queues.as_fd(), &cpus, programs)?;
        for (interface, slot) in devices {
            devices::make_fans(self.fans.as_fd(), *slot, *interface, pair.near, programs)?;
        }
        self.pair = Some(pair);
        self.cpus = cpus;
        Ok(self.cpus.clone())
    }

    /// The CPUs that make copies, once everything is made.
    pub(crate) fn prepared(&self) -> Option<Vec<u32>> {
        self.pair.as_ref().map(|_| self.cpus.clone())
    }

    /// A device was made anew: the kernel has taken it out of all maps.
    ///
    /// # Errors
    /// The kernel refused something.
    pub(crate) fn device_made(&self, slot: u32, interface: u32) -> Result<(), FanOutError> {
        match (&self.pair, &self.programs) {
            (Some(pair), Ok(programs)) => {
                devices::make_fans(self.fans.as_fd(), slot, interface, pair.near, programs)
            }
            _ => Ok(()),
        }
    }

    /// Removes the devices that were made.
    pub(crate) fn end(&mut self) {
        self.pair = None;
    }
}
