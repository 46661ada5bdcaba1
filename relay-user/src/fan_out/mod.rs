//! Groups: what arrives on one leg goes to many receivers (`docs/fan-out.md`). This part knows the kernel's records and which
//! slots belong together; which legs there are, `state` knows.

mod blocks;
mod devices;
mod engine;
mod error;
mod pair;
mod reader;
mod records;
mod setup;
mod trial;

use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::fan_out::{FanDevice, Group, Losses, Receiver};
use relay_common::leg::{Traffic, route, traffic_index};
use relay_common::retag::Retag;
use relay_common::verdict::Loss;

use crate::counters::Sent;
use crate::kernel::FanOutKernel;
use crate::netlink::Link;
use crate::statistics::Path;
use blocks::{Blocks, Left};

pub(crate) use engine::Engine;
pub use engine::FanOutChoice;
pub use error::FanOutError;
pub(crate) use reader::Reader;
pub(crate) use records::Records;
pub(crate) use setup::FanOutSetup;

/// Bytes that the kernel allows beyond the MTU of a device: the Ethernet header and one tag.
const LINK_HEADERS: u32 = 18;
/// Bytes of the largest frame that is copied: what the pair of devices between blocks takes. The kernel copies a page at most,
/// with what is in front of a frame.
const LARGEST_COPY: u32 = pair::MTU + LINK_HEADERS;

/// What is counted for the receivers of a leg together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Who makes the copies: the XDP program, AF_XDP workers, or sockets.
    pub path: Path,
    /// Why it is they, in one sentence.
    pub reason: String,
    /// Receivers now.
    pub receivers: usize,
    /// Passes that a packet takes: blocks of up to 15 receivers behind one device in XDP, else one.
    pub passes: usize,
    /// The CPU that makes the copies in XDP. Workers run where there is room.
    pub cpu: Option<u32>,
    /// Packets of which copies were made. In XDP those that came out of the queue before the copies: what the leg forwarded,
    /// less these, waits there.
    pub entered: u64,
}

/// All groups, and what the kernel needs for them.
pub(crate) struct FanOut {
    blocks: Blocks,
    records: Records,
    slots: u32,
    stretches: u32,
    /// Who makes the copies.
    engine: Engine,
}

impl FanOut {
    /// No group; `slots` legs are counted on so many CPUs. Who makes the copies is still to be said ([`FanOut::use_engine`]).
    pub(crate) fn new(
        kernel: FanOutKernel,
        slots: u32,
        cpus: u32,
        choice: FanOutChoice,
    ) -> (Self, FanOutSetup) {
        let FanOutKernel {
            groups,
            blocks,
            receivers,
            losses,
            traffic,
            devices,
            fans,
            queues,
            program_slots,
            programs,
        } = kernel;
        let setup = FanOutSetup::new(fans, queues, program_slots, programs, choice);
        let records = Records { groups, blocks, receivers, losses, traffic, devices };
        (Self::over(records, slots, cpus, Engine::new(Path::Xdp, String::new())), setup)
    }

    /// No group; copies are made by so many workers with sockets, which read these records ([`Reader`]), for this reason.
    pub(crate) fn by_sockets(records: Records, slots: u32, workers: u32, reason: &str) -> Self {
        Self::over(records, slots, workers, Engine::new(Path::User, reason.to_owned()))
    }

    fn over(records: Records, slots: u32, stretches: u32, engine: Engine) -> Self {
        let blocks = Blocks::new(records.groups.clone(), records.blocks.clone());
        Self { blocks, records, slots, stretches, engine }
    }

    /// Has this engine make the copies, unless one has begun to; those of adopted groups were begun by another process.
    pub(crate) fn use_engine(&mut self, engine: Engine) {
        if self.engine != engine && (self.blocks.is_empty() || !self.has_engine()) {
            tracing::info!(path = %engine.path, reason = %engine.reason, "who makes the copies for groups");
            self.engine = engine;
        }
    }

    /// Whether it was said who makes the copies.
    pub(crate) fn has_engine(&self) -> bool {
        !self.engine.reason.is_empty()
    }

    /// The records, for whoever makes copies in this process.
    pub(crate) fn records(&self) -> Records {
        self.records.clone()
    }

    /// What the route of a leg with receivers says: that, and whether its packets are punted.
    pub(crate) fn route_flags(&self) -> u32 {
        if self.engine.path == Path::AfXdp { route::FAN_OUT | route::PUNTED } else { route::FAN_OUT }
    }

    /// Takes over the groups of `sources`, legs that may have receivers, which a predecessor left in the records.
    /// `may_receive` says which legs may be receivers. What makes no sense there is taken out.
    pub(crate) fn adopt(&mut self, sources: &[u32], may_receive: impl Fn(u32) -> bool, now: Instant) {
        self.blocks.adopt(&Left { sources, may_receive, cpus: self.stretches }, now);
    }

