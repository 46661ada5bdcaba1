//! Which source a leg admits.

use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use relay_common::leg::{Addresses6, Admission, Leg, Source};

use crate::error::InstallError;
use crate::leg::{LegId, Sharing, SourcePolicy};

use super::{State, record};

impl State {
    /// Whether the remote side of a leg can be somewhere else.
    pub(crate) fn may_move(&self, id: LegId) -> Result<(), InstallError> {
        match self.leg(id).map(|leg| leg.spec.shared) {
            Some(Sharing::BySource) => Err(InstallError::FoundBySource),
            Some(Sharing::Port) => {
                let problem = "is a shared port, which has no remote side; its legs have";
                Err(InstallError::Unfit { leg: id, problem })
            }
            _ => Ok(()),
        }
    }

    /// Starts the source policy of a leg anew, with what the other side says now.
    pub(crate) fn tell_remote(&mut self, id: LegId, remote: Option<SocketAddr>) {
        let Some(leg) = self.leg_mut(id) else {
            return;
        };
        leg.spec.remote = remote;
        self.remember(id);
        let Some(leg) = self.leg(id) else { return };
        let (told, admission) =
            (record::told_source(&leg.spec), record::admission(&leg.spec, leg.egress.is_some()));
        let address = record::addresses6(&leg.spec).source;
        let slot = id.slot;
        let source = self.table.legs().word64(slot, offset_of!(Leg, source));
        // While the address is half-written, nobody is admitted, and nobody learned.
        source.store(record::nobody(leg.spec.local).word(), Ordering::Release);
        self.records.store_address(slot, offset_of!(Addresses6, source), &address);
        let rest = self.table.admissions();
        rest.word32(slot, offset_of!(Admission, address)).store(admission.address.wire(), Ordering::Relaxed);
        rest.word32(slot, offset_of!(Admission, flags)).store(admission.flags, Ordering::Relaxed);
        source.store(told.word(), Ordering::Release);
    }

    /// Legs whose remote side is not where their admitted source is, and that follow it.
    pub(crate) fn strayed(&self) -> Vec<(LegId, SocketAddr)> {
        self.legs().filter_map(|leg| Some((leg.id, self.stray(leg.id)?))).collect()
    }

    /// Where a leg's admitted source is, if media for the remote side does not go there yet but should.
    pub(crate) fn stray(&self, id: LegId) -> Option<SocketAddr> {
        let leg = self.leg(id)?;
        if leg.spec.source == SourcePolicy::Pinned {
            return None;
        }
        let source = self.admitted_source(leg)?;
        (leg.remote != Some(source)).then_some(source)
    }

    /// Forgets the source that a leg has learned, unless it was another one a moment ago; the next that looks right is
    /// learned. Returns whether it was forgotten.
    pub(super) fn forget(&self, id: LegId, learned: Source) -> bool {
        let Some(leg) = self.leg(id) else { return false };
        // An empty address goes for that of the source until the word below says that there is none.
        let address = record::addresses6(&leg.spec).source;
        self.records.store_address(id.slot, offset_of!(Addresses6, source), &address);
        let source = self.table.legs().word64(id.slot, offset_of!(Leg, source));
        let none = Source::NONE.word();
        source.compare_exchange(learned.word(), none, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
