//! The call's side of the media plane: one operation at a time for each contact, in the order in which they were asked.

use std::collections::VecDeque;
use std::net::IpAddr;

use bytes::Bytes;

use super::{CallId, Side, Then};

/// Names the media session of one contact of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId {
    /// The call.
    pub call: CallId,
    /// The contact's place in the call.
    pub branch: usize,
}

/// What the media plane is asked.
#[derive(Clone, Debug)]
pub struct MediaRequest {
    /// Which media session; the first offer makes it.
    pub id: MediaId,
    /// What to do.
    pub operation: MediaOperation,
    /// Where the caller's signalling comes from: tells the network that it is reached on.
    pub caller: IpAddr,
    /// Where the contact's signalling comes from.
    pub called: IpAddr,
}

/// An operation on a media session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaOperation {
    /// A session description that opens a negotiation. The reply is what the other side is told.
    Offer {
        /// Who offers.
        by: Side,
        /// The offer.
        description: Bytes,
    },
    /// The session description that closes it. The reply is what the side that offered is told; rules are installed
    /// before it is given.
    Answer {
        /// Who answers.
        by: Side,
        /// The answer.
        description: Bytes,
    },
}

/// What the media plane answers.
#[derive(Clone, Debug)]
pub struct MediaReply {
    /// Which media session.
    pub id: MediaId,
    /// The session description to go on with, or why there is none.
    pub result: Result<Bytes, MediaRefusal>,
}

/// Why the media plane cannot do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRefusal {
    /// The status code that says it in SIP: 488, 480 or 503.
    pub status: u16,
    /// The text of the Warning header field.
    pub warning: String,
}

/// The operations of one media session that are waiting.
#[derive(Debug, Default)]
pub(in crate::sip) struct MediaQueue {
    /// What follows the operation that is under way.
    pub(super) under_way: Option<Then>,
    /// What comes after it.
    pub(super) waiting: VecDeque<(MediaOperation, Then)>,
    /// Whether a media session exists, and is to be ended with the call.
    pub(super) exists: bool,
}

impl MediaQueue {
    /// Whether a media session exists.
    pub(in crate::sip) fn exists(&self) -> bool {
        self.exists
    }

    /// Takes an operation; returns it if it can be started now.
    pub(super) fn start(&mut self, operation: MediaOperation, then: Then) -> Option<MediaOperation> {
        if self.under_way.is_some() {
            self.waiting.push_back((operation, then));
            return None;
        }
        self.under_way = Some(then);
        self.exists = true;
        Some(operation)
    }

    /// The operation under way is done: what follows it.
    pub(super) fn finish(&mut self) -> Option<Then> {
        self.under_way.take()
    }

    /// The next operation, if none is under way.
    pub(super) fn next(&mut self) -> Option<MediaOperation> {
        if self.under_way.is_some() {
            return None;
        }
        let (operation, then) = self.waiting.pop_front()?;
        self.under_way = Some(then);
        Some(operation)
    }
}
