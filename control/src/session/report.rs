//! What a session reports of its legs. It must not know how legs are installed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use relay_user::{LegStatistics, MediaKind};

use super::{SessionId, Side};

/// One leg and what was counted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegReport {
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
    total.sent += more.sent;
    total.sent_bytes += more.sent_bytes;
    for (reason, count) in &more.dropped {
        match total.dropped.iter_mut().find(|(known, _)| known == reason) {
            Some((_, known)) => *known += count,
            None => total.dropped.push((reason, *count)),
        }
    }
}
