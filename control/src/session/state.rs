//! One session: the offer that is open, its media, and the steps that bring the data plane to what was agreed. It must
//! not know other sessions.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use relay_user::{LegStatistics, Plan};

use super::error::with_causes;
use super::medium::{Agreement, Change, Leg, Medium, Ports, Rules, WantedLeg, streams};
use super::plane::DataPlane;
use super::report::{LegReport, SessionReport, add};
use super::{
    Description, LegPolicy, LocalMedia, MediaLine, Network, PortPool, SessionError, SessionId, Side,
};

/// One session.
#[derive(Debug)]
pub(super) struct Session<L> {
    id: SessionId,
    /// Names the session to those who adopt its legs.
    owner: u64,
    caller: Terminal,
    callee: Terminal,
    since: Instant,
    offer: Option<(Side, Description)>,
    media: Vec<Medium<L>>,
    ended: bool,
}

#[derive(Debug)]
struct Terminal {
    address: IpAddr,
    network: Network,
}

/// What was done to the data plane and must be undone if a later step fails.
struct Done<L> {
    moved: Vec<(L, Option<SocketAddr>)>,
    removed: Vec<(usize, Vec<WantedLeg>)>,
}

impl<L: Copy + Display + Send + Sync> Session<L> {
    pub(super) fn new(
        (id, owner): (SessionId, u64),
        (caller, caller_network): (IpAddr, Network),
        (callee, callee_network): (IpAddr, Network),
        now: Instant,
    ) -> Self {
        Self {
            id,
            owner,
            caller: Terminal { address: caller, network: caller_network },
            callee: Terminal { address: callee, network: callee_network },
            since: now,
            offer: None,
            media: Vec::new(),
            ended: false,
        }
    }

    /// An operation that waited for the lock while the session ended must not bring it back.
    pub(super) fn check_alive(&self) -> Result<(), SessionError> {
        if self.ended { Err(SessionError::Unknown { id: self.id }) } else { Ok(()) }
    }

    /// Takes ports for media that have none yet and keeps the offer for its answer.
    pub(super) fn take_offer(
        &mut self,
        from: Side,
        offer: &Description,
        pool: &mut PortPool,
    ) -> Result<Vec<LocalMedia>, SessionError> {
        let agreed = self.media.iter().rposition(|medium| medium.agreed.is_some()).map_or(0, |last| last + 1);
        if offer.media.len() < agreed {
            return Err(SessionError::MediaCount { found: offer.media.len(), expected: agreed });
        }
        let mut taken: Vec<(usize, Ports)> = Vec::new();
        for (index, line) in offer.media.iter().enumerate() {
            let has_ports = self.media.get(index).is_some_and(|medium| medium.ports.is_some());
            if line.rejected || has_ports {
                continue;
            }
            match take_ports(pool, &self.caller.network, &self.callee.network) {
                Ok(ports) => taken.push((index, ports)),
                Err(error) => {
                    for (_, ports) in taken {
                        pool.put_back(ports.caller);
                        pool.put_back(ports.callee);
                    }
                    return Err(error);
                }
            }
        }
        if self.media.len() < offer.media.len() {
            self.media.resize_with(offer.media.len(), Medium::default);
        }
        for (index, ports) in taken {
            if let Some(medium) = self.media.get_mut(index) {
                medium.ports = Some(ports);
            }
        }
        self.offer = Some((from, offer.clone()));
        let told_to = from.other();
        Ok(offer
            .media
            .iter()
            .zip(&self.media)
            .map(|(line, medium)| self.local(medium, told_to, line.rejected))
            .collect())
    }

    /// Puts legs up for the media of the first offer before its answer: who offers must be ready for media at once
    /// (RFC 3264 section 5.1), and media may overtake the answer. Of the answering side only the address is known yet.
    pub(super) async fn expect_media<D: DataPlane<Leg = L>>(&mut self, plane: &D, policy: LegPolicy) {
        let rules = self.rules(policy);
        let Some((from, offer)) = self.offer.as_ref().filter(|_| !self.ended) else {
            return;
        };
        let answering = match from {
            Side::Caller => &self.callee,
            Side::Callee => &self.caller,
        };
        let somewhere = Some(SocketAddr::new(answering.address, 0));
        let mut expected = Vec::new();
        for (index, (line, medium)) in offer.media.iter().zip(&self.media).enumerate() {
            let like_offer = MediaLine { remote: somewhere, rtcp: somewhere, ssrc: None, ..line.clone() };
            let agreement = match from {
                Side::Caller => Agreement { caller: line.clone(), callee: like_offer },
                Side::Callee => Agreement { caller: like_offer, callee: line.clone() },
            };
            let wanted = medium.wanted(&agreement, &rules);
            if !wanted.is_empty() {
                expected.push((index, wanted));
            }
        }
        let expected: Vec<(usize, &[WantedLeg])> =
            expected.iter().map(|(index, legs)| (*index, legs.as_slice())).collect();
        if let Err(error) = self.install(&expected, plane).await {
            // The answer tries again, and is refused if that fails too.
            tracing::debug!(session = %self.id, %error, "media that overtakes the answer will be dropped");
        }
    }

