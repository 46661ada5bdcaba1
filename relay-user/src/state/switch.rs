//! A running receiver gets another source.

use std::mem::offset_of;
use std::sync::atomic::Ordering;

use relay_common::quality::Quality;
use relay_common::retag::{Offsets, Retag};

use crate::error::InstallError;
use crate::leg::{LegId, Sharing};
use crate::routes::Target;

use super::egress::continues;
use super::{Installed, State};

/// How far a receiver's stream has come: what the first packet of its next source continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    sequence: u16,
    timestamp: u32,
    /// CLOCK_MONOTONIC in milliseconds, the low 32 bits.
    time: u32,
}

impl State {
    /// The first half: whether `egress` may have `ingress` as its source; if so, its sources of until now lead nowhere.
    /// What they had sent when packets on their way are through is for [`State::connect`] to find. `None`: it is its
    /// source already.
    pub(crate) fn disconnect(
        &mut self,
        egress: LegId,
        ingress: LegId,
    ) -> Result<Option<Vec<LegId>>, InstallError> {
        let (Some(to), Some(from)) = (self.leg(egress), self.leg(ingress)) else {
            return Err(InstallError::Gone);
        };
        let unfit = |leg, problem| Err(InstallError::Unfit { leg, problem });
        if egress == ingress {
            return unfit(ingress, "cannot be its own source: a stream joins two different legs");
        }
        for leg in [to, from] {
            if leg.spec.shared == Sharing::Port {
                return unfit(leg.id, "is a shared port, and no side of a stream; its legs are");
            }
        }
        if from.egress.is_some_and(|other| other != egress) {
            return unfit(ingress, "feeds another leg already; switch that one to another source first");
        }
        let before: Vec<LegId> = to.ingress.iter().copied().filter(|feeder| *feeder != ingress).collect();
        if before.is_empty() && from.egress == Some(egress) {
            return Ok(None);
        }
        if self.legs_of(&before).any(|leg| leg.is_cut) {
            return unfit(egress, "is being switched to another source at this moment; try again");
        }
        for feeder in &before {
            self.cut(*feeder, true);
        }
        Ok(Some(before))
    }

    /// Has a leg lead nowhere for the moment, or no longer.
    pub(super) fn cut(&mut self, feeder: LegId, is_cut: bool) {
        if let Some(leg) = self.leg_mut(feeder) {
            leg.is_cut = is_cut;
            self.store_exit(feeder);
        }
    }

    fn legs_of(&self, ids: &[LegId]) -> impl Iterator<Item = &Installed> {
        ids.iter().filter_map(|id| self.leg(*id))
    }

    /// The second half: `ingress` is the source of `egress` from now on, which continues what `before` sent.
    /// `way` is where it sends to, and the next hop for that, if it sent nothing until now; returns whether that was
    /// taken.
    pub(crate) fn connect(
        &mut self,
        egress: LegId,
        ingress: LegId,
        before: &[LegId],
        way: Option<(Target, u32)>,
    ) -> Result<bool, InstallError> {
        let fits = self.leg(ingress).is_some_and(|leg| leg.egress.is_none_or(|current| current == egress));
        if self.leg(egress).is_none() || !fits {
            for feeder in before {
                self.cut(*feeder, false);
            }
            return Err(InstallError::Gone);
        }
        let continues = self.leg(egress).is_some_and(continues);
        let base = before.iter().filter(|_| continues).find_map(|feeder| self.base(*feeder));
        for feeder in before {
            self.part(*feeder);
            self.cut(*feeder, false);
        }
        if self.leg(ingress).is_some_and(|leg| leg.egress == Some(egress)) {
            self.correct_around(before, egress);
            return Ok(false);
        }
        let current = self.target(egress);
        let mut taken = false;
        if let (Some((target, hop)), Some(sender)) = (way, self.leg_mut(egress))
            && sender.hop.is_none()
            && current == Some(target)
        {
            sender.hop = Some(hop);
            taken = true;
        }
        let sent = self.counters.of(ingress.slot).sent();
        let measures = self.leg(ingress).is_some_and(|leg| leg.spec.quality);
        if let Some(leg) = self.leg_mut(ingress) {
            leg.egress = Some(egress);
            leg.sent_elsewhere = sent;
        }
        if let Some(sender) = self.leg_mut(egress) {
            sender.ingress.push(ingress);
        }
        let retag = self.leg(ingress).and_then(|leg| self.retag_of(leg));
        if let Some(retag) = retag {
            let retag = base.map_or(retag, |base| base.continued_by(retag));
            self.records.retags.write(ingress.slot, retag);
        }
        if continues && !measures {
            self.start_measuring(ingress);
        }
        self.store_exit(ingress);
        self.remember(ingress);
        self.remember(egress);
        self.correct_around(before, egress);
        Ok(taken)
    }

    /// Where a leg sends to that has no next hop yet, because it sends nothing.
    pub(crate) fn target_of_new_sender(&self, id: LegId) -> Option<Target> {
        self.leg(id).filter(|leg| leg.hop.is_none()).and_then(|_| self.target(id))
    }

    /// Where the stream stands that a leg was the source of. `None`: it had sent nothing.
    fn base(&self, feeder: LegId) -> Option<Base> {
        let word =
            self.records.retags.word64(feeder.slot, offset_of!(Retag, offsets)).load(Ordering::Acquire);
        let retag = Retag { offsets: word, ..self.records.retags.read(feeder.slot) };
        Base::of(&retag, self.newest(feeder))
    }

    /// What was measured last of what arrives on a leg. `None`: nothing.
    pub(super) fn newest(&self, feeder: LegId) -> Option<Quality> {
        let records = (0..=self.counters.cpus())
            .map(|cpu| self.records.quality.read_settled(self.counters.index(cpu, feeder.slot)));
        records.filter(|record: &Quality| record.packets != 0).max_by_key(|record| record.arrival)
    }
}

impl Base {
    /// Where a receiver's stream stands whose source was retagged so, and measured so last. `None`: it had sent nothing.
    pub(super) fn of(retag: &Retag, newest: Option<Quality>) -> Option<Self> {
        let offsets = Offsets::from_word(retag.offsets);
        if offsets == Offsets::NONE {
            // The source never sent a packet itself: its own base is the receiver's still.
            let Retag { base_sequence, base_timestamp, base_time, .. } = *retag;
            return Some(Self { sequence: base_sequence, timestamp: base_timestamp, time: base_time });
        }
        let newest = newest?;
        Some(Self {
            sequence: newest.highest.wrapping_add(offsets.sequence()),
            timestamp: newest.timestamp.wrapping_add(offsets.timestamp()),
            time: milliseconds(newest.arrival),
        })
    }

    /// How the first packet of the next source continues it.
    pub(super) fn continued_by(self, retag: Retag) -> Retag {
        Retag {
            offsets: Offsets::NONE.word(),
            base_sequence: self.sequence,
            base_timestamp: self.timestamp,
            base_time: self.time,
            ..retag
        }
    }
}

/// Nanoseconds as the record counts them.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what the record holds")]
const fn milliseconds(nanoseconds: u64) -> u32 {
    (nanoseconds / 1_000_000) as u32
}