    /// Has the record of an adopted receiver say what it should, if it was damaged or written half. How far a stream has come that
    /// `continues` stays.
    pub(crate) fn correct(&self, source: u32, receiver: u32, record: Receiver, continues: bool) {
        // Nobody of this process taps it yet.
        self.mark_tapped(receiver, false);
        let found = self.records.receivers.read_settled(receiver);
        // A switch of its source was begun, or taken back: its packets are those of the source before.
        let retag = if found.source == source { found.retag } else { found.retag_before };
        let progress = Retag {
            offsets: retag.offsets,
            base_timestamp: retag.base_timestamp,
            base_time: retag.base_time,
            base_sequence: retag.base_sequence,
            ..record.retag
        };
        let expected = Receiver {
            retag: if continues { progress } else { record.retag },
            retag_before: found.retag_before,
            source,
            ..record
        };
        if found != expected {
            self.records.receivers.write(receiver, expected);
        }
    }

    /// Whether a leg has receivers.
    pub(crate) fn has_group(&self, source: u32) -> bool {
        self.blocks.has_group(source)
    }

    /// Whether any leg has receivers.
    pub(crate) fn has_groups(&self) -> bool {
        !self.blocks.is_empty()
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
        self.records.receivers.write(receiver, Receiver { source, ..record });
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

    /// Has whoever makes the copies copy those for a receiver once more, for taps, or no longer.
    pub(crate) fn mark_tapped(&self, receiver: u32, tapped: bool) {
        let route = self.records.receivers.word32(receiver, offset_of!(Receiver, route));
        if tapped {
            route.fetch_or(route::TAPPED_OUT, Ordering::Relaxed);
        } else {
            route.fetch_and(!route::TAPPED_OUT, Ordering::Relaxed);
        }
    }

    /// Changes where the packets of a receiver go. For an instant they may have nowhere to go, so that none goes to half of a
    /// new address. Who is tapped stays so.
    pub(crate) fn store(&self, receiver: u32, record: Receiver) {
        let route = self.records.receivers.word32(receiver, offset_of!(Receiver, route));
        let mark = route.swap(0, Ordering::Release) & route::TAPPED_OUT;
        let Receiver { retag, retag_before, source, .. } = self.records.receivers.read(receiver);
        let nowhere = relay_common::leg::Route::default();
        self.records
            .receivers
            .write(receiver, Receiver { route: nowhere, retag, retag_before, source, ..record });
        route.store(record.route.word() | mark, Ordering::Release);
    }

    /// Packets of the source of until now are retagged as before, whatever [`FanOut::continue_from`] says of those of `next`.
    pub(crate) fn part(&self, receiver: u32, next: u32) {
        let receivers = &self.records.receivers;
        let retag = receivers.read_settled(receiver).retag;
        receivers.write_part(receiver, offset_of!(Receiver, retag_before), retag);
        receivers.word32(receiver, offset_of!(Receiver, source)).store(next, Ordering::Release);
    }

    /// How packets of the source before are retagged.
    pub(crate) fn retag_before(&self, receiver: u32) -> Retag {
        self.records.receivers.read_settled(receiver).retag_before
    }

    /// How packets of the source that a receiver was told of are retagged. None of them may be on its way yet.
    pub(crate) fn continue_from(&self, receiver: u32, retag: Retag) {
        self.records.receivers.write_part(receiver, offset_of!(Receiver, retag), retag);
    }

    /// A receiver keeps the source that it had, because it gets none after all.
    pub(crate) fn stay(&self, receiver: u32, source: u32) {
        self.records
            .receivers
            .word32(receiver, offset_of!(Receiver, source))
            .store(source, Ordering::Release);
    }

    /// The receivers of a leg are those of another from now on, which has none.
    pub(crate) fn switch(&mut self, source: u32, next: u32) {
        self.blocks.switch(source, next);
    }

    /// Whether a receiver sits where those behind this device do.
    pub(crate) fn is_behind(&self, receiver: u32, device: u32) -> bool {
        // A predecessor's XDP may have made blocks that are not alike.
        let is_anywhere = self.engine.path != Path::Xdp;
        self.blocks.device(receiver).is_some_and(|found| is_anywhere || found == self.place(device))
    }

    /// The device that a block is for. Workers send by any, so that with them all blocks are alike.
    fn place(&self, device: u32) -> u32 {
        if self.engine.path == Path::Xdp { device } else { 0 }
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
        let (passes, cpu) = if self.engine.path == Path::Xdp { (blocks, Some(cpu)) } else { (1, None) };
        let entered = self.records.groups.word64(source, offset_of!(Group, entered)).load(Ordering::Relaxed);
        let receivers = self.receivers(source).len();
        let Engine { path, reason } = self.engine.clone();
        Some(GroupStatistics { path, reason, receivers, passes, cpu, entered })
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