    /// Brings the data plane to what offer and answer agree on.
    pub(super) async fn take_answer<D: DataPlane<Leg = L>>(
        &mut self,
        answer: &Description,
        plane: &D,
        policy: LegPolicy,
    ) -> Result<Vec<LocalMedia>, SessionError> {
        let (from, offer) = self.offer.clone().ok_or(SessionError::NoOffer { id: self.id })?;
        if answer.media.len() != offer.media.len() {
            return Err(SessionError::MediaCount { found: answer.media.len(), expected: offer.media.len() });
        }
        let agreements: Vec<Agreement> = offer
            .media
            .into_iter()
            .zip(answer.media.iter().cloned())
            .map(|(offered, answered)| match from {
                Side::Caller => Agreement { caller: offered, callee: answered },
                Side::Callee => Agreement { caller: answered, callee: offered },
            })
            .collect();
        self.apply(&agreements, plane, policy).await?;
        let local = agreements
            .iter()
            .zip(&self.media)
            .map(|(agreed, medium)| self.local(medium, from, !agreed.is_active()));
        let local = local.collect();
        for (medium, agreed) in self.media.iter_mut().zip(agreements) {
            medium.agreed = Some(agreed);
        }
        Ok(local)
    }

    /// Removes all legs. What they counted is in the report.
    pub(super) fn end<D: DataPlane<Leg = L>>(&mut self, plane: &D) -> SessionReport {
        self.ended = true;
        for index in 0..self.media.len() {
            self.retire(index, plane);
        }
        self.report(plane)
    }

    /// Lets the ports rest.
    pub(super) fn release_ports(&mut self, pool: &mut PortPool, now: Instant) {
        for ports in self.media.iter_mut().filter_map(|medium| medium.ports.take()) {
            pool.release(ports.caller, now);
            pool.release(ports.callee, now);
        }
    }

    /// Gives ports back that nobody was told of.
    pub(super) fn put_ports_back(&mut self, pool: &mut PortPool) {
        for ports in self.media.iter_mut().filter_map(|medium| medium.ports.take()) {
            pool.put_back(ports.caller);
            pool.put_back(ports.callee);
        }
    }

    pub(super) fn report<D: DataPlane<Leg = L>>(&self, plane: &D) -> SessionReport {
        let mut legs = Vec::new();
        for (index, medium) in self.media.iter().enumerate() {
            let mut reports = medium.retired.clone();
            for leg in &medium.legs {
                let statistics = plane.statistics(leg.id).unwrap_or_default();
                merge(&mut reports, leg_report(Some(leg.id.to_string()), index, &leg.wanted, statistics));
            }
            legs.append(&mut reports);
        }
        SessionReport {
            id: self.id,
            caller: self.caller.address,
            callee: self.callee.address,
            age: self.since.elapsed(),
            legs,
        }
    }

    pub(super) fn idle<D: DataPlane<Leg = L>>(&self, plane: &D) -> Option<Duration> {
        let speaking = |medium: &&Medium<L>| medium.agreed.as_ref().is_some_and(|agreed| !agreed.is_silent());
        let legs = self.media.iter().filter(speaking).flat_map(|medium| &medium.legs);
        legs.filter_map(|leg| Some(plane.statistics(leg.id)?.idle)).min()
    }

    /// All or nothing: legs that only move are moved, legs that change are taken down, new legs are put up together;
    /// if a step fails, the ones before it are undone.
    async fn apply<D: DataPlane<Leg = L>>(
        &mut self,
        agreements: &[Agreement],
        plane: &D,
        policy: LegPolicy,
    ) -> Result<(), SessionError> {
        let rules = self.rules(policy);
        let changes: Vec<Change> =
            self.media.iter().zip(agreements).map(|(medium, agreed)| medium.change(agreed, &rules)).collect();
        let mut done = Done { moved: Vec::new(), removed: Vec::new() };
        let result = self.carry_out(&changes, plane, &mut done).await;
        if let Err(cause) = result {
            self.undo(done, plane).await;
            return Err(SessionError::Install { id: self.id, cause: with_causes(&cause) });
        }
        for (medium, change) in self.media.iter_mut().zip(changes) {
            let Change::Readdress(moved) = change else {
                continue;
            };
            for (index, remote) in moved {
                if let Some(leg) = medium.legs.get_mut(index) {
                    leg.wanted.spec.remote = remote;
                }
            }
        }
        Ok(())
    }

