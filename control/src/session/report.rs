//! What a session reports of its legs. It must not know how legs are installed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use relay_user::{LegStatistics, MediaKind, Quality};

use super::{SessionId, Side};

/// One leg and what was counted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegReport {
    /// The leg's name in the data plane; `None` when it is gone.
    pub name: Option<String>,
    /// Which medium of the session, counted from 0.
    pub medium: usize,
    /// Which side the leg faces.
    pub side: Side,
    /// RTP, RTCP, or both on one port.
    pub kind: MediaKind,
    /// Where the leg receives.
    pub local: SocketAddr,
    /// The counters, over all legs that this medium had in this role (a re-INVITE may replace a leg).
    pub statistics: LegStatistics,
}

/// A session and its legs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// The session.
    pub id: SessionId,
    /// The address of the terminal that called.
    pub caller: IpAddr,
    /// The address of the terminal that was called.
    pub callee: IpAddr,
    /// Time since the first offer.
    pub age: Duration,
    /// The legs, by medium, caller first.
    pub legs: Vec<LegReport>,
}

/// What two legs measured one after the other: the counts of both, and the state of the later.
fn together(now: Quality, before: Quality) -> Quality {
    Quality {
        packets: now.packets + before.packets,
        expected: now.expected + before.expected,
        lost: now.lost + before.lost,
        reordered: now.reordered + before.reordered,
        duplicates: now.duplicates + before.duplicates,
        ssrc_changes: now.ssrc_changes + before.ssrc_changes,
        ..now
    }
}

/// Counts what an earlier leg counted into its successor.
pub(super) fn add(total: &mut LegStatistics, more: &LegStatistics) {
    total.received += more.received;
    total.received_bytes += more.received_bytes;
    total.forwarded += more.forwarded;
    total.forwarded_bytes += more.forwarded_bytes;
    total.paths.xdp += more.paths.xdp;
    total.paths.af_xdp += more.paths.af_xdp;
    total.paths.user += more.paths.user;
    total.source_changes += more.source_changes;
    total.quality = match (total.quality, more.quality) {
        (Some(now), Some(before)) => Some(together(now, before)),
        (now, before) => now.or(before),
    };
    total.sent += more.sent;
    total.sent_bytes += more.sent_bytes;
    for (reason, count) in &more.dropped {
        match total.dropped.iter_mut().find(|(known, _)| known == reason) {
            Some((_, known)) => *known += count,
            None => total.dropped.push((reason, *count)),
        }
    }
}
