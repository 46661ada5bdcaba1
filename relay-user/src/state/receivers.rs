//! Legs that receive what arrives on another, together with others: its group.

use std::net::SocketAddr;
use std::time::Instant;

use relay_common::byte_order::Be16;
use relay_common::fan_out::Receiver;
use relay_common::leg::{Destination, Route, route};

use crate::error::InstallError;
use crate::fan_out::{Engine, FanOutError, GroupStatistics};
use crate::leg::{LegId, Sharing};

use super::egress::continues;
use super::{Installed, State, record};

impl State {
    /// Whether what arrives on a leg may go to receivers.
    pub(crate) fn may_fan_out(&self, source: LegId) -> Result<(), InstallError> {
        let leg = self.leg(source).ok_or(InstallError::Gone)?;
        let unfit = |problem| Err(InstallError::Unfit { leg: source, problem });
        if leg.spec.shared == Sharing::Port {
            return unfit("is a shared port, and no side of a stream; its legs are");
        }
        if leg.spec.punted {
            return unfit(
                "is sent on by user space whatever becomes of its packets; install it without `punted`, and the engine of \
                 its group says who makes the copies",
            );
        }
        if leg.egress.is_some() {
            return unfit("feeds another leg already; let that one join, too, instead of a stream to it");
        }
        Ok(())
    }

    /// Makes installed legs receivers of another, all or none. `cpus` may make the copies.
    pub(crate) fn join_group(
        &mut self,
        source: LegId,
        receivers: &[LegId],
        cpus: &[u32],
        now: Instant,
    ) -> Result<(), InstallError> {
        self.may_fan_out(source)?;
        let was_measured = self.leg(source).is_some_and(|leg| self.is_measured(leg));
        for (at, receiver) in receivers.iter().enumerate() {
            let joined = self.join_one(source, *receiver, cpus, now);
            if joined.is_err() {
                for before in receivers.iter().take(at) {
                    self.leave_group(*before, now);
                }
                return joined;
            }
        }
        if !was_measured && self.leg(source).is_some_and(|leg| self.is_measured(leg)) {
            self.start_measuring(source);
        }
        self.store_exit(source);
        Ok(())
    }

    fn join_one(
        &mut self,
        source: LegId,
        receiver: LegId,
        cpus: &[u32],
        now: Instant,
    ) -> Result<(), InstallError> {
        let leg = self.leg(receiver).ok_or(InstallError::Gone)?;
        let device = leg.hop.and_then(|hop| self.next_hops.device(hop)).ok_or(FanOutError::NoDevice)?;
        let record = receiver_record(leg);
        self.fan_out.zero(receiver.slot);
        self.fan_out.join(source.slot, receiver.slot, device, record, cpus, now)?;
        if let Some(leg) = self.leg_mut(receiver) {
            leg.source = Some(source);
        }
        self.end_rtcp_of(receiver);
        Ok(())
    }

    /// Takes a leg out of the group that it is in, if it is in one.
    pub(super) fn leave_group(&mut self, receiver: LegId, now: Instant) {
        let Some(source) = self.leg(receiver).and_then(|leg| leg.source) else { return };
        let left = self.fan_out.leave(receiver.slot, now);
        self.audience.left(receiver, source, left.is_some_and(|(_, has_ended)| has_ended));
        if left.is_some_and(|(_, has_ended)| has_ended) {
            self.store_exit(source);
        }
    }

    /// Ends the group of a leg; its receivers stay, and receive nothing any more.
    pub(super) fn end_group(&mut self, source: LegId, now: Instant) {
        for receiver in self.receivers(source) {
            self.leave_group(receiver, now);
            if let Some(leg) = self.leg_mut(receiver) {
                leg.source = None;
            }
        }
        self.audience.source_gone(source);
    }

    /// The receivers of a leg.
    pub(crate) fn receivers(&self, source: LegId) -> Vec<LegId> {
        if self.leg(source).is_none() {
            return Vec::new();
        }
        let slots = self.fan_out.receivers(source.slot);
        let leg = |slot: &u32| Some(self.installed.get(*slot as usize)?.as_deref()?.id);
        slots.iter().filter_map(leg).collect()
    }

    /// What is counted for the receivers of a leg together.
    pub(crate) fn group(&self, source: LegId) -> Option<GroupStatistics> {
        self.leg(source)?;
        self.fan_out.statistics(source.slot)
    }

