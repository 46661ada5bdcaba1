//! What the tables know of legs whose RTCP ends here.

use std::net::SocketAddr;
use std::time::Instant;

use relay_common::retag::{self, Offsets};

use crate::leg::{LegId, LegSpec, MediaKind, RtcpMode, Sharing};
use crate::retag::RetagSpec;
use crate::rtcp::{Account, Sends};

use super::{Installed, SLOTS_AT_ONCE, State, record};

/// Bytes of a frame in front of the RTP payload, without options and extensions: Ethernet, IP, UDP, RTP.
const HEADERS: (u64, u64) = (14 + 20 + 8 + 12, 14 + 40 + 8 + 12);

impl State {
    /// Legs in [`SLOTS_AT_ONCE`] slots from `first` on whose RTCP ends here, and whether there are slots beyond.
    pub(crate) fn reporting(&self, first: usize) -> (Vec<LegId>, bool) {
        let end = self.installed.len().min(first + SLOTS_AT_ONCE);
        let legs = self.installed[first.min(end)..end].iter().flatten();
        let ends_here =
            legs.filter(|leg| leg.spec.rtcp == RtcpMode::Terminate && leg.spec.shared != Sharing::Port);
        (ends_here.map(|leg| leg.id).collect(), end < self.installed.len())
    }

    /// What the report to the other side of a leg is made of; `None` if the leg is gone, or speaks for none.
    pub(crate) fn account(&mut self, id: LegId, now: Instant) -> Option<Account> {
        let media = self.media_of(id)?;
        let received = self.statistics(media, now)?.quality;
        let sends =
            self.leg(media)?.ingress.first().copied().and_then(|feeder| self.sends(media, feeder, now));
        let leg = self.leg(id)?;
        Some(Account { local: leg.spec.local, remote: leg.remote, media, received, sends })
    }

    /// The leg of the media that RTCP on a leg speaks of: itself, or the one a port below (RFC 3550 section 11).
    pub(crate) fn media_of(&self, id: LegId) -> Option<LegId> {
        let leg = self.leg(id)?;
        match leg.spec.media {
            MediaKind::Rtp | MediaKind::Muxed => Some(id),
            MediaKind::Rtcp => self.neighbour(leg, leg.spec.local.port().checked_sub(1)?),
        }
    }

    /// The leg that the RTCP of some media arrives on, if it ends here.
    fn rtcp_of(&self, media: LegId) -> Option<LegId> {
        let leg = self.leg(media)?;
        let rtcp = match leg.spec.media {
            MediaKind::Rtp => self.neighbour(leg, leg.spec.local.port().checked_add(1)?)?,
            MediaKind::Rtcp | MediaKind::Muxed => media,
        };
        (self.leg(rtcp)?.spec.rtcp == RtcpMode::Terminate).then_some(rtcp)
    }

    /// The leg of another port of the same address.
    pub(super) fn neighbour(&self, leg: &Installed, port: u16) -> Option<LegId> {
        let place = record::place(&LegSpec::new(SocketAddr::new(leg.spec.local.ip(), port)), 0);
        let slot = self.table.find(&place)?;
        self.installed.get(slot as usize)?.as_deref().map(|leg| leg.id)
    }

    /// The stream that leaves by a leg and arrives on `feeder`.
    fn sends(&mut self, media: LegId, feeder: LegId, now: Instant) -> Option<Sends> {
        let source = self.statistics(feeder, now)?.quality;
        let (from, to) = (self.leg(feeder)?, self.leg(media)?);
        let record = self.records.retags.read_settled(feeder.slot);
        let retagged = to.spec.retag.as_ref().is_some_and(RetagSpec::changes_rtp);
        let flags = if retagged { record.flags } else { 0 };
        let offsets =
            if flags & retag::OFFSETS == 0 { Offsets::new(0, 0) } else { Offsets::from_word(record.offsets) };
        let sent = self.sent_by(to);
        let (v4, v6) = HEADERS;
        let headers = if from.spec.local.is_ipv4() { v4 } else { v6 };
        Some(Sends {
            feeder,
            feeder_rtcp: self.rtcp_of(feeder),
            source: source.and_then(|quality| quality.ssrc),
            ssrc: (flags & retag::SSRC != 0).then(|| record.ssrc.get()),
            timestamp: offsets.timestamp(),
            sequence: offsets.sequence(),
            clock_rate: from.spec.clock_rate.or(to.spec.clock_rate),
            packets: sent.packets,
            bytes: sent.bytes.saturating_sub(sent.packets.saturating_mul(headers)),
        })
    }
}
