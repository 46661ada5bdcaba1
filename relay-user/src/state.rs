//! What is installed, and its picture in the kernel's maps. Every change is made here, under one lock: one writer.

mod tapped;

use std::collections::HashMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::{self as record, Admission, Destination, Leg, LegKey, Route, Source};
use relay_common::verdict::Drop;

use crate::counters::{Counters, LegCounters};
use crate::error::InstallError;
use crate::leg::{LegId, LegSpec, MediaKind, SourcePolicy};
use crate::leg_table::{LegTable, TableError};
use crate::next_hops::NextHops;
use crate::routes::Target;
use crate::statistics::{LegStatistics, Path, PathCounts};
use crate::vlan::Tags;

/// Drops after which the packet's source still counts as alive: it was admitted first.
const ADMITTED: [Drop; 6] = [
    Drop::NoStream,
    Drop::RemoteUnknown,
    Drop::NextHopUnresolved,
    Drop::TooBig,
    Drop::NoDevice,
    Drop::NoRoute,
];

/// A leg in the kernel.
pub(crate) struct Installed {
    slot: u32,
    key: LegKey,
    spec: LegSpec,
    /// Where its remote side is: told at first, learned later.
    remote: Option<SocketAddrV4>,
    /// Next hop towards the remote side, held while something is sent there.
    hop: Option<u32>,
    /// The leg that sends on what arrives here.
    egress: Option<LegId>,
    /// The legs whose packets leave here.
    ingress: Vec<LegId>,
    seen: (u64, Instant),
}

/// A leg that sends: where to, and its next hop now.
pub(crate) struct Sender {
    pub(crate) leg: LegId,
    pub(crate) target: Target,
    pub(crate) hop: Option<u32>,
}

/// One leg of a plan that passed every check, with the next hop that was acquired for it.
pub(crate) struct Prepared {
    pub(crate) spec: LegSpec,
    pub(crate) hop: Option<u32>,
    /// Index into the plan of the leg that sends on what arrives here.
    pub(crate) egress: Option<usize>,
}

/// Everything that is installed.
pub(crate) struct State {
    table: LegTable,
    counters: Counters,
    pub(crate) next_hops: NextHops,
    installed: HashMap<LegId, Installed>,
    capacity: u32,
}

impl State {
    pub(crate) fn new(table: LegTable, counters: Counters, next_hops: NextHops, capacity: u32) -> Self {
        Self { table, counters, next_hops, installed: HashMap::new(), capacity }
    }

    /// Installs all legs, or none. The caller keeps the next hops if this fails.
    pub(crate) fn install(
        &mut self,
        prepared: Vec<Prepared>,
        now: Instant,
    ) -> Result<Vec<LegId>, InstallError> {
        let slots = self.reserve(&prepared, now)?;
        let id = |slot| LegId { slot, generation: self.table.next_generation(slot) };
        let ids: Vec<LegId> = slots.iter().copied().map(id).collect();
        let streams: Vec<Option<usize>> = prepared.iter().map(|leg| leg.egress).collect();

        for (leg, id) in prepared.into_iter().zip(&ids) {
            let remote = leg.spec.remote.and_then(v4).filter(|remote| remote.port() != 0);
            let installed = Installed {
                slot: id.slot,
                key: key(leg.spec.local),
                remote,
                hop: leg.hop,
                egress: leg.egress.and_then(|at| ids.get(at)).copied(),
                ingress: Vec::new(),
                seen: (0, now),
                spec: leg.spec,
            };
            self.installed.insert(*id, installed);
        }
        for (ingress, egress) in streams.iter().enumerate().filter_map(|(at, egress)| Some((at, (*egress)?)))
        {
            if let Some(sender) = ids.get(egress).and_then(|id| self.installed.get_mut(id)) {
                sender.ingress.extend(ids.get(ingress));
            }
        }
        for id in &ids {
            if let Some((slot, leg, admission)) = self.record(*id) {
                self.table.publish(slot, leg, admission);
            }
        }
        Ok(ids)
    }

