//! What is looked at once a second: who is idle, which source is admitted, and what the CPUs measured.

use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use relay_common::leg::{Leg, Source};

use crate::leg::{LegId, SourcePolicy};

use super::State;

/// Slots that are looked at under one lock, so that nobody waits long.
pub(crate) const SLOTS_AT_ONCE: usize = 4096;

impl State {
    /// Looks at the legs in [`SLOTS_AT_ONCE`] slots from `first` on. Returns those whose source was forgotten, with that
    /// source, and whether there are slots beyond.
    pub(crate) fn sample(&mut self, first: usize, now: Instant) -> (Vec<(LegId, SocketAddr)>, bool) {
        let end = self.installed.len().min(first + SLOTS_AT_ONCE);
        let ids: Vec<LegId> =
            self.installed[first.min(end)..end].iter().flatten().map(|leg| leg.id).collect();
        let forgotten = ids.into_iter().filter_map(|id| {
            let source = self.look_at(id, now)?;
            self.relearn(id, source, now)
        });
        (forgotten.collect(), end < self.installed.len())
    }

    /// Takes in what is counted for a leg now. Returns the source that it admits.
    pub(super) fn look_at(&mut self, id: LegId, now: Instant) -> Option<Source> {
        let word = self.table.legs().word64(id.slot, offset_of!(Leg, source)).load(Ordering::Acquire);
        let source = Source::from_word(word);
        let counters = self.counters.of(id.slot);
        let (cpus, slot) = (self.counters.cpus(), id.slot);
        let leg = self.installed.get_mut(slot as usize)?.as_deref_mut().filter(|leg| leg.id == id)?;
        let changes = leg.activity.source_changes;
        leg.activity.update(&counters, source, now);
        let changed = leg.activity.source_changes != changes;
        if let Some(meter) = &mut leg.meter {
            let record = |cpu| self.records.quality.read_settled(self.counters.index(cpu, slot));
            // The stretch behind the last CPU is what was measured in maps that these replaced.
            meter.sample((0..=cpus).map(record));
        }
        if changed {
            self.remember(id);
        }
        Some(source)
    }

    /// Forgets the source of a leg that was idle for long enough. Nothing that arrives meanwhile is refused: a packet
    /// of the same source is simply learned from.
    fn relearn(&mut self, id: LegId, source: Source, now: Instant) -> Option<(LegId, SocketAddr)> {
        let leg = self.leg(id)?;
        let after = leg.spec.relearn_after.filter(|_| leg.spec.source != SourcePolicy::Pinned)?;
        if !source.is_set() || leg.activity.idle(now) < after {
            return None;
        }
        let address = self.admitted_source(leg)?;
        self.forget(id, source).then_some((id, address))
    }
}
