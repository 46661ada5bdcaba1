//! Where the packets of a leg go.

use std::mem::offset_of;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::{self as kernel, Addresses6, Admission, Destination, Leg, Route, route};
use relay_common::retag::Retag;

use crate::leg::{LegId, Sharing};
use crate::retag::Continuity;
use crate::routes::Target;
use crate::vlan::Tags;

use super::{Installed, State, record, tapped};
use crate::rtcp::Subjects;

/// A leg that sends: where to, and its next hop now.
pub(crate) struct Sender {
    pub(crate) leg: LegId,
    pub(crate) target: Target,
    pub(crate) hop: Option<u32>,
}

/// Where packets of a leg leave, as the kernel's records say it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exit {
    pub(super) destination: Destination,
    pub(super) origin: Be32,
    pub(super) destination6: Ipv6,
    pub(super) origin6: Ipv6,
    pub(super) route: Route,
}

impl State {
    /// Changes where the remote side of a leg is; the old next hop is released, the new one kept.
    pub(crate) fn move_remote(&mut self, id: LegId, remote: Option<SocketAddr>, hop: Option<u32>) {
        let Some(leg) = self.leg_mut(id) else {
            if let Some(hop) = hop {
                self.next_hops.release(hop);
            }
            return;
        };
        leg.remote = remote;
        let old = std::mem::replace(&mut leg.hop, hop);
        for feeder in leg.ingress.clone() {
            self.store_exit(feeder);
        }
        self.store_receiver(id, Instant::now());
        self.remember(id);
        if let Some(old) = old {
            self.next_hops.release(old);
        }
    }

    /// Changes the next hop towards the remote side of a leg, unless that moved meanwhile.
    pub(crate) fn change_hop(&mut self, id: LegId, remote: SocketAddr, hop: u32) {
        if self.leg(id).is_some_and(|leg| leg.remote == Some(remote)) {
            self.move_remote(id, Some(remote), Some(hop));
        } else {
            self.next_hops.release(hop);
        }
    }

    /// The legs in these slots that send somewhere; nothing where there are no such slots any more.
    pub(crate) fn senders(&self, slots: Range<usize>) -> Option<Vec<Sender>> {
        let slots = self.installed.get(slots.start..slots.end.min(self.installed.len()))?;
        let sender =
            |leg: &Installed| Some(Sender { leg: leg.id, target: self.target(leg.id)?, hop: leg.hop });
        let legs = slots.iter().flatten().map(AsRef::as_ref).filter(|leg: &&Installed| leg.sends());
        (!slots.is_empty()).then(|| legs.filter_map(sender).collect())
    }

    /// Where a leg would send to; nothing while its remote side is not known.
    pub(crate) fn target(&self, id: LegId) -> Option<Target> {
        let leg = self.leg(id)?;
        Some(Target { remote: leg.remote?, local: leg.spec.local, tags: leg.spec.vlan })
    }

    /// Tags of the frames that a leg sends.
    pub(crate) fn tags(&self, id: LegId) -> Tags {
        self.leg(id).map_or(Tags::NONE, |leg| leg.spec.vlan)
    }

    /// Where packets of a leg go.
    pub(super) fn exit(&self, leg: &Installed) -> Exit {
        let mut flags = 0;
        let conditions = [
            (leg.spec.limit.is_some(), route::POLICED),
            // What is not sent on while a switch is going on must not be continued.
            (self.is_measured(leg) && !leg.is_cut, route::MEASURED),
            (self.ends_rtcp(leg) || self.subjects(leg).is_some(), route::RTCP_PUNTED),
            (leg.spec.shared == Sharing::Port, route::SHARED),
            (leg.spec.punted, route::PUNTED),
        ];
        for (holds, flag) in conditions {
            flags |= if holds { flag } else { 0 };
        }
        let nowhere = |index, flags| Exit { route: Route::new(index, flags), ..Exit::default() };
        if leg.spec.shared == Sharing::Port {
            return nowhere(u32::from(leg.group), flags);
        }
        if self.fans_out(leg) {
            return nowhere(0, if leg.is_cut { flags } else { flags | self.fan_out.route_flags() });
        }
        let sender = leg.egress.filter(|_| !leg.is_cut).and_then(|egress| self.leg(egress));
        let Some((sender, remote, hop)) =
            sender.and_then(|sender| Some((sender, sender.remote?, sender.hop?)))
        else {
            return nowhere(0, flags);
        };
        if sender.spec.retag.as_ref().is_some_and(|retag| !retag.is_empty()) {
            flags |= route::RETAGGED;
        }
        if remote.is_ipv6() {
            flags |= route::TO_V6;
        }
        let local = sender.spec.local;
        Exit {
            destination: Destination::new(
                record::address_word(remote.ip()),
                Be16::new(remote.port()),
                Be16::new(local.port()),
            ),
            origin: record::address_word(local.ip()),
            destination6: record::v6(remote),
            origin6: record::v6(local),
            route: Route::new(hop, flags),
        }
    }