    /// Whether what arrives on a leg goes to receivers.
    pub(super) fn fans_out(&self, leg: &Installed) -> bool {
        self.fan_out.has_group(leg.id.slot)
    }

    /// Where a receiver is, or the next hop towards it, has changed.
    pub(super) fn store_receiver(&mut self, receiver: LegId, now: Instant) {
        let Some(leg) = self.leg(receiver) else { return };
        let Some(source) = leg.source else { return };
        let (record, device) = (receiver_record(leg), leg.hop.and_then(|hop| self.next_hops.device(hop)));
        self.fan_out.store(receiver.slot, record);
        if let Some(device) = device {
            self.follow_device(source, receiver, device, now);
        }
    }

    /// A receiver that a predecessor seated is one from now on.
    pub(super) fn adopt_receiver(&mut self, source: LegId, receiver: LegId, now: Instant) {
        let Some(leg) = self.leg_mut(receiver) else { return };
        leg.source = Some(source);
        let (record, continues) = (receiver_record(leg), continues(leg));
        let device = leg.hop.and_then(|hop| self.next_hops.device(hop));
        self.fan_out.correct(source.slot, receiver.slot, record, continues);
        if let Some(device) = device {
            self.follow_device(source, receiver, device, now);
        }
    }

    /// Seats a receiver behind the device that its packets leave by.
    fn follow_device(&mut self, source: LegId, receiver: LegId, device: u32, now: Instant) {
        let fan_out = &mut self.fan_out;
        if fan_out.is_behind(receiver.slot, device) {
            return;
        }
        // Blocks have one device each.
        let cpus: Vec<u32> =
            fan_out.statistics(source.slot).and_then(|group| group.cpu).into_iter().collect();
        fan_out.leave(receiver.slot, now);
        let record = fan_out.record(receiver.slot);
        if let Err(error) = fan_out.join(source.slot, receiver.slot, device, record, &cpus, now) {
            tracing::warn!(%receiver, %error, "a receiver that is reached by another device now has no place there");
        }
        self.store_exit(source);
    }

    /// Ends all groups; their receivers stay, and receive nothing any more.
    pub(crate) fn end_groups(&mut self, now: Instant) {
        for source in self.sources() {
            self.end_group(source, now);
        }
    }

    /// Whether any leg has receivers.
    pub(crate) fn has_groups(&self) -> bool {
        self.fan_out.has_groups()
    }

    /// Legs that have receivers.
    fn sources(&self) -> Vec<LegId> {
        self.legs().filter(|leg| self.fans_out(leg)).map(|leg| leg.id).collect()
    }

    /// Says who makes the copies for groups, also for those that a predecessor left.
    pub(crate) fn use_engine(&mut self, engine: Engine) {
        self.fan_out.use_engine(engine);
        for source in self.sources() {
            self.store_exit(source);
        }
    }

    /// Whether it was said who makes the copies.
    pub(crate) fn has_engine(&self) -> bool {
        self.fan_out.has_engine()
    }

    /// The program is told what devices take.
    pub(crate) fn tell_devices(&self) {
        self.fan_out.set_devices(self.next_hops.devices());
    }
}

/// Where the packets of a receiver go.
pub(super) fn receiver_record(leg: &Installed) -> Receiver {
    let retag = leg.spec.retag.as_ref().filter(|retag| !retag.is_empty());
    let local = leg.spec.local;
    let mut record = Receiver {
        retag: retag
            .map(|retag| record::retag(retag, leg.payload_map, leg.spec.clock_rate))
            .unwrap_or_default(),
        ..Receiver::default()
    };
    let Some((remote, hop)) = leg.remote.zip(leg.hop) else { return record };
    let flag = |holds: bool, flag| if holds { flag } else { 0 };
    let flags = flag(retag.is_some(), route::RETAGGED) | flag(remote.is_ipv6(), route::TO_V6);
    record.route = Route::new(hop, flags);
    record.destination = destination(local, remote);
    record.origin = record::address_word(local.ip());
    record.destination6 = record::v6(remote);
    record.origin6 = record::v6(local);
    record
}

fn destination(local: SocketAddr, remote: SocketAddr) -> Destination {
    Destination::new(record::address_word(remote.ip()), Be16::new(remote.port()), Be16::new(local.port()))
}
