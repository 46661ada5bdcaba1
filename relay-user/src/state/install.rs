//! Legs come and go.

use std::net::SocketAddr;
use std::time::Instant;

use relay_common::leg::{Leg, Source};

use crate::counters::Sent;
use crate::error::InstallError;
use crate::ledger::boot_time;
use crate::leg::{LegId, LegSpec, Sharing};
use crate::leg_table::TableError;
use crate::quality::Meter;
use crate::statistics::{LegStatistics, Path};

use super::translated::renames;
use super::{Activity, Installed, State, record};

/// One leg of a plan that passed every check, with the next hop that was acquired for it.
pub(crate) struct Prepared {
    pub(crate) spec: LegSpec,
    pub(crate) hop: Option<u32>,
    /// Index into the plan of the leg that sends on what arrives here.
    pub(crate) egress: Option<usize>,
}

/// What was taken for a leg that is not installed yet.
struct Reserved {
    slot: u32,
    group: u16,
    payload_map: u16,
}

impl State {
    /// Installs all legs, or none. The caller keeps the next hops if this fails.
    pub(crate) fn install(
        &mut self,
        prepared: Vec<Prepared>,
        now: Instant,
    ) -> Result<Vec<LegId>, InstallError> {
        let reserved = self.reserve(&prepared, now)?;
        let id = |reserved: &Reserved| LegId {
            slot: reserved.slot,
            generation: self.table.next_generation(reserved.slot),
        };
        let ids: Vec<LegId> = reserved.iter().map(id).collect();
        let streams: Vec<Option<usize>> = prepared.iter().map(|leg| leg.egress).collect();

        for ((leg, id), reserved) in prepared.into_iter().zip(&ids).zip(reserved) {
            let Prepared { spec, hop, egress } = leg;
            let installed = Installed {
                id: *id,
                place: record::place(&spec, reserved.group),
                group: reserved.group,
                payload_map: reserved.payload_map,
                remote: spec.remote.filter(|remote| remote.port() != 0),
                hop,
                egress: egress.and_then(|at| ids.get(at)).copied(),
                source: None,
                is_cut: false,
                sent_elsewhere: Sent::default(),
                ingress: Vec::new(),
                sent_before: Sent::default(),
                activity: Activity::new(now, record::told_source(&spec)),
                created: boot_time(),
                meter: None,
                spec,
            };
            self.count += 1;
            self.renamers += usize::from(renames(&installed.spec));
            if let Some(place) = self.installed.get_mut(id.slot as usize) {
                *place = Some(Box::new(installed));
            }
        }
        for (ingress, egress) in streams.iter().enumerate().filter_map(|(at, egress)| Some((at, (*egress)?)))
        {
            if let (Some(sender), Some(feeder)) = (ids.get(egress), ids.get(ingress))
                && let Some(sender) = self.leg_mut(*sender)
            {
                sender.ingress.push(*feeder);
            }
        }
        for id in &ids {
            self.publish(*id);
        }
        for id in &ids {
            self.correct(&self.concerned_by(*id));
        }
        Ok(ids)
    }

