//! The signalling core: one owner of all transactions, registrations and calls, without locks and without sockets.
//!
//! It is told what happened (a message, a timer, an answer of the media plane) and collects what is to be done in
//! [`Effects`]. The daemon carries the effects out; tests look at them.

mod counters;
mod expire;
mod receive;
mod register;
mod report;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use counters::Counters;
pub use report::Report;

use super::auth::Authenticator;
use super::call::{Call, CallId, CallTimer, Ended, MediaId, MediaRequest, Purpose, Side};
use super::identifiers::Identifiers;
use super::message::{HeaderName, Message};
use super::registrar::{Bounds, Registrar};
use super::transaction::{TransactionId, Transactions};
use super::transport::{Flow, Transmit};
use crate::config::Config;
use crate::timers::{TimerHandle, TimerQueue};

/// Seconds after which a refused peer may try again (RFC 3261 section 20.33).
pub(super) const RETRY_AFTER_SECONDS: &str = "5";

/// What is to be done.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages to be sent, in this order.
    pub transmits: Vec<Transmit>,
    /// What to ask the media plane; each is answered by [`Core::media_reply`].
    pub media: Vec<MediaRequest>,
    /// Media sessions whose silence is to be told to [`Core::media_silence`].
    pub media_checks: Vec<MediaId>,
    /// Calls that have ended: their media sessions are to be ended and the calls logged.
    pub ended: Vec<Ended>,
}

/// The signalling core.
pub struct Core {
    pub(super) config: Arc<Config>,
    pub(super) identifiers: Identifiers,
    pub(super) transactions: Transactions<Purpose>,
    pub(super) registrar: Registrar,
    pub(super) authenticator: Authenticator,
    pub(super) calls: HashMap<CallId, Box<Call>>,
    /// Our tags in dialogs: which call, and which side of it knows us by this tag.
    pub(super) tags: HashMap<String, (CallId, Side)>,
    pub(super) timers: TimerQueue<CallTimer>,
    pub(super) counters: Counters,
    pub(super) effects: Effects,
    pub(super) next_call: u64,
    overloaded: bool,
    stopping: bool,
}

impl Core {
    /// A core without registrations and calls.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(config: Arc<Config>) -> Result<Self, getrandom::Error> {
        let sip = &config.sip;
        let bounds = Bounds {
            min: sip.min_expires,
            default: sip.default_expires,
            max: sip.max_expires,
            contacts: sip.contacts_per_account,
        };
        Ok(Self {
            identifiers: Identifiers::new()?,
            transactions: Transactions::new(sip.timers, sip.limits.transactions),
            registrar: Registrar::new(bounds),
            authenticator: Authenticator::new(&config)?,
            calls: HashMap::new(),
            tags: HashMap::new(),
            timers: TimerQueue::default(),
            counters: Counters::default(),
            effects: Effects::default(),
            next_call: 0,
            overloaded: false,
            stopping: false,
            config,
        })
    }

    /// Takes what is to be done now.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Whether more messages wait than can be worked off soon: then new registrations and calls are answered 503.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// Ends all calls and takes no new ones.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for id in calls {
            self.with_call(id, |core, call| core.hang_up(now, call, "the gateway stops"));
        }
    }

    /// Whether calls or transactions are left that a stop should wait for.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.calls.is_empty() || self.transactions.has_open_requests()
    }

    /// Ends the call of this name; says whether there is one.
    pub fn hang_up_by_name(&mut self, now: Instant, name: &str) -> bool {
        let Some(id) =
            self.calls.values().find(|call| call.name == name && !call.is_over()).map(|call| call.id)
        else {
            return false;
        };
        self.with_call(id, |core, call| core.hang_up(now, call, "ended by the operator"));
        true
    }

    pub(super) fn refuses_new_work(&self) -> bool {
        self.overloaded || self.stopping
    }

    /// Works on a call, which is put back unless nothing of it is left.
    pub(super) fn with_call<R>(
        &mut self,
        id: CallId,
        work: impl FnOnce(&mut Self, &mut Call) -> R,
    ) -> Option<R> {
        let mut call = self.calls.remove(&id)?;
        let result = work(self, &mut call);
        if !self.bury(&mut call) {
            self.calls.insert(id, call);
        }
        Some(result)
    }

    /// Answers through a transaction.
    pub(super) fn respond(&mut self, now: Instant, id: TransactionId, response: &Message) {
        self.counters.count_response(response.status_code().unwrap_or_default());
        self.transactions.respond(now, id, response, &mut self.effects.transmits);
    }

    /// Answers through a transaction with a status and nothing else.
    pub(super) fn answer(&mut self, now: Instant, id: TransactionId, request: &Message, status: u16) {
        let response = self.response(request, status);
        self.respond(now, id, &response);
    }

    /// A response with a tag of its own.
    pub(super) fn response(&mut self, request: &Message, status: u16) -> Message {
        let tag = self.identifiers.token();
        Message::response(request, status).with_to_tag(&tag)
    }

    /// Answers without a transaction: for requests that shall cost us nothing.
    pub(super) fn answer_statelessly(&mut self, flow: Flow, request: &Message, status: u16) {
        let mut response = self.response(request, status);
        if status == 503 {
            response.headers.push(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
        }
        self.send_statelessly(flow, request, &response);
    }

    pub(super) fn send_statelessly(&mut self, flow: Flow, request: &Message, response: &Message) {
        let Ok(via) = request.top_via() else { return };
        self.counters.count_response(response.status_code().unwrap_or_default());
        let transmit =
            Transmit { flow: flow.for_response(&via), bytes: response.to_bytes(), transaction: None };
        self.effects.transmits.push(transmit);
    }

    pub(super) fn cancel_timer(&mut self, timer: &mut Option<TimerHandle>) {
        if let Some(timer) = timer.take() {
            self.timers.cancel(timer);
        }
    }
}

#[cfg(test)]
mod tests;
