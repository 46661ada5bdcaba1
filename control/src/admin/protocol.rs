//! What is said over the admin socket. These are the names that scripts read: they change only with the version.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Channel, Device, Order, Playing, Stream};
use crate::config::Mode;
use crate::gb28181::id::DeviceId;
use crate::gb28181::ptz::PtzCommand;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// Everything that the daemon knows of itself.
    Status,
    /// End a call: BYE to both sides. Or send a viewer no more.
    Hangup {
        /// [`Call::id`], or [`super::Viewer::viewer`].
        call: String,
    },
    /// End the daemon.
    Stop {
        /// Whether media runs on for the next daemon, and nobody is told; otherwise all calls end first.
        keep_media: bool,
    },
    /// GB/T 28181 devices.
    Devices,
    /// The channels of a device.
    Channels {
        /// Its identifier.
        device: DeviceId,
    },
    /// Send the media of a channel to an address. The answer comes when the camera sends, or will not.
    Play {
        /// The device; `null`: the one that has the channel.
        #[serde(default)]
        device: Option<DeviceId>,
        /// The channel.
        channel: DeviceId,
        /// Where RTP is to be sent.
        to: SocketAddr,
        /// The SSRC that it is to have; `null`: one of the daemon's choice.
        #[serde(default)]
        ssrc: Option<u32>,
    },
    /// Move a camera. The answer comes when the device has received it.
    Ptz {
        /// The device; `null`: the one that has the channel.
        #[serde(default)]
        device: Option<DeviceId>,
        /// The channel.
        channel: DeviceId,
        /// How.
        #[serde(flatten)]
        command: PtzCommand,
    },
    /// Order a channel to do something else. The answer comes when the device says that it did it, where it says so, else when it
    /// has received it.
    Control {
        /// The device; `null`: the one that has the channel.
        #[serde(default)]
        device: Option<DeviceId>,
        /// The channel.
        channel: DeviceId,
        /// What.
        order: Order,
    },
    /// Channels whose media is being sent.
    Streams,
    /// Copies of the packets of a leg. After [`Reply::Capturing`] and its line feed follows a capture (pcapng), until
    /// a limit is reached, the leg ends, or the asker closes its sending side.
    Tap {
        /// [`Leg::id`].
        leg: String,
        /// Packets after which the capture ends.
        packets: Option<u64>,
        /// Seconds after which the capture ends.
        seconds: Option<u64>,
    },
}

impl Request {
    /// How long the answer may take: a camera that does not answer is waited for as long as `invite_seconds` says.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Play { .. } => Duration::from_secs(60),
            Self::Ptz { .. } | Self::Control { .. } => Duration::from_secs(15),
            _ => Duration::from_secs(5),
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// The call is being ended.
    HangingUp,
    /// No such call, and no such viewer.
    NoSuchCall,
    /// To [`Request::Devices`], in the order of their identifiers.
    Devices {
        /// The devices.
        devices: Vec<Device>,
    },
    /// To [`Request::Channels`], in the order of their identifiers.
    Channels {
        /// The channels.
        channels: Vec<Channel>,
    },
    /// It is done, or at least received.
    Done,
    /// To [`Request::Play`].
    Playing(Box<Playing>),
    /// To [`Request::Streams`], oldest first.
    Streams {
        /// The streams.
        streams: Vec<Stream>,
    },
    /// No such device has registered.
    NoSuchDevice {
        /// What was asked for, and where devices are listed.
        message: String,
    },
    /// The daemon is ending.
    Stopping,
    /// A capture follows.
    Capturing,
    /// No such leg.
    NoSuchLeg {
        /// What was asked for, and where legs are listed.
        message: String,
    },
    /// No such channel is known.
    NoSuchChannel {
        /// What was asked for, and where channels are listed.
        message: String,
    },
    /// The device refuses, or does not answer.
    NoAnswer {
        /// What it says, or that it says nothing.
        message: String,
    },
    /// It cannot be done now.
    Refused {
        /// Why.
        message: String,
    },
    /// The request was not understood.
    Invalid {
        /// Why.
        message: String,
    },
}

/// The daemon's account of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// The data plane; `null` where none is configured.
    pub relay: Option<Relay>,
    /// Who is registered, in the order of the user names.
    pub registrations: Vec<Registration>,
    /// Calls in progress, oldest first.
    pub calls: Vec<Call>,
    /// Everything that is counted, by name.
    pub counters: BTreeMap<String, u64>,
}