    /// Slots with zeroed counters for all legs, or none.
    fn reserve(&mut self, prepared: &[Prepared], now: Instant) -> Result<Vec<u32>, InstallError> {
        let mut slots = Vec::with_capacity(prepared.len());
        let mut failed = None;
        for leg in prepared {
            failed = match self.table.reserve(key(leg.spec.local), now) {
                Ok(slot) => {
                    slots.push(slot);
                    self.counters.zero(slot);
                    None
                }
                Err(TableError::Full) => Some(InstallError::Full { capacity: self.capacity }),
                Err(TableError::Taken) => Some(InstallError::Taken(leg.spec.local)),
                Err(TableError::BucketFull) => Some(InstallError::Crowded(leg.spec.local)),
            };
            if failed.is_some() {
                break;
            }
        }
        let Some(error) = failed else { return Ok(slots) };
        for leg in prepared.iter().take(slots.len()) {
            self.table.remove(key(leg.spec.local), now);
        }
        Err(error)
    }

    /// Removes a leg and everything that leads to it.
    pub(crate) fn remove(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.installed.get(&id) else { return };
        self.table.remove(leg.key, now);
        let (egress, ingress, hop) = (leg.egress, leg.ingress.clone(), leg.hop);

        if let Some(sender) = egress.and_then(|egress| self.installed.get_mut(&egress)) {
            sender.ingress.retain(|other| *other != id);
        }
        for feeder in ingress {
            if let Some(feeder) = self.installed.get_mut(&feeder) {
                feeder.egress = None;
            }
            self.store_egress(feeder);
        }
        if let Some(hop) = hop {
            self.next_hops.release(hop);
        }
        self.installed.remove(&id);
    }

    /// Changes where the remote side of a leg is; the old next hop is released, the new one kept.
    pub(crate) fn move_remote(&mut self, id: LegId, remote: Option<SocketAddrV4>, hop: Option<u32>) {
        let Some(leg) = self.installed.get_mut(&id) else {
            if let Some(hop) = hop {
                self.next_hops.release(hop);
            }
            return;
        };
        leg.remote = remote;
        let old = std::mem::replace(&mut leg.hop, hop);
        for feeder in leg.ingress.clone() {
            self.store_egress(feeder);
        }
        if let Some(old) = old {
            self.next_hops.release(old);
        }
    }

    /// Changes the next hop towards the remote side of a leg, unless that moved meanwhile.
    pub(crate) fn change_hop(&mut self, id: LegId, remote: SocketAddr, hop: u32) {
        match self.installed.get(&id).and_then(|leg| leg.remote) {
            Some(current) if SocketAddr::V4(current) == remote => {
                self.move_remote(id, Some(current), Some(hop));
            }
            _ => self.next_hops.release(hop),
        }
    }

    /// Starts the source policy of a leg anew, with what the other side says now.
    pub(crate) fn tell_remote(&mut self, id: LegId, remote: Option<SocketAddr>) {
        let Some(leg) = self.installed.get_mut(&id) else {
            return;
        };
        leg.spec.remote = remote;
        let Some((slot, told, admission)) = self.record(id) else { return };
        let rest = self.table.admissions();
        rest.word32(slot, offset_of!(Admission, address)).store(admission.address.wire(), Ordering::Relaxed);
        rest.word32(slot, offset_of!(Admission, flags)).store(admission.flags, Ordering::Relaxed);
        self.table.legs().word64(slot, offset_of!(Leg, source)).store(told.source, Ordering::Release);
    }

