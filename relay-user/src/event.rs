//! What the data plane reports while media runs.

use std::net::SocketAddr;

use crate::leg::LegId;

/// Something that happened to a leg. What packets cause comes at most once a second for each leg and CPU, so an event says "at
/// least once".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The leg admitted its first source; from now on no other is.
    SourceLearned {
        /// The leg.
        leg: LegId,
        /// The source.
        source: SocketAddr,
    },
    /// A packet from another source was dropped.
    SourceRefused {
        /// The leg.
        leg: LegId,
        /// The source that was refused.
        source: SocketAddr,
    },
    /// The leg was idle for as long as its re-learning takes: it forgot this source, and learns the next.
    SourceForgotten {
        /// The leg.
        leg: LegId,
        /// The source that was admitted.
        source: SocketAddr,
    },
    /// A packet to a shared port was dropped: no leg on it has this SSRC or this source.
    UnknownSource {
        /// The shared port.
        leg: LegId,
        /// Where it came from.
        source: SocketAddr,
        /// The SSRC of the packet; 0 where it is neither RTP nor RTCP.
        ssrc: u32,
    },
    /// A packet to a port of ours was dropped that no leg has ([`crate::Options::ports`]): somebody sends media of a
    /// session that is over, or not yet there. Sampled: at most a hundred a second for each CPU.
    Orphan {
        /// Where it was sent to.
        local: SocketAddr,
        /// Where it came from.
        source: SocketAddr,
        /// The SSRC of the packet; 0 where it is neither RTP nor RTCP.
        ssrc: u32,
    },
    /// A packet was dropped because the neighbour towards its receiver has no MAC address; it is being looked for.
    NextHopUnresolved {
        /// The leg that the packet arrived on.
        leg: LegId,
    },
    /// The receivers of a leg need a key frame: somebody has joined, or one of them asked for it by RTCP. At most one in
    /// [`crate::Options::key_frame_interval`] for each leg; what comes meanwhile is put together. How the source is asked is
    /// the caller's: by RTCP, by signalling, or not at all.
    KeyFrameWanted {
        /// The leg that the media arrives on.
        leg: LegId,
    },
    /// A receiver seems to be gone. It stays installed, and is sent to: whether it is removed is the caller's.
    ReceiverGone {
        /// The receiver.
        leg: LegId,
        /// The leg whose packets it receives.
        source: LegId,
        /// What says so.
        leaving: Leaving,
    },
}

/// How it is known that a receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It said so: RTCP BYE (RFC 3550 section 6.6).
    Goodbye,
    /// It used to send RTCP, and has sent none for [`crate::Options::receiver_silence`]. Told once, until it speaks again.
    Silence,
    /// ICMP says that a packet to it could not be delivered. At most once in ten seconds for each receiver. Whoever knows the
    /// addresses and ports can forge it, and a receiver may come back: removing it at the first is a choice.
    Unreachable,
}