    /// Slots with zeroed counters, and what else legs take, for all or none.
    fn reserve(&mut self, prepared: &[Prepared], now: Instant) -> Result<Vec<Reserved>, InstallError> {
        let mut reserved = Vec::with_capacity(prepared.len());
        // Shared ports first: their legs may come before them in the plan.
        for leg in prepared.iter().filter(|leg| leg.spec.shared == Sharing::Port) {
            if let Err(error) = self.shared_ports.open(leg.spec.local) {
                self.unreserve(prepared, &reserved, now);
                return Err(error);
            }
        }
        for leg in prepared {
            match self.reserve_one(&leg.spec, now) {
                Ok(one) => reserved.push(one),
                Err(error) => {
                    self.unreserve(prepared, &reserved, now);
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    fn reserve_one(&mut self, spec: &LegSpec, now: Instant) -> Result<Reserved, InstallError> {
        let group = match spec.shared {
            Sharing::Alone => 0,
            _ => self.shared_ports.number(spec.local).ok_or(InstallError::NoSharedPort(spec.local))?,
        };
        let place = record::place(spec, group);
        let slot = self.table.reserve(place, now).map_err(|error| match error {
            TableError::Full => InstallError::Full { capacity: self.capacity },
            TableError::Taken => InstallError::Taken(spec.local),
            TableError::BucketFull => InstallError::Crowded(spec.local),
        })?;
        let pairs = spec.retag.as_ref().map_or(&[][..], |retag| &retag.payload_types);
        let payload_map = if pairs.is_empty() {
            0
        } else {
            let Some(number) = self.payload_maps.acquire(record::payload_map(pairs)) else {
                self.table.remove(&place, now);
                return Err(InstallError::PayloadMapsFull(self.payload_maps.capacity()));
            };
            number
        };
        self.counters.zero(slot);
        Ok(Reserved { slot, group, payload_map })
    }

    /// Gives back what was reserved for the first legs of a plan, and every shared port of it.
    fn unreserve(&mut self, prepared: &[Prepared], reserved: &[Reserved], now: Instant) {
        for (leg, reserved) in prepared.iter().zip(reserved) {
            self.table.remove(&record::place(&leg.spec, reserved.group), now);
            self.payload_maps.release(reserved.payload_map);
        }
        for leg in prepared.iter().filter(|leg| leg.spec.shared == Sharing::Port) {
            self.shared_ports.close_unless_installed(leg.spec.local);
        }
    }

    /// Writes all records of a leg, and makes it known to the kernel.
    fn publish(&mut self, id: LegId) {
        let Some(leg) = self.leg(id) else { return };
        let spec = &leg.spec;
        let exit = self.exit(leg);
        let (place, has_stream) = (leg.place, leg.egress.is_some());
        let source = record::told_source(spec);
        let admission = record::admission(spec, has_stream);
        let mut addresses6 = record::addresses6(spec);
        (addresses6.origin, addresses6.destination) = (exit.origin6, exit.destination6);
        self.records.addresses6.write(id.slot, addresses6);
        if let Some(limit) = &spec.limit {
            self.records.police.write(id.slot, record::police(limit));
        }
        if let Some(retag) = self.retag_of(leg) {
            self.records.retags.write(id.slot, retag);
        }
        let measured = self.is_measured(leg);
        let kernel_leg = Leg {
            key: place.key,
            source: source.word(),
            destination: exit.destination,
            origin: exit.origin,
            route: exit.route,
        };
        self.records.translator.set(id.slot, self.subjects(leg).unwrap_or_default());
        if measured {
            self.start_measuring(id);
        }
        if let Some(leg) = self.leg(id).filter(|leg| leg.spec.shared == Sharing::Port) {
            self.shared_ports.installed(leg.spec.local, id);
        }
        // First: what a packet can find, a successor must know.
        self.remember(id);
        self.table.publish(id.slot, kernel_leg, admission);
    }

    /// An empty measurement for a leg. What the kernel half has counted in it is lost.
    pub(super) fn start_measuring(&mut self, id: LegId) {
        let Some(leg) = self.leg(id) else { return };
        let empty = record::quality(&leg.spec);
        for cpu in 0..=self.counters.cpus() {
            self.records.quality.write(self.counters.index(cpu, id.slot), empty);
        }
        if let Some(leg) = self.leg_mut(id) {
            leg.meter = Some(Box::new(Meter::default()));
        }
    }

    /// Removes legs and everything that leads to them; with a shared port, the legs that share it. Returns what was
    /// counted.
    pub(crate) fn remove(&mut self, ids: &[LegId], now: Instant) -> Vec<LegStatistics> {
        // No packet comes any more, so that what one leg received is what another sent when the books are read.
        for id in ids {
            if let Some(place) = self.leg(*id).map(|leg| leg.place) {
                self.table.remove(&place, now);
                self.leave_group(*id, now);
            }
        }
        let counted = ids.iter().map(|id| self.statistics(*id, now).unwrap_or_default()).collect();
        for id in ids {
            let Some(leg) = self.leg(*id) else { continue };
            let (shared, local, group) = (leg.spec.shared, leg.spec.local, leg.group);
            self.forget_leg(*id, now);
            if shared == Sharing::Port {
                self.close_port(local, group, now);
            }
        }
        counted
    }

    /// Removes the legs of a shared port that is gone.
    fn close_port(&mut self, local: SocketAddr, group: u16, now: Instant) {
        self.shared_ports.close(local);
        let on_it = |leg: &&Installed| leg.group == group;
        let sharers: Vec<_> = self.legs().filter(on_it).map(|leg| (leg.id, leg.place)).collect();
        for (id, place) in sharers {
            self.table.remove(&place, now);
            self.forget_leg(id, now);
        }
    }

    /// Gives everything back that a leg had but its slot, which the table has by now.
    fn forget_leg(&mut self, id: LegId, now: Instant) {
        let concerned = self.concerned_by(id);
        self.part(id);
        self.leave_group(id, now);
        self.end_group(id, now);
        let Some(leg) = self.leg_mut(id) else { return };
        let ingress = std::mem::take(&mut leg.ingress);
        let (hop, payload_map) = (leg.hop, leg.payload_map);
        self.erase(id.slot);
        for feeder in ingress {
            if let Some(feeder) = self.leg_mut(feeder) {
                feeder.egress = None;
            }
            self.store_exit(feeder);
            self.remember(feeder);
        }
        if let Some(hop) = hop {
            self.next_hops.release(hop);
        }
        self.payload_maps.release(payload_map);
        if let Some(place) = self.installed.get_mut(id.slot as usize) {
            if let Some(leg) = place.take() {
                self.renamers -= usize::from(renames(&leg.spec));
            }
            self.count -= 1;
        }
        self.correct(&concerned);
    }
}

impl Activity {
    pub(super) fn new(now: Instant, source: Source) -> Self {
        Self { admitted: 0, since: now, path: Path::default(), by_path: [0; 3], source, source_changes: 0 }
    }
}
