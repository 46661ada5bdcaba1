//! What the data plane reports of a leg.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Who forwards the packets of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// The XDP program, in the mode of the interface that they arrive on.
    #[default]
    Xdp,
    /// Workers of this process that take whole frames from the device's queues (AF_XDP).
    AfXdp,
    /// Workers of this process that use sockets.
    User,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdp => "xdp",
            Self::AfXdp => "af_xdp",
            Self::User => "user",
        })
    }
}

/// A count for each path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// By the XDP program.
    pub xdp: u64,
    /// By AF_XDP workers.
    pub af_xdp: u64,
    /// By socket workers.
    pub user: u64,
}

impl PathCounts {
    /// All paths together.
    pub const fn total(self) -> u64 {
        self.xdp.saturating_add(self.af_xdp).saturating_add(self.user)
    }

    /// Each path with its count.
    pub const fn by_path(self) -> [(Path, u64); 3] {
        [(Path::Xdp, self.xdp), (Path::AfXdp, self.af_xdp), (Path::User, self.user)]
    }
}

/// How well media arrives on a leg: measured by the kernel half for each packet that is admitted (RFC 3550 appendices
/// A.1 and A.8), over all sources that the leg had. Losses counted here happened before us: packets that we dropped
/// were received, and are in [`LegStatistics::dropped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// The SSRC that arrives now.
    pub ssrc: Option<u32>,
    /// RTP packets that arrived, duplicates included.
    pub packets: u64,
    /// Packets that should have arrived: from the first sequence number to the highest, for each source.
    pub expected: u64,
    /// Of those, packets that did not arrive, not even late.
    pub lost: u64,
    /// Packets that arrived after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// Interarrival jitter in units of the RTP clock (RFC 3550 section 6.4.1).
    pub jitter: u32,
    /// The same as time, if [`crate::LegSpec::clock_rate`] was told.
    pub jitter_time: Option<Duration>,
    /// Extended highest sequence number of the source that arrives now: cycles in the upper half (RFC 3550 section
    /// 6.4.1).
    pub highest_sequence: u32,
    /// How often another SSRC, or the same with a sequence that starts anew, took the place of the one before.
    pub ssrc_changes: u64,
}

/// What was counted for one leg. All counters start at zero when the leg is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegStatistics {
    /// Packets that arrived for this leg, whatever became of them.
    pub received: u64,
    /// Bytes of those packets, from the Ethernet header to the end of the frame.
    pub received_bytes: u64,
    /// Of those, the packets that were sent on.
    pub forwarded: u64,
    /// Bytes of the packets that were sent on, as they arrived.
    pub forwarded_bytes: u64,
    /// Who sent them on: adds up to `forwarded`.
    pub paths: PathCounts,
    /// Packets that left towards this leg's remote side.
    pub sent: u64,
    /// Bytes of those packets.
    pub sent_bytes: u64,
    /// Packets that arrived for this leg and were dropped, by reason (the name of the drop reason, and the count);
    /// only reasons that occurred.
    pub dropped: Vec<(&'static str, u64)>,
    /// For a receiver of a group ([`crate::Relay::join`]): copies that did not leave, by reason. Those that the device refused
    /// (`refused`) are also counted as sent, as they are for every leg; all others are not.
    pub lost: Vec<(&'static str, u64)>,
    /// How long no packet was admitted on this leg, to the second. Counts from the installation while there was none.
    pub idle: Duration,
    /// The source that the leg admits now: told or learned.
    pub source: Option<SocketAddr>,
    /// How often the admitted source changed: told anew, or learned anew after the leg was idle.
    pub source_changes: u64,
    /// Where media for this leg's remote side is sent now.
    pub remote: Option<SocketAddr>,
    /// Who forwards its packets: whoever did last.
    pub path: Path,
    /// How well media arrives, if the leg measures it ([`crate::LegSpec::quality`]) and some did.
    pub quality: Option<Quality>,
}