    /// Whether the kernel half measures what arrives on a leg: because the caller asks, because another leg is to
    /// continue its stream, or because RTCP about it is translated, which takes its SSRC.
    pub(super) fn is_measured(&self, leg: &Installed) -> bool {
        leg.spec.quality
            || leg.egress.and_then(|egress| self.leg(egress)).is_some_and(continues)
            || self.has_continuing_receiver(leg)
            || self.is_translated(leg)
    }

    /// How packets of a leg are retagged from the first on, if they are.
    pub(super) fn retag_of(&self, leg: &Installed) -> Option<Retag> {
        let sender = leg.egress.and_then(|egress| self.leg(egress))?;
        let retag = sender.spec.retag.as_ref()?;
        Some(record::retag(retag, sender.payload_map, sender.spec.clock_rate))
    }

    /// Writes where packets of a leg go.
    pub(super) fn store_exit(&self, id: LegId) {
        let Some(leg) = self.leg(id) else { return };
        let exit = self.exit(leg);
        let slot = id.slot;
        // Workers look at this when the route says so: it is there before, and goes after.
        let subjects = self.subjects(leg);
        if let Some(subjects) = subjects {
            self.records.translator.set(slot, subjects);
        }
        let word = self.route_word(id);
        let before = Route::from_word(word.load(Ordering::Relaxed));
        let marks = before.flags() & tapped::MARKS;

        let flags = self.table.admissions().word32(slot, offset_of!(Admission, flags));
        let has_stream = if leg.egress.is_some() { kernel::HAS_STREAM } else { 0 };
        flags.store(flags.load(Ordering::Relaxed) & !kernel::HAS_STREAM | has_stream, Ordering::Relaxed);

        let addresses6 = self.records.addresses6.read(slot);
        if (addresses6.destination, addresses6.origin) != (exit.destination6, exit.origin6) {
            // No single store changes an address of IPv6: for an instant packets have nowhere to go, so that none goes
            // to half of the new one.
            word.store(Route::new(0, before.flags()).word(), Ordering::Release);
            self.records.store_address(slot, offset_of!(Addresses6, destination), &exit.destination6);
            self.records.store_address(slot, offset_of!(Addresses6, origin), &exit.origin6);
        }
        let legs = self.table.legs();
        legs.word32(slot, offset_of!(Leg, origin)).store(exit.origin.wire(), Ordering::Relaxed);
        let [low, high] =
            [exit.destination.address.wire(), exit.destination.ports.wire()].map(u32::to_ne_bytes);
        let mut destination = [0; 8];
        destination[..4].copy_from_slice(&low);
        destination[4..].copy_from_slice(&high);
        legs.word64(slot, offset_of!(Leg, destination))
            .store(u64::from_ne_bytes(destination), Ordering::Relaxed);
        let route = Route::new(exit.route.index(), exit.route.flags() | marks);
        word.store(route.word(), Ordering::Release);
        if subjects.is_none() {
            self.records.translator.set(slot, Subjects::default());
        }
    }

    pub(super) fn route_word(&self, id: LegId) -> &AtomicU32 {
        self.table.legs().word32(id.slot, offset_of!(Leg, route))
    }

    /// A leg feeds its egress no longer; what it sent there until now stays counted there.
    pub(super) fn part(&mut self, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        let (egress, before) = (leg.egress.take(), leg.sent_elsewhere);
        let sent = self.counters.of(id.slot).sent();
        if let Some(leg) = self.leg_mut(id) {
            leg.sent_elsewhere = sent;
        }
        if let Some(sender) = egress.and_then(|egress| self.leg_mut(egress)) {
            sender.sent_before += sent - before;
            if let Some(at) = sender.ingress.iter().position(|other| *other == id) {
                sender.ingress.swap_remove(at);
            }
        }
        self.remember(id);
        if let Some(sender) = egress {
            self.remember(sender);
        }
    }
}

/// Whether what leaves by a leg goes on where it stood when its source changes.
pub(super) fn continues(leg: &Installed) -> bool {
    leg.spec.retag.as_ref().is_some_and(|retag| retag.continuity == Continuity::Continue)
}
