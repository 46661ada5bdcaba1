//! Which streams the RTCP of a leg speaks of, where it is relayed and the streams are retagged: it must be translated then,
//! and to know what their sources call them, they are measured.

use std::net::SocketAddr;

use crate::leg::{LegId, LegSpec, MediaKind, RtcpMode, Sharing};
use crate::quality::Meter;
use crate::retag::RetagSpec;
use crate::rtcp::Subjects;

use super::{Installed, State, record};

impl State {
    /// What relayed RTCP that arrives on a leg speaks of, where that is retagged.
    pub(super) fn subjects(&self, leg: &Installed) -> Option<Subjects> {
        if self.renamers == 0 || self.ends_rtcp(leg) {
            return None;
        }
        let (here, there) = (self.media_beside(leg)?, self.media_beside(self.leg(leg.egress?)?)?);
        let slot = |from: &Installed, to: &Installed| {
            let is_renamed = from.egress == Some(to.id) && renames(&to.spec);
            if is_renamed { from.id.slot } else { 0 }
        };
        let subjects = Subjects { sent: slot(here, there), received: slot(there, here) };
        (subjects != Subjects::default()).then_some(subjects)
    }

    /// Whether RTCP about the stream that arrives on a leg is translated.
    pub(super) fn is_translated(&self, leg: &Installed) -> bool {
        let egress = leg.egress.and_then(|egress| self.leg(egress)).filter(|egress| renames(&egress.spec));
        let Some(egress) = egress else { return false };
        let relayed = |media| {
            let rtcp = self.rtcp_beside(media)?;
            Some(rtcp.spec.rtcp == RtcpMode::Relay && rtcp.egress.is_some())
        };
        [leg, egress].into_iter().any(|media| relayed(media) == Some(true))
    }

    /// Whether a plan asks for the translation of RTCP: the leg that it is about. Legs that are installed count too.
    pub(crate) fn translated_leg<'a>(
        &self,
        mut plan: impl Iterator<Item = &'a LegSpec> + Clone,
    ) -> Option<SocketAddr> {
        let planned = plan.clone();
        let at = |address: SocketAddr| {
            let installed = || {
                let slot = self.table.find(&record::place(&LegSpec::new(address), 0))?;
                self.installed.get(slot as usize)?.as_deref().map(|leg| &leg.spec)
            };
            planned
                .clone()
                .find(|leg| leg.local == address && leg.shared == Sharing::Alone)
                .or_else(installed)
        };
        let beside = |address: SocketAddr, port: Option<u16>| at(SocketAddr::new(address.ip(), port?));
        let is_relayed = |leg: &LegSpec| leg.rtcp == RtcpMode::Relay;
        plan.find_map(|leg| {
            let (local, port) = (leg.local, leg.local.port());
            let is_translated = match leg.media {
                MediaKind::Muxed => renames(leg) && is_relayed(leg),
                MediaKind::Rtp => {
                    let rtcp = |above: &LegSpec| above.media == MediaKind::Rtcp && is_relayed(above);
                    renames(leg) && beside(local, port.checked_add(1)).is_some_and(rtcp)
                }
                MediaKind::Rtcp => {
                    let media = |below: &LegSpec| below.media == MediaKind::Rtp && renames(below);
                    is_relayed(leg) && beside(local, port.checked_sub(1)).is_some_and(media)
                }
            };
            is_translated.then_some(local)
        })
    }

    /// The leg of the media that RTCP on a leg speaks of.
    fn media_beside(&self, leg: &Installed) -> Option<&Installed> {
        match leg.spec.media {
            MediaKind::Muxed => self.leg(leg.id),
            MediaKind::Rtp => None,
            MediaKind::Rtcp => self.beside(leg, leg.spec.local.port().checked_sub(1)?, MediaKind::Rtp),
        }
    }

    /// The leg that RTCP about the media of a leg arrives on.
    fn rtcp_beside(&self, media: &Installed) -> Option<&Installed> {
        match media.spec.media {
            MediaKind::Muxed => self.leg(media.id),
            MediaKind::Rtp => self.beside(media, media.spec.local.port().checked_add(1)?, MediaKind::Rtcp),
            MediaKind::Rtcp => None,
        }
    }

    /// The leg of another port of the same address, if it carries that.
    fn beside(&self, leg: &Installed, port: u16, media: MediaKind) -> Option<&Installed> {
        if leg.spec.shared != Sharing::Alone {
            return None;
        }
        let beside = self.neighbour(leg, port).and_then(|id| self.leg(id))?;
        (beside.spec.media == media && beside.spec.shared == Sharing::Alone).then_some(beside)
    }

    /// The legs whose RTCP, or whose measurement, depends on a leg: itself, the other sides of its streams, and the legs of
    /// media and RTCP beside these.
    pub(super) fn concerned_by(&self, id: LegId) -> Vec<LegId> {
        let Some(leg) = self.leg(id).filter(|_| self.renamers > 0) else { return Vec::new() };
        let sides = leg.egress.iter().chain(&leg.ingress).copied().filter_map(|side| self.leg(side));
        let mut legs = Vec::new();
        for side in sides.chain([leg]) {
            legs.push(side.id);
            legs.extend(
                [self.media_beside(side), self.rtcp_beside(side)].into_iter().flatten().map(|leg| leg.id),
            );
        }
        legs
    }

    /// Corrects what these legs' packets need, because a leg beside them, or a stream, has come or gone.
    pub(super) fn correct(&mut self, legs: &[LegId]) {
        for id in legs {
            let Some(leg) = self.leg(*id).filter(|leg| leg.spec.shared != Sharing::Port) else { continue };
            match (self.is_measured(leg), leg.meter.is_some()) {
                (true, false) => self.start_measuring(*id),
                (false, true) => self.set_meter(*id, None),
                _ => {}
            }
            self.store_exit(*id);
        }
    }

    /// The same after `egress` was given another source than `before`.
    pub(super) fn correct_around(&mut self, before: &[LegId], egress: LegId) {
        for id in before.iter().copied().chain([egress]) {
            self.correct(&self.concerned_by(id));
        }
    }

    fn set_meter(&mut self, id: LegId, meter: Option<Box<Meter>>) {
        if let Some(leg) = self.leg_mut(id) {
            leg.meter = meter;
        }
    }
}

/// Whether streams that leave by a leg have another name there.
pub(super) fn renames(leg: &LegSpec) -> bool {
    leg.retag.as_ref().is_some_and(RetagSpec::changes_rtcp)
}
