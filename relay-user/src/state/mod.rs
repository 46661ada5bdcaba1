//! What is installed, and its picture in the kernel's maps. Every change is made here, under one lock: one writer.

mod adopt;
mod audience;
#[cfg(any(test, fuzzing))]
pub(crate) mod damaged;
mod egress;
mod group_switch;
mod install;
mod receivers;
mod record;
mod reported;
mod sample;
mod shared_ports;
mod source;
mod statistics;
mod switch;
mod tapped;
mod translated;

use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::address::Ipv6;
use relay_common::ledger::Ledger;
use relay_common::leg::{Addresses6, Leg, Source};
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::Retag;

use crate::audience::{Audience, KEY_FRAME_INTERVAL, SILENCE};
use crate::counters::{Counters, Sent};
use crate::fan_out::FanOut;
use crate::kernel::SharedArray;
use crate::leg::{LegId, LegSpec};
use crate::leg_table::{LegTable, Place};
use crate::next_hops::NextHops;
use crate::payload_maps::PayloadMaps;
use crate::quality::Meter;
use crate::rtcp::Translator;
use crate::statistics::Path;

pub(crate) use egress::Sender;
pub(crate) use install::Prepared;
pub(crate) use sample::SLOTS_AT_ONCE;
use shared_ports::SharedPorts;

/// A leg in the kernel.
pub(crate) struct Installed {
    id: LegId,
    place: Place,
    spec: LegSpec,
    /// Number of the shared port that it is, or belongs to; 0 for none.
    group: u16,
    /// Number of its table of payload types; 0 for none.
    payload_map: u16,
    /// Where its remote side is: told at first, learned later.
    remote: Option<SocketAddr>,
    /// Next hop towards the remote side, held while something is sent there.
    hop: Option<u32>,
    /// The leg that sends on what arrives here.
    egress: Option<LegId>,
    /// The leg whose packets it receives, together with others.
    source: Option<LegId>,
    /// It leads nowhere for the moment, because `egress` or its receivers are being switched to another leg.
    is_cut: bool,
    /// What had been counted here when `egress` began to send it on.
    sent_elsewhere: Sent,
    /// The legs whose packets leave here.
    ingress: Vec<LegId>,
    /// What left here and came from legs that lead elsewhere now.
    sent_before: Sent,
    activity: Activity,
    /// When it was installed, nanoseconds of CLOCK_BOOTTIME.
    created: u64,
    /// What the CPUs measured, put together; only for legs that measure.
    meter: Option<Box<Meter>>,
}

impl Installed {
    /// Whether anything is sent from it.
    fn sends(&self) -> bool {
        !self.ingress.is_empty() || self.source.is_some()
    }
}

/// When and by whom packets of a leg were last admitted, and from where.
#[derive(Clone, Copy, Debug)]
struct Activity {
    /// Packets that had been admitted when that changed last.
    admitted: u64,
    since: Instant,
    path: Path,
    /// Packets of each path at that time: XDP, AF_XDP, sockets.
    by_path: [u64; 3],
    /// The source that was admitted last, and how often it changed.
    source: Source,
    source_changes: u64,
}

/// The records of a leg beside those of the table, by the same index.
pub(crate) struct LegRecords {
    pub(crate) addresses6: SharedArray<Addresses6>,
    pub(crate) retags: SharedArray<Retag>,
    pub(crate) police: SharedArray<Police>,
    /// At `traffic_index`: a stretch for each CPU.
    pub(crate) quality: SharedArray<Quality>,
    /// What a successor must know.
    pub(crate) ledger: SharedArray<Ledger>,
    /// What workers know of RTCP that is translated.
    pub(crate) translator: Translator,
}

impl LegRecords {
    /// Writes one address of a leg's record word by word: the kernel half writes another of the same record.
    fn store_address(&self, slot: u32, offset: usize, address: &Ipv6) {
        for (at, word) in address.0.iter().enumerate() {
            let place = self.addresses6.word32(slot, offset + at * size_of::<u32>());
            place.store(word.wire(), Ordering::Relaxed);
        }
    }
}

/// Everything that is installed.
pub(crate) struct State {
    table: LegTable,
    records: LegRecords,
    counters: Counters,
    pub(crate) next_hops: NextHops,
    payload_maps: PayloadMaps,
    shared_ports: SharedPorts,
    /// Groups.
    fan_out: FanOut,
    audience: Audience,
    /// By slot.
    installed: Vec<Option<Box<Installed>>>,
    count: usize,
    /// Legs by which streams leave under another name.
    renamers: usize,
    capacity: u32,
}

impl State {
    pub(crate) fn new(
        table: LegTable,
        records: LegRecords,
        counters: Counters,
        next_hops: NextHops,
        payload_maps: PayloadMaps,
        fan_out: FanOut,
    ) -> Self {
        let slots = table.slots();
        Self {
            table,
            records,
            counters,
            next_hops,
            payload_maps,
            shared_ports: SharedPorts::default(),
            fan_out,
            audience: Audience::new(KEY_FRAME_INTERVAL, Some(SILENCE)),
            installed: std::iter::repeat_with(|| None).take(slots as usize).collect(),
            count: 0,
            renamers: 0,
            capacity: slots.saturating_sub(1),
        }
    }

    /// How many legs are installed, and how many more fit.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        (self.count, self.table.free())
    }

    /// How many legs there is room for, and on how many CPUs they are counted.
    pub(crate) fn capacity(&self) -> (u32, u32) {
        (self.capacity, self.counters.cpus())
    }

    /// The leg of an event, if it is still the one that the event was about.
    pub(crate) fn leg_of(&self, slot: u32, generation: u32) -> Option<LegId> {
        self.leg(LegId { slot, generation }).map(|leg| leg.id)
    }

    /// Local address of a leg, and whether anything is sent from it.
    pub(crate) fn local(&self, id: LegId) -> Option<(SocketAddr, bool)> {
        self.leg(id).map(|leg| (leg.spec.local, leg.sends()))
    }

    /// Every leg, and what the caller asked for.
    pub(crate) fn specs(&self) -> Vec<(LegId, LegSpec)> {
        self.legs().map(|leg| (leg.id, leg.spec.clone())).collect()
    }

    fn legs(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().flatten().map(AsRef::as_ref)
    }

    fn leg(&self, id: LegId) -> Option<&Installed> {
        self.installed.get(id.slot as usize)?.as_deref().filter(|leg| leg.id == id)
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Installed> {
        self.installed.get_mut(id.slot as usize)?.as_deref_mut().filter(|leg| leg.id == id)
    }

    /// The source that a leg admits now.
    fn admitted_source(&self, leg: &Installed) -> Option<SocketAddr> {
        let slot = leg.id.slot;
        let word = self.table.legs().word64(slot, offset_of!(Leg, source)).load(Ordering::Acquire);
        let source = Source::from_word(word);
        record::address_of(source, &self.records.addresses6.read(slot).source)
    }
}
