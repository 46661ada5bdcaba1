//! Which legs belong to receivers of groups, and what these say.

use std::net::SocketAddr;
use std::time::Instant;

use relay_common::rtcp::Compound;

use crate::audience::{Audience, GroupQuality, ReceiverQuality, Speaker};
use crate::event::Event;
use crate::leg::{LegId, LegSpec, MediaKind, RtcpMode};

use super::{Installed, State, record};

impl State {
    /// The same with other intervals.
    pub(crate) fn with_audience(self, audience: Audience) -> Self {
        Self { audience, ..self }
    }

    /// Whether RTCP that arrives on a leg goes no further: because the caller says so, or because a receiver of a group sends
    /// it, so that no source is told by each of its receivers.
    pub(super) fn ends_rtcp(&self, leg: &Installed) -> bool {
        leg.spec.rtcp == RtcpMode::Terminate
            || leg.spec.media != MediaKind::Rtp && self.receiver_of(leg.id).is_some()
    }

    /// The receiver that RTCP on a leg comes from, with its source, if it is one.
    fn receiver_of(&self, rtcp: LegId) -> Option<(LegId, LegId)> {
        let media = self.media_of(rtcp)?;
        Some((media, self.leg(media)?.source?))
    }

    /// A leg has become a receiver: from now on its RTCP ends here.
    pub(super) fn end_rtcp_of(&mut self, receiver: LegId) {
        let Some(leg) = self.leg(receiver) else { return };
        match leg.spec.media {
            MediaKind::Muxed => self.store_exit(receiver),
            MediaKind::Rtp => {
                let above = leg.spec.local.port().checked_add(1);
                if let Some(rtcp) = above.and_then(|port| self.neighbour(leg, port)) {
                    self.store_exit(rtcp);
                }
            }
            MediaKind::Rtcp => {}
        }
    }

    /// RTCP has arrived on a leg whose RTCP ends here: what the caller is to know of it.
    pub(crate) fn heard(&mut self, rtcp: LegId, compound: &Compound<'_>, now: Instant) -> Vec<Event> {
        let Some((receiver, source)) = self.receiver_of(rtcp) else { return Vec::new() };
        let renamed = self.leg(receiver).and_then(|leg| leg.spec.retag.as_ref()?.ssrc);
        let stream = renamed.or_else(|| self.statistics(source, now)?.quality?.ssrc);
        self.audience.heard(Speaker { receiver, source, stream }, compound, now)
    }

    /// A packet between these two ends could not be delivered: what the caller is to know of it.
    pub(crate) fn unreachable(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) -> Option<Event> {
        let slot = self.table.find(&record::place(&LegSpec::new(from), 0))?;
        let leg = self.installed.get(slot as usize)?.as_deref()?;
        let (receiver, source) = (leg.id, leg.source.filter(|_| leg.remote == Some(to))?);
        self.audience.unreachable(receiver, source, now)
    }

    /// Somebody has joined.
    pub(crate) fn want_key_frame(&mut self, source: LegId, now: Instant) -> Option<Event> {
        self.leg(source)?;
        self.audience.want_key_frame(source, now)
    }

    /// What has become due to be told of receivers.
    pub(crate) fn audience_due(&mut self, now: Instant) -> Vec<Event> {
        self.audience.look(now)
    }

    /// What a receiver reported last.
    pub(crate) fn receiver_quality(&self, receiver: LegId) -> Option<ReceiverQuality> {
        self.audience.quality(receiver)
    }

    /// What the receivers of a leg reported last, together.
    pub(crate) fn group_quality(&self, source: LegId, now: Instant) -> Option<GroupQuality> {
        self.audience.group_quality(&self.receivers(source), now)
    }
}
