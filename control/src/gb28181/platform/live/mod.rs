//! Live media: one INVITE to a camera however many watch it. The camera sends to a port of ours, and the data plane gives each
//! viewer copies with an SSRC of its own.
//!
//! A stream is asked for by its first viewer and ended some time after its last. In between it is kept alive: when the camera
//! says BYE, or falls silent, it is invited again, ever more seldom. What is to be done at the data plane are values
//! ([`MediaRequest`]); its answers come back as values ([`MediaEvent`]).

mod answer;
mod end;
mod farewell;
mod invite;
mod play;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use farewell::Farewells;
pub use play::{Wish, no_such_device};

use super::super::id::DeviceId;
use super::super::ssrc::{Source, Ssrc, SsrcPool};
use super::AskId;
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::{Flow, Transmit};
use crate::timers::TimerHandle;

/// How long after the first failure a camera is invited again; then twice as long, and so on.
const SHORTEST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest of these times.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// Names a stream within the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Names a viewer; for people too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub u64);

impl fmt::Display for ViewerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// What is to be done at the data plane. Requests of one stream are carried out in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRequest {
    /// Make a place where a camera can send to; [`MediaEvent::Opened`] follows.
    Open {
        /// Whose.
        stream: StreamId,
        /// Where the camera is.
        camera: IpAddr,
    },
    /// The camera says that it sends from here.
    CameraAt {
        /// Whose.
        stream: StreamId,
        /// Address and port.
        address: SocketAddr,
        /// Whether that is another address than the one that it was known by.
        moves: bool,
    },
    /// Give copies to a viewer; [`MediaEvent::Joined`] follows.
    Join {
        /// Of what.
        stream: StreamId,
        /// Its name.
        viewer: ViewerId,
        /// Where it is.
        to: SocketAddr,
        /// The SSRC that it is to see.
        ssrc: Ssrc,
    },
    /// Give it no more.
    Leave {
        /// Of what.
        stream: StreamId,
        /// Who.
        viewer: ViewerId,
    },
    /// Say how long the camera has been silent: [`MediaEvent::Silent`].
    Listen {
        /// Whose.
        stream: StreamId,
    },
    /// Nothing of it is needed any more.
    Close {
        /// Whose.
        stream: StreamId,
    },
}

/// What the data plane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// Where the camera is to send, or why it cannot.
    Opened {
        /// Whose.
        stream: StreamId,
        /// As the camera sees it.
        local: Result<SocketAddr, String>,
    },
    /// A viewer gets copies, or why not.
    Joined {
        /// Of what.
        stream: StreamId,
        /// Who.
        viewer: ViewerId,
        /// Where its packets come from, as it sees it.
        local: Result<SocketAddr, String>,
    },
    /// How long a camera has been silent.
    Silent {
        /// Whose.
        stream: StreamId,
        /// So long.
        time: Duration,
    },
    /// Viewers need a key frame.
    KeyFrameWanted {
        /// Of what.
        stream: StreamId,
    },
    /// A viewer is gone.
    ViewerGone {
        /// Of what.
        stream: StreamId,
        /// Who.
        viewer: ViewerId,
        /// Whether this is only a hint, which anybody can forge.
        is_hint: bool,
    },
    /// Somebody sends to a port of no stream.
    Orphan {
        /// Our port.
        port: u16,
        /// Who.
        source: IpAddr,
    },
}

/// All streams.
pub(super) struct Streams {
    pub(super) by_id: HashMap<StreamId, Box<Stream>>,
    by_channel: HashMap<(DeviceId, DeviceId), StreamId>,
    by_call: HashMap<String, StreamId>,
    viewers: HashMap<ViewerId, StreamId>,
    /// INVITEs that nobody waits for any more: what comes of them is acknowledged and ended.
    late: HashMap<TransactionId, Late>,
    farewells: Farewells,
    ssrcs: SsrcPool,
    next: u64,
}

/// Media of a channel.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) device: DeviceId,
    pub(super) channel: DeviceId,
    /// What the camera is told to send with. It may not.
    pub(super) ssrc: Ssrc,
    /// What the camera says that it sends with, if it says another.
    pub(super) answered_ssrc: Option<Ssrc>,
    pub(super) state: State,
    pub(super) viewers: Vec<Viewer>,
    /// Where the camera is to send; `None` while there is no place yet.
    local: Option<SocketAddr>,
    /// Call-ID of the last INVITE.
    call_id: Option<String>,
    pub(super) started: Instant,
    /// INVITEs that were sent.
    pub(super) invites: u64,
    /// Failures since media flowed.
    failures: u32,
    /// The time for an answer, until the next INVITE, or until nobody has come back.
    timer: Option<TimerHandle>,
    /// The next look whether media flows.
    check: Option<TimerHandle>,
}

/// Where a stream stands.
#[derive(Debug)]
pub(super) enum State {
    /// The data plane makes a place.
    Opening,
    /// The INVITE was sent.
    Inviting { transaction: TransactionId, invite: Box<Message>, flow: Flow },
    /// The camera has accepted.
    Running(Box<Running>),
    /// The camera is to be invited again.
    Waiting,
}

/// An INVITE that was accepted.
#[derive(Debug)]
pub(super) struct Running {
    dialog: Dialog,
    /// The transaction of the INVITE, and its ACK, to be sent again when the 200 comes again.
    transaction: TransactionId,
    ack: Transmit,
    since: Instant,
}

/// Somebody who watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer {
    pub(super) id: ViewerId,
    pub(super) to: SocketAddr,
    pub(super) ssrc: Ssrc,
    /// Where its packets come from; `None` while that is being prepared.
    pub(super) local: Option<SocketAddr>,
    /// Who waits for the stream to run.
    asker: Option<AskId>,
    /// How often it was hinted that it is gone.
    hints: u8,
}

/// An INVITE that nobody waits for.
#[derive(Debug)]
struct Late {
    invite: Box<Message>,
    flow: Flow,
    /// CANCEL as soon as a provisional response allows it.
    cancel: bool,
}

impl Streams {
    pub(super) fn new(platform: &DeviceId, start: u64) -> Self {
        Self {
            by_id: HashMap::new(),
            by_channel: HashMap::new(),
            by_call: HashMap::new(),
            viewers: HashMap::new(),
            late: HashMap::new(),
            farewells: Farewells::default(),
            ssrcs: SsrcPool::new(platform, Source::Live, start),
            next: 0,
        }
    }

    /// The stream that a dialogue with this Call-ID belongs to.
    pub(super) fn of_call(&self, call_id: &str) -> Option<StreamId> {
        self.by_call.get(call_id).copied()
    }

    /// How many people watch.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// How many SSRCs of the domain are in use.
    pub(super) fn ssrcs(&self) -> usize {
        self.ssrcs.in_use()
    }
}

impl Stream {
    /// The INVITE that waits for an answer; the stream waits from now on.
    fn take_inviting(&mut self) -> Option<(TransactionId, Box<Message>, Flow)> {
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Inviting { transaction, invite, flow } => Some((transaction, invite, flow)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The INVITE that was accepted; the stream waits from now on.
    fn take_running(&mut self) -> Option<Box<Running>> {
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Running(running) => Some(running),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// How long until the next INVITE.
    fn back_off(&self) -> Duration {
        let doubled = SHORTEST_BACK_OFF.checked_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        doubled.unwrap_or(LONGEST_BACK_OFF).min(LONGEST_BACK_OFF)
    }
}
