//! Calls: a back-to-back user agent between registered terminals.
//!
//! Each call has one dialog with the caller and one with each contact of the called that answers; neither side sees
//! anything of the other's signalling (Via, Contact, Call-ID, tags). All contacts ring at the same time; the first that
//! answers gets the call. In `direct` mode session descriptions pass byte for byte; in `relay` mode they go through the
//! media plane, which answers later: nothing here waits, what is to follow is kept as a value (`Then`).
//!
//! The steps of a call are in files of their own, as functions of [`Core`](super::core::Core) that this room adds.

mod accept;
mod contacts;
mod end;
mod fork;
mod media;
mod midcall;
mod negotiate;
mod pass;
mod refresh;
mod setup;
mod translate;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use end::{CallRecord, Ended};
pub(super) use media::MediaQueue;
pub use media::{MediaId, MediaOperation, MediaRefusal, MediaReply, MediaRequest};
pub use refresh::Refreshing;
pub(super) use translate::{ALLOW, warning};

use super::dialog::Dialog;
use super::message::Message;
use super::transaction::TransactionId;
use super::transport::{Flow, Transmit};
use crate::config::Mode;
use crate::timers::TimerHandle;

/// Names a call within the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who called.
    Caller,
    /// Who was called.
    Called,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Called,
            Self::Called => Self::Caller,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Caller => "caller",
            Self::Called => "called",
        })
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nobody waits for its outcome.
    #[default]
    None,
    /// The INVITE that a caller sent to us.
    Incoming(CallId),
    /// The INVITE that we sent to a contact of the called.
    Branch(CallId, usize),
    /// A request inside the call that we received from this side.
    Received(CallId, Side),
    /// A request inside the call that we passed on to this side.
    Passed(CallId, Side),
    /// A request by which we keep the session with this side alive (RFC 4028).
    Refresh(CallId, Side),
    /// BYE of ours, or CANCEL: only that it is answered matters.
    Farewell,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallTimer {
    /// The called side does not answer.
    Ring(CallId),
    /// The 2xx has no ACK yet: send it again.
    RepeatAnswer(CallId),
    /// The 2xx got no ACK in 64*T1.
    NoAck(CallId),
    /// Time to refresh the session with this side, or to give it up.
    Session(CallId, Side),
    /// Time to look whether media still flows.
    Media(CallId),
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    /// Its name for people.
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) mode: Mode,
    pub(super) started: Instant,
    pub(super) answered: Option<Instant>,
    /// The INVITE of the caller, and the flow that it came on.
    pub(super) invite: Message,
    pub(super) flow: Flow,
    /// The transaction of that INVITE.
    pub(super) transaction: TransactionId,
    /// Our tag in responses that no contact of the called stands behind.
    pub(super) tag: String,
    pub(super) branches: Vec<Branch>,
    pub(super) state: State,
    /// Requests inside the call that were passed on, by the transaction towards the other side.
    pub(super) passed: HashMap<TransactionId, Passed>,
    pub(super) ring: Option<TimerHandle>,
    pub(super) media_check: Option<TimerHandle>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum State {
    /// The caller has no final answer yet.
    Ringing,
    /// A contact has answered, and the media plane prepares the answer to the caller.
    Answering {
        /// The contact's place in [`Call::branches`].
        branch: usize,
        /// Its 2xx, not acknowledged yet.
        response: Box<Message>,
    },
    /// The caller has the 2xx.
    Established(Box<Established>),
    /// Over; answers of the media plane and of contacts may still be awaited. The record is there until it is reported.
    Ended(Option<Box<CallRecord>>),
}

/// A contact of the called.
#[derive(Debug)]
pub(super) struct Branch {
    /// Our INVITE to it, once it was sent.
    pub(super) invite: Option<(TransactionId, Message)>,
    pub(super) contact: super::message::SipUri,
    /// Where requests to it go.
    pub(super) flow: Flow,
    /// The flow of its registration, when a large INVITE is tried over TCP first: what to fall back to.
    pub(super) fallback: Option<Flow>,
    /// Our tag towards the caller when this contact answers: to the caller, contacts look like forks.
    pub(super) tag: String,
    pub(super) state: BranchState,
    pub(super) media: MediaQueue,
}