/// The data plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// Who forwards: `xdp`, or `user` with the reason.
    pub backend: String,
    /// Where the XDP program is attached.
    pub interfaces: Vec<Interface>,
    /// The path of packets that need user space, beside XDP.
    pub af_xdp: Option<AfXdp>,
    /// The pool of media ports, over all networks.
    pub port_pairs: PortPairs,
    /// Who sends media to ports of no session, the newest first; 64 at most.
    pub orphans: Vec<Orphan>,
    /// What the XDP program counted over all legs, by name: forwarded, dropped, left to the kernel.
    pub counters: BTreeMap<String, u64>,
    /// Where maps and links are pinned; `null`: media ends with the daemon.
    pub state: Option<String>,
    /// Legs that a daemon before this one left running; they belong to no call.
    pub adopted: Vec<Leg>,
}

/// The path of packets that need user space.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AfXdp {
    /// Threads that carry packets.
    pub workers: usize,
    /// Sockets: one for each receive queue of each interface.
    pub sockets: usize,
    /// Why there are none, if there are none.
    pub problem: Option<String>,
}

/// An interface of the data plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `up`, `down` (or without carrier), or `gone`: deleted, and attached to again when it is back.
    pub state: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Why it runs in this mode.
    pub reason: String,
}

/// Somebody who sends media to a port of no session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orphan {
    /// Our address and port.
    pub local: String,
    /// Where it comes from.
    pub source: String,
    /// SSRC of its newest packet; `null` where that is neither RTP nor RTCP.
    pub ssrc: Option<u32>,
    /// How often it was noticed: packets are sampled, the counter `orphan` has them all.
    pub reports: u64,
    /// Seconds since it was noticed last.
    pub idle_seconds: f64,
}

/// Pairs of media ports (RTP and RTCP), over all networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortPairs {
    /// In calls.
    pub in_use: usize,
    /// Resting after a call.
    pub resting: usize,
    /// Free for a call.
    pub free: usize,
}

/// A registered terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// The account.
    pub user: String,
    /// Its contact URI.
    pub contact: String,
    /// Where it really is: `udp:192.0.2.1:5060`.
    pub source: String,
    /// Seconds until the registration ends.
    pub expires_in_seconds: u64,
}

/// A call in progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Its name in logs and in `culvert hangup`.
    pub id: String,
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
    /// How media travels.
    pub mode: Mode,
    /// `ringing`, `established` or `ending`.
    pub state: String,
    /// Seconds since the INVITE.
    pub age_seconds: f64,
    /// Milliseconds from the INVITE to the 200; `null` while it rings.
    pub setup_ms: Option<f64>,
    /// Media as the data plane sees it; empty in direct mode.
    pub legs: Vec<Leg>,
}

/// One side of a media path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leg {
    /// Its name in `culvert tap`; `null` when it is gone and only its counters are left.
    pub id: Option<String>,
    /// `caller` or `called`; `adopted` for a leg of a call that a daemon before this one had.
    pub side: String,
    /// Which medium of the session description, counted from 0.
    pub medium: usize,
    /// What of it: `rtp`, `rtcp`, or `rtp+rtcp` on one port.
    pub kind: String,
    /// Our address and port.
    pub local: String,
    /// Where media is sent; `null` while unknown.
    pub remote: Option<String>,
    /// From where media is admitted; `null` while that is to be learned.
    pub source: Option<String>,
    /// Who forwarded its last packets: `xdp`, `af_xdp` or `user`.
    pub path: String,
    /// Packets that were sent on, by who did it; only paths that did.
    pub paths: BTreeMap<String, u64>,
    /// Packets that arrived from this side.
    pub received: u64,
    /// Bytes that arrived, Ethernet header included.
    pub received_bytes: u64,
    /// Packets that left towards this side.
    pub sent: u64,
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Packets from this side that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Seconds since the last packet from this side, or since the leg exists.
    pub idle_seconds: f64,
    /// How often the admitted source changed.
    pub source_changes: u64,
    /// How well media arrives from this side; `null` where it is not measured, or none arrived.
    pub quality: Option<Quality>,
}

/// How well media arrives, before the relay does anything to it: what was lost here was lost on its way to us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quality {
    /// The SSRC that arrives, in decimal.
    pub ssrc: Option<u32>,
    /// RTP packets that arrived, duplicates included.
    pub packets: u64,
    /// Packets that should have arrived, by their sequence numbers.
    pub expected: u64,
    /// Packets that did not arrive, not even late.
    pub lost: u64,
    /// Packets that arrived after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// Interarrival jitter (RFC 3550) in milliseconds; `null` where the clock rate is not known.
    pub jitter_ms: Option<f64>,
    /// How often another SSRC or a new sequence took the place of the one before.
    pub ssrc_changes: u64,
}