    /// What is counted for a leg until now.
    pub(crate) fn statistics(&mut self, id: LegId, now: Instant) -> Option<LegStatistics> {
        let leg = self.installed.get(&id)?;
        let counters = self.counters.of(leg.slot);
        let (mut sent, mut sent_bytes) = (0, 0);
        for feeder in leg.ingress.iter().filter_map(|id| self.installed.get(id)) {
            let feeder = self.counters.of(feeder.slot);
            sent += feeder.forwarded;
            sent_bytes += feeder.forwarded_bytes;
        }
        let source = Source::from_word(self.table.legs().read(leg.slot).source).get();
        let remote = leg.remote;
        let admitted = counters.forwarded + dropped_after_admission(&counters);
        Some(LegStatistics {
            received: counters.forwarded + counters.dropped.iter().sum::<u64>(),
            received_bytes: counters.forwarded_bytes + counters.dropped_bytes,
            forwarded: counters.forwarded,
            forwarded_bytes: counters.forwarded_bytes,
            paths: PathCounts { xdp: counters.forwarded, ..PathCounts::default() },
            sent,
            sent_bytes,
            dropped: named(&counters.dropped),
            idle: self.idle(id, admitted, now),
            source: source
                .map(|(address, port)| SocketAddr::from((Ipv4Addr::from(address.get()), port.get()))),
            source_changes: 0,
            remote: remote.map(SocketAddr::V4),
            path: Path::Xdp,
            quality: None,
        })
    }

    /// Packets that all legs, present and past, forwarded, and dropped by reason.
    pub(crate) fn totals(&self) -> (u64, Vec<(&'static str, u64)>) {
        let totals = self.counters.totals(self.table.used());
        (totals.forwarded, named(&totals.dropped))
    }

    /// How many legs are installed, and how many more fit.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        (self.installed.len(), self.table.free())
    }

    /// The leg of an event, if it is still the one that the event was about.
    pub(crate) fn leg_of(&self, slot: u32, generation: u32) -> Option<LegId> {
        let id = LegId { slot, generation };
        self.installed.contains_key(&id).then_some(id)
    }

    /// Legs whose remote side is not where their admitted source is, and that follow it.
    pub(crate) fn strayed(&self) -> Vec<(LegId, SocketAddrV4)> {
        self.installed.keys().filter_map(|id| Some((*id, self.stray(*id)?))).collect()
    }

    /// Where a leg's admitted source is, if media for the remote side does not go there yet but should.
    pub(crate) fn stray(&self, id: LegId) -> Option<SocketAddrV4> {
        let leg = self.installed.get(&id)?;
        if leg.spec.source == SourcePolicy::Pinned {
            return None;
        }
        let (address, port) = Source::from_word(self.table.legs().read(leg.slot).source).get()?;
        let source = SocketAddrV4::new(Ipv4Addr::from(address.get()), port.get());
        (leg.remote != Some(source)).then_some(source)
    }

    /// Every leg that sends somewhere.
    pub(crate) fn senders(&self) -> Vec<Sender> {
        let sender = |(id, leg): (&LegId, &Installed)| {
            let remote = leg.remote.filter(|_| !leg.ingress.is_empty())?;
            let target = Target { remote: remote.into(), local: leg.spec.local, tags: leg.spec.vlan };
            Some(Sender { leg: *id, target, hop: leg.hop })
        };
        self.installed.iter().filter_map(sender).collect()
    }

    /// Tags of the frames that a leg sends.
    pub(crate) fn tags(&self, id: LegId) -> Tags {
        self.installed.get(&id).map_or(Tags::NONE, |leg| leg.spec.vlan)
    }

    /// Local address of a leg, and whether anything is sent from it.
    pub(crate) fn local(&self, id: LegId) -> Option<(SocketAddr, bool)> {
        self.installed.get(&id).map(|leg| (leg.spec.local, !leg.ingress.is_empty()))
    }

    fn idle(&mut self, id: LegId, admitted: u64, now: Instant) -> Duration {
        let Some(leg) = self.installed.get_mut(&id) else {
            return Duration::ZERO;
        };
        if leg.seen.0 != admitted {
            leg.seen = (admitted, now);
        }
        now.duration_since(leg.seen.1)
    }