/// Where our INVITE to a contact stands.
#[derive(Debug)]
pub(super) enum BranchState {
    /// The media plane prepares its offer.
    Preparing,
    /// Sent; no response yet.
    Calling {
        /// CANCEL as soon as a provisional response allows it (RFC 3261 section 9.1).
        cancel: bool,
    },
    /// A provisional response arrived.
    Ringing,
    /// CANCEL was sent.
    Cancelled,
    /// It answered with a 2xx.
    Answered,
    /// It refused, or could not be reached.
    Failed(Failure),
}

/// Why a contact did not take the call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    /// Its response, where it gave one.
    pub(super) response: Option<Box<Message>>,
    /// Our explanation, where it gave none.
    pub(super) warning: Option<String>,
}

/// Both dialogs of an established call.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) branch: usize,
    pub(super) caller: Dialog,
    pub(super) called: Dialog,
    /// The side whose new offer the media plane is working on; then it is passed on, or refused.
    pub(super) offering: Option<Side>,
    /// A 2xx to an INVITE of this side whose ACK is awaited.
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// The last ACK to each side, to be sent again when its 2xx comes again.
    pub(super) acks: Vec<(TransactionId, Transmit)>,
    pub(super) caller_session: Refreshing,
    pub(super) called_session: Refreshing,
}

impl Established {
    pub(super) fn dialog(&mut self, side: Side) -> &mut Dialog {
        match side {
            Side::Caller => &mut self.caller,
            Side::Called => &mut self.called,
        }
    }

    pub(super) fn session(&mut self, side: Side) -> &mut Refreshing {
        match side {
            Side::Caller => &mut self.caller_session,
            Side::Called => &mut self.called_session,
        }
    }
}

/// A 2xx to INVITE that we sent and that we send again until its ACK comes (RFC 3261 section 13.3.1.4).
#[derive(Debug)]
pub(super) struct Unacknowledged {
    /// Who owes the ACK.
    pub(super) side: Side,
    /// The transaction and the response.
    pub(super) transaction: TransactionId,
    pub(super) response: Message,
    /// The sequence number that the ACK will have.
    pub(super) sequence: u32,
    /// Our INVITE to the other side, whose 2xx we acknowledge when this ACK comes: transaction and sequence number.
    pub(super) onward: (TransactionId, u32),
    pub(super) interval: Duration,
    pub(super) repeat: Option<TimerHandle>,
    pub(super) deadline: Option<TimerHandle>,
}

/// A request inside the call that was passed on.
#[derive(Debug)]
pub(super) struct Passed {
    /// Who sent it.
    pub(super) from: Side,
    /// The transaction to answer.
    pub(super) transaction: TransactionId,
    pub(super) request: Message,
    /// The sequence number of our request to the other side.
    pub(super) sequence: u32,
    /// The sender took it back.
    pub(super) cancelled: bool,
}

/// What follows when the media plane has answered; the bytes are the session description to go on with.
#[derive(Debug)]
pub(super) enum Then {
    /// INVITE the contact.
    Invite,
    /// Pass the provisional response on to the caller.
    Progress(Box<Message>),
    /// Pass the 2xx of [`State::Answering`] on to the caller.
    Accept,
    /// Acknowledge the 2xx of this side.
    Acknowledge(Side, TransactionId, u32, Box<Message>),
    /// Pass a request inside the call on to the other side.
    Pass(Side, TransactionId, Box<Message>),
    /// Pass the 2xx to such a request back.
    Return(TransactionId, Box<Message>),
}

impl Call {
    /// Whether the call may still be refused: the caller has no final answer.
    pub(super) fn is_ringing(&self) -> bool {
        matches!(self.state, State::Ringing | State::Answering { .. })
    }

    /// Whether the call has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// The established part, if it is established.
    pub(super) fn established(&mut self) -> Option<&mut Established> {
        match &mut self.state {
            State::Established(established) => Some(established),
            _ => None,
        }
    }
}

/// The session description of a message; `None` when it has none.
pub(super) fn description(message: &Message) -> Option<Bytes> {
    if message.body.is_empty() {
        return None;
    }
    let content_type = message.content_type().ok()??;
    (content_type.essence == "application/sdp").then(|| message.body.clone())
}
