//! A group gets another source: its receivers keep their seats, their counters, and where their streams stand.

use std::time::Instant;

use crate::error::InstallError;
use crate::event::Event;
use crate::leg::LegId;

use super::egress::continues;
use super::receivers::receiver_record;
use super::switch::Base;
use super::{Installed, State};

impl State {
    /// The first half: whether the receivers of `source` may have `next` as their source; if so, what arrives on `source` leads
    /// nowhere from now on. How far it had come when packets on their way are in the queue is for [`State::connect_group`]
    /// to find. `false`: it is their source already.
    pub(crate) fn disconnect_group(&mut self, source: LegId, next: LegId) -> Result<bool, InstallError> {
        let (Some(from), Some(to)) = (self.leg(source), self.leg(next)) else {
            return Err(InstallError::Gone);
        };
        let unfit = |leg, problem| Err(InstallError::Unfit { leg, problem });
        if !self.fans_out(from) {
            return unfit(source, "has no receivers that could be switched to another source");
        }
        if source == next {
            return Ok(false);
        }
        if from.is_cut {
            return unfit(source, "is being switched to another source at this moment; try again");
        }
        if self.fans_out(to) {
            return unfit(next, "has receivers already; remove them, or switch them to another source first");
        }
        if to.source == Some(source) {
            return unfit(
                next,
                "is one of the receivers that it would be the source of; remove it, and install it anew",
            );
        }
        self.may_fan_out(next)?;
        self.cut(source, true);
        for receiver in self.receivers(source) {
            self.fan_out.part(receiver.slot, next.slot);
        }
        Ok(true)
    }

    /// The second half: what arrives on `next` goes to the receivers of `source` from now on, whose streams go on where they stand.
    /// Returns what the caller is to know.
    pub(crate) fn connect_group(
        &mut self,
        source: LegId,
        next: LegId,
        now: Instant,
    ) -> Result<Option<Event>, InstallError> {
        let receivers = self.receivers(source);
        let fits = self.leg(next).is_some_and(|leg| !self.fans_out(leg)) && self.may_fan_out(next).is_ok();
        if receivers.is_empty() || !fits {
            for receiver in receivers {
                self.fan_out.stay(receiver.slot, source.slot);
            }
            self.cut(source, false);
            return Err(InstallError::Gone);
        }
        let was_measured = self.leg(next).is_some_and(|leg| self.is_measured(leg));
        let newest = self.newest(source);
        for receiver in receivers {
            // Who joined meanwhile does not know of it yet.
            if self.fan_out.record(receiver.slot).source != next.slot {
                self.fan_out.part(receiver.slot, next.slot);
            }
            let before = self.fan_out.retag_before(receiver.slot);
            let Some(leg) = self.leg_mut(receiver) else { continue };
            leg.source = Some(next);
            let retag = receiver_record(leg).retag;
            let base = Base::of(&before, newest).filter(|_| continues(leg));
            self.fan_out.continue_from(receiver.slot, base.map_or(retag, |base| base.continued_by(retag)));
        }
        self.fan_out.switch(source.slot, next.slot);
        self.audience.switched(source, next);
        if !was_measured && self.leg(next).is_some_and(|leg| self.is_measured(leg)) {
            self.start_measuring(next);
        }
        self.cut(source, false);
        self.store_exit(next);
        Ok(self.audience.want_key_frame(next, now))
    }

    /// Whether the stream of one of a leg's receivers goes on where it stands when the source is switched.
    pub(super) fn has_continuing_receiver(&self, source: &Installed) -> bool {
        self.fans_out(source)
            && self.receivers(source.id).iter().filter_map(|id| self.leg(*id)).any(continues)
    }
}