    async fn carry_out<D: DataPlane<Leg = L>>(
        &mut self,
        changes: &[Change],
        plane: &D,
        done: &mut Done<L>,
    ) -> Result<(), D::Error> {
        let mut new: Vec<(usize, &[WantedLeg])> = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Nothing => {}
                Change::Readdress(moved) => {
                    let legs = self.media.get(index).map_or(&[][..], |medium| &medium.legs);
                    for (leg, remote) in
                        moved.iter().filter_map(|(at, remote)| Some((legs.get(*at)?, remote)))
                    {
                        plane.set_remote(leg.id, *remote).await?;
                        done.moved.push((leg.id, leg.wanted.spec.remote));
                    }
                }
                Change::Replace(wanted) => {
                    let removed = self.retire(index, plane);
                    if !removed.is_empty() {
                        done.removed.push((index, removed));
                    }
                    if !wanted.is_empty() {
                        new.push((index, wanted));
                    }
                }
            }
        }
        self.install(&new, plane).await
    }

    async fn undo<D: DataPlane<Leg = L>>(&mut self, done: Done<L>, plane: &D) {
        for (leg, remote) in done.moved {
            if let Err(error) = plane.set_remote(leg, remote).await {
                tracing::warn!(session = %self.id, %error, "a leg could not be moved back after a failed change");
            }
        }
        let removed: Vec<(usize, &[WantedLeg])> =
            done.removed.iter().map(|(index, legs)| (*index, legs.as_slice())).collect();
        if let Err(error) = self.install(&removed, plane).await {
            tracing::warn!(session = %self.id, %error, "legs could not be put back after a failed change");
        }
    }

    /// Installs the legs of several media with one plan.
    async fn install<D: DataPlane<Leg = L>>(
        &mut self,
        new: &[(usize, &[WantedLeg])],
        plane: &D,
    ) -> Result<(), D::Error> {
        let mut plan = Plan::default();
        for (_, wanted) in new {
            plan.streams.extend(streams(plan.legs.len(), wanted.len()));
            plan.legs.extend(wanted.iter().map(|leg| leg.spec.clone().owner(self.owner)));
        }
        if plan.legs.is_empty() {
            return Ok(());
        }
        let mut ids = plane.install(&plan).await?.into_iter();
        for (index, wanted) in new {
            let Some(medium) = self.media.get_mut(*index) else {
                continue;
            };
            medium.legs =
                wanted.iter().cloned().zip(&mut ids).map(|(wanted, id)| Leg { id, wanted }).collect();
        }
        Ok(())
    }

    /// Takes the legs of a medium down and keeps what they counted.
    fn retire<D: DataPlane<Leg = L>>(&mut self, index: usize, plane: &D) -> Vec<WantedLeg> {
        let Some(medium) = self.media.get_mut(index) else {
            return Vec::new();
        };
        let legs = std::mem::take(&mut medium.legs);
        let ids: Vec<L> = legs.iter().map(|leg| leg.id).collect();
        let counted = if ids.is_empty() { Vec::new() } else { plane.remove(&ids) };
        for (leg, statistics) in legs.iter().zip(counted) {
            merge(&mut medium.retired, leg_report(None, index, &leg.wanted, statistics));
        }
        legs.into_iter().map(|leg| leg.wanted).collect()
    }

    fn rules(&self, policy: LegPolicy) -> Rules {
        Rules { policy, caller_vlan: self.caller.network.vlan, callee_vlan: self.callee.network.vlan }
    }

    fn local(&self, medium: &Medium<L>, side: Side, rejected: bool) -> LocalMedia {
        let network = match side {
            Side::Caller => &self.caller.network,
            Side::Callee => &self.callee.network,
        };
        let told = network.told_address();
        let pair = medium.ports.map(|ports| ports.of(side));
        let port = |port: Option<SocketAddr>| SocketAddr::new(told, port.map_or(0, |address| address.port()));
        LocalMedia {
            rtp: port(pair.map(super::PortPair::rtp)),
            rtcp: port(pair.map(super::PortPair::rtcp)),
            rejected: rejected || pair.is_none(),
        }
    }
}

fn take_ports(pool: &mut PortPool, caller: &Network, callee: &Network) -> Result<Ports, SessionError> {
    let now = Instant::now();
    let caller = pool.take(caller.address, now)?;
    match pool.take(callee.address, now) {
        Ok(callee) => Ok(Ports { caller, callee }),
        Err(error) => {
            pool.put_back(caller);
            Err(error.into())
        }
    }
}

fn leg_report(name: Option<String>, medium: usize, leg: &WantedLeg, statistics: LegStatistics) -> LegReport {
    LegReport { name, medium, side: leg.side, kind: leg.spec.media, local: leg.spec.local, statistics }
}

/// Adds a report to those of the same role, so that a session that changes often does not grow.
fn merge(reports: &mut Vec<LegReport>, report: LegReport) {
    let same = reports
        .iter_mut()
        .find(|known| (known.medium, known.side, known.kind) == (report.medium, report.side, report.kind));
    match same {
        Some(known) => {
            let earlier = std::mem::replace(known, report);
            add(&mut known.statistics, &earlier.statistics);
        }
        None => reports.push(report),
    }
}