    /// The kernel's records of a leg, as they should be.
    fn record(&self, id: LegId) -> Option<(u32, Leg, Admission)> {
        let leg = self.installed.get(&id)?;
        let spec = &leg.spec;
        let told = spec.remote.and_then(v4);
        let mut flags = match spec.media {
            MediaKind::Rtp => record::RTP,
            MediaKind::Rtcp => record::RTCP,
            MediaKind::Muxed => record::RTP | record::RTCP,
        };
        if spec.source != SourcePolicy::Learn {
            flags |= record::ADDRESS_TOLD;
        }
        if spec.ssrc.is_some() {
            flags |= record::SSRC_TOLD;
        }
        if spec.payload_types.0 != 0 && Admission::can_tell(spec.payload_types.0) {
            flags |= record::PAYLOAD_TYPES_TOLD;
        }
        if leg.egress.is_some() {
            flags |= record::HAS_STREAM;
        }
        let source = match (spec.source, told) {
            (SourcePolicy::Pinned, Some(told)) if told.port() != 0 => {
                Source::new(wire(*told.ip()), Be16::new(told.port()))
            }
            _ => Source::NONE,
        };
        let (origin, destination, next_hop) = self.egress(leg);
        let route = Route::new(next_hop, if spec.punted { record::route::PUNTED } else { 0 });
        let kernel_leg = Leg { key: leg.key, source: source.word(), destination, origin, route };
        let admission = Admission {
            flags,
            address: told.map(|told| wire(*told.ip())).unwrap_or_default(),
            ssrc: Be32::new(spec.ssrc.unwrap_or_default()),
            payload_types: Admission::payload_type_words(spec.payload_types.0),
            ..Admission::default()
        };
        Some((leg.slot, kernel_leg, admission))
    }

    /// Where packets of a leg go: our address there, the destination, the next hop (0 for nowhere).
    fn egress(&self, leg: &Installed) -> (Be32, Destination, u32) {
        let sender = leg.egress.and_then(|egress| self.installed.get(&egress));
        let Some((sender, remote, hop)) =
            sender.and_then(|sender| Some((sender, sender.remote?, sender.hop?)))
        else {
            return (Be32::default(), Destination::default(), 0);
        };
        let port = sender.key.port();
        (sender.key.address(), Destination::new(wire(*remote.ip()), Be16::new(remote.port()), port), hop)
    }

    /// Writes where packets of a leg go.
    fn store_egress(&self, id: LegId) {
        let Some(leg) = self.installed.get(&id) else {
            return;
        };
        let (origin, destination, next_hop) = self.egress(leg);
        let has_stream = if leg.egress.is_some() { record::HAS_STREAM } else { 0 };
        let legs = self.table.legs();
        let flags = self.table.admissions().word32(leg.slot, offset_of!(Admission, flags));
        flags.store(flags.load(Ordering::Relaxed) & !record::HAS_STREAM | has_stream, Ordering::Relaxed);
        legs.word32(leg.slot, offset_of!(Leg, origin)).store(origin.wire(), Ordering::Relaxed);
        let [low, high] = [destination.address.wire(), destination.ports.wire()].map(u32::to_ne_bytes);
        let mut word = [0; 8];
        word[..4].copy_from_slice(&low);
        word[4..].copy_from_slice(&high);
        legs.word64(leg.slot, offset_of!(Leg, destination))
            .store(u64::from_ne_bytes(word), Ordering::Relaxed);
        let route = legs.word32(leg.slot, offset_of!(Leg, route));
        let marks = route.load(Ordering::Relaxed) & tapped::MARKS;
        let marks = marks | if leg.spec.punted { record::route::PUNTED } else { 0 };
        route.store(Route::new(next_hop, marks).word(), Ordering::Release);
    }
}

fn dropped_after_admission(counters: &LegCounters) -> u64 {
    ADMITTED.iter().filter_map(|reason| counters.dropped.get(*reason as usize)).sum()
}

fn named(dropped: &[u64]) -> Vec<(&'static str, u64)> {
    Drop::ALL
        .iter()
        .map(|reason| reason.name())
        .zip(dropped.iter().copied())
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn key(local: SocketAddr) -> LegKey {
    let address = match local.ip() {
        IpAddr::V4(address) => address,
        // The plan was checked: only IPv4 reaches this.
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    LegKey::new(wire(address), Be16::new(local.port()))
}

fn wire(address: Ipv4Addr) -> Be32 {
    Be32::new(address.to_bits())
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}
