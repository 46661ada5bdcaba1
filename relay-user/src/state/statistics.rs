//! What was counted, as the caller reads it.

use std::time::{Duration, Instant};

use relay_common::leg::Source;
use relay_common::verdict::Drop;

use crate::counters::{LegCounters, Sent};
use crate::leg::LegId;
use crate::statistics::{LegStatistics, Path, PathCounts};

use super::{Activity, Installed, State};

impl State {
    /// What is counted for a leg until now.
    pub(crate) fn statistics(&mut self, id: LegId, now: Instant) -> Option<LegStatistics> {
        self.look_at(id, now)?;
        let leg = self.leg(id)?;
        let counters = self.counters.of(id.slot);
        let forwarded = counters.sent();
        let mut sent = self.sent_by(leg);
        let copies = leg.source.map(|_| self.fan_out.counted(id.slot));
        let (copied, lost) = copies.unwrap_or_default();
        sent += copied;
        Some(LegStatistics {
            received: forwarded.packets.saturating_add(counters.lost()),
            received_bytes: forwarded.bytes.saturating_add(counters.dropped_bytes),
            forwarded: forwarded.packets,
            forwarded_bytes: forwarded.bytes,
            paths: counters.paths(),
            sent: sent.packets,
            sent_bytes: sent.bytes,
            dropped: named(&counters.dropped),
            lost,
            idle: now.duration_since(leg.activity.since),
            source: self.admitted_source(leg),
            source_changes: leg.activity.source_changes,
            remote: leg.remote,
            path: leg.activity.path,
            quality: leg.meter.as_ref().and_then(|meter| meter.report()),
        })
    }

    /// What left by a leg. It is counted where it arrived.
    pub(super) fn sent_by(&self, leg: &Installed) -> Sent {
        let mut sent = leg.sent_before;
        for feeder in leg.ingress.iter().filter_map(|id| self.leg(*id)) {
            sent += self.counters.of(feeder.id.slot).sent() - feeder.sent_elsewhere;
        }
        sent
    }

    /// Packets that all legs, present and past, forwarded, and dropped by reason.
    pub(crate) fn totals(&self) -> (PathCounts, Vec<(&'static str, u64)>) {
        let totals = self.counters.totals(self.table.used());
        (totals.paths(), named(&totals.dropped))
    }
}

impl Activity {
    /// Takes in what is counted now, and which source is admitted.
    pub(super) fn update(&mut self, counters: &LegCounters, source: Source, now: Instant) {
        let admitted = counters.admitted();
        if self.admitted != admitted {
            self.admitted = admitted;
            self.since = now;
        }
        let paths = [Path::Xdp, Path::AfXdp, Path::User];
        let by_path = [counters.xdp, counters.af_xdp, counters.user].map(|sent| sent.packets);
        let more = |at: usize| by_path[at].saturating_sub(self.by_path[at]);
        if let Some(most) = (0..paths.len()).max_by_key(|at| more(*at)).filter(|at| more(*at) > 0) {
            self.path = paths[most];
        }
        self.by_path = by_path;
        if source.is_set() && source != self.source {
            self.source_changes = self.source_changes.saturating_add(self.source.is_set().into());
            self.source = source;
        }
    }

    /// For how long nothing was admitted.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        now.duration_since(self.since)
    }
}

fn named(dropped: &[u64]) -> Vec<(&'static str, u64)> {
    Drop::ALL
        .iter()
        .map(|reason| reason.name())
        .zip(dropped.iter().copied())
        .filter(|(_, count)| *count > 0)
        .collect()
}
