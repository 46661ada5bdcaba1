//! Going on with the legs that a predecessor left in the maps, and leaving them to a successor.

use std::collections::HashMap;
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::ledger::{Ledger, USED};
use relay_common::leg::{Leg, Source};

use crate::ledger::Remembered;
use crate::leg::{LegId, Sharing};
use crate::quality::Meter;

use super::translated::renames;
use super::{Activity, Installed, State, record};

impl State {
    /// Takes over every leg that the program can find. What is half there, because a predecessor was killed between
    /// two stores, is removed. Returns the legs.
    pub(crate) fn adopt(&mut self, now: Instant) -> Vec<LegId> {
        let mut remembered = self.recall();
        let place = |slot| remembered.get(&slot).map(|leg| record::place(&leg.spec, leg.group));
        let found = self.table.adopt(now, place);
        let mut users = HashMap::new();
        for hop in found.iter().filter_map(|slot| remembered.get(slot)?.hop) {
            *users.entry(hop).or_insert(0) += 1;
        }
        let lost = self.next_hops.adopt(&users);
        let id = |slot: u32| LegId { slot, generation: self.table.generation(slot) };
        let ids: HashMap<u32, LegId> = found.iter().map(|slot| (*slot, id(*slot))).collect();
        let mut adopted = Vec::with_capacity(found.len());
        for (slot, id) in &ids {
            let Some(mut leg) = remembered.remove(slot) else { continue };
            leg.hop = leg.hop.filter(|hop| !lost.contains(hop));
            let egress = leg.egress.and_then(|egress| ids.get(&egress)).copied();
            self.take_over(*id, leg, egress, now);
            adopted.push(*id);
        }
        for slot in remembered.into_keys() {
            self.erase(slot);
        }
        self.adopt_groups(&ids, now);
        for id in &adopted {
            self.join(*id);
        }
        if self.renamers > 0 {
            self.correct(&adopted);
        }
        for slot in (1..self.records.ledger.length()).filter(|slot| !ids.contains_key(slot)) {
            self.counters.settle(slot);
        }
        adopted
    }

    /// Every leg that was written down.
    fn recall(&self) -> HashMap<u32, Remembered> {
        let mut legs = HashMap::new();
        for slot in 1..self.records.ledger.length() {
            let used = self.records.ledger.word32(slot, offset_of!(Ledger, state)).load(Ordering::Acquire);
            if used != USED {
                continue;
            }
            let leg =
                Remembered::from_record(&self.records.ledger.read(slot), |map| self.payload_maps.read(map));
            match leg {
                Some(leg) => {
                    legs.insert(slot, leg);
                }
                None => self.erase(slot),
            }
        }
        legs
    }

    fn take_over(&mut self, id: LegId, leg: Remembered, egress: Option<LegId>, now: Instant) {
        if leg.spec.shared == Sharing::Port {
            self.shared_ports.adopt(leg.spec.local, leg.group, id);
        }
        self.payload_maps.adopt(leg.payload_map);
        let source = self.table.legs().word64(id.slot, offset_of!(Leg, source)).load(Ordering::Acquire);
        let mut activity = Activity::new(now, Source::from_word(source));
        activity.source_changes = leg.source_changes;
        let installed = Installed {
            id,
            place: record::place(&leg.spec, leg.group),
            group: leg.group,
            payload_map: leg.payload_map,
            remote: leg.remote,
            hop: leg.hop,
            egress,
            source: None,
            is_cut: false,
            sent_elsewhere: leg.sent_elsewhere.into(),
            ingress: Vec::new(),
            sent_before: leg.sent_before.into(),
            activity,
            created: leg.created,
            meter: None,
            spec: leg.spec,
        };
        if let Some(place) = self.installed.get_mut(id.slot as usize) {
            self.count += 1;
            self.renamers += usize::from(renames(&installed.spec));
            *place = Some(Box::new(installed));
        }
    }

    /// Takes over who receives what.
    fn adopt_groups(&mut self, ids: &HashMap<u32, LegId>, now: Instant) {
        let mut sources: Vec<u32> =
            ids.values().filter(|id| self.may_fan_out(**id).is_ok()).map(|id| id.slot).collect();
        // The same of two that claim the same receivers each time.
        sources.sort_unstable();
        let installed = &self.installed;
        let may_receive = |slot: u32| {
            let leg = installed.get(slot as usize).and_then(Option::as_deref);
            leg.is_some_and(|leg| leg.spec.shared != Sharing::Port && leg.remote.is_some())
        };
        self.fan_out.adopt(&sources, may_receive, now);
        for source in sources.iter().filter_map(|slot| ids.get(slot)) {
            for receiver in self.receivers(*source) {
                self.adopt_receiver(*source, receiver, now);
            }
        }
    }

    /// Tells the sender of a leg's packets who feeds it, and corrects what the program knows of the way there.
    fn join(&mut self, id: LegId) {
        let egress = self.leg(id).and_then(|leg| leg.egress);
        let sends = egress.and_then(|egress| self.leg_mut(egress)).is_some_and(|sender| {
            sender.ingress.push(id);
            sender.hop.is_some()
        });
        let Some(leg) = self.leg(id) else { return };
        let measured = self.is_measured(leg);
        // A shared port leads nowhere by itself.
        if !sends && leg.spec.shared != Sharing::Port {
            self.store_exit(id);
        }
        if let Some(leg) = self.leg_mut(id).filter(|_| measured) {
            leg.meter = Some(Box::new(Meter::default()));
        }
    }

    /// Writes down what a successor needs of a leg.
    pub(super) fn remember(&self, id: LegId) {
        let Some(leg) = self.leg(id) else { return };
        let remembered = Remembered {
            spec: leg.spec.clone(),
            created: leg.created,
            remote: leg.remote,
            egress: leg.egress.map(|egress| egress.slot),
            hop: leg.hop,
            payload_map: leg.payload_map,
            group: leg.group,
            sent_before: leg.sent_before.into(),
            sent_elsewhere: leg.sent_elsewhere.into(),
            source_changes: leg.activity.source_changes,
        };
        let state = self.records.ledger.word32(id.slot, offset_of!(Ledger, state));
        let used = state.load(Ordering::Relaxed);
        self.records.ledger.write(id.slot, Ledger { state: used, ..remembered.record() });
        state.store(USED, Ordering::Release);
    }

    /// Frees a slot for a successor too.
    pub(super) fn erase(&self, slot: u32) {
        self.records.ledger.word32(slot, offset_of!(Ledger, state)).store(0, Ordering::Release);
    }
}
