//! What happens when nothing happens: timers, and requests that could not be sent.

use std::time::Instant;

use super::Core;
use crate::sip::call::{CallTimer, Failure, Purpose};
use crate::sip::transaction::{Event, TransactionId};

impl Core {
    /// When [`Core::expire`] is to be called next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.transactions.next_due().into_iter().chain(self.timers.next_due()).min()
    }

    /// Runs every timer that is due.
    pub fn expire(&mut self, now: Instant) {
        while let Some(event) = self.transactions.expire(now, &mut self.effects.transmits) {
            self.transaction_failed(now, &event);
        }
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                CallTimer::Ring(id) => self.with_call(id, |core, call| core.ring_timeout(now, call)),
                CallTimer::RepeatAnswer(id) => self.with_call(id, |core, call| core.repeat_answer(now, call)),
                CallTimer::NoAck(id) => self.with_call(id, |core, call| core.no_ack(now, call)),
                CallTimer::Session(id, side) => {
                    self.with_call(id, |core, call| core.session_due(now, call, side))
                }
                CallTimer::Media(id) => self.with_call(id, |core, call| core.check_media(now, call)),
            };
        }
        self.registrar.expire(now);
    }

    /// The request of a transaction could not be sent.
    pub fn unsent(&mut self, now: Instant, transaction: TransactionId) {
        self.counters.count("sip_requests_unsent");
        if let Some(event) = self.transactions.unreachable(transaction) {
            self.transaction_failed(now, &event);
        }
    }

    fn transaction_failed(&mut self, now: Instant, event: &Event<Purpose>) {
        // RFC 3261 section 8.1.3.1: a timeout counts as 408. A transport error would be 503, but to the other side of a
        // call it is the terminal that is not there, not the gateway.
        let (id, purpose, status, warning) = match *event {
            Event::TimedOut(id, purpose) => {
                self.counters.count("sip_transactions_timed_out");
                (id, purpose, 408, "the terminal did not answer")
            }
            Event::Unreachable(id, purpose) => (id, purpose, 480, "the terminal cannot be reached"),
        };
        let failure = Failure { status, response: None, warning: Some(warning.to_owned()) };
        match purpose {
            Purpose::Branch(call, branch) => {
                self.with_call(call, |core, call| match *event {
                    Event::Unreachable(..) => core.branch_unreachable(now, call, branch, failure),
                    Event::TimedOut(..) => core.branch_failed(now, call, branch, failure),
                });
            }
            Purpose::Passed(call, side) => {
                self.with_call(call, |core, call| core.passed_failed(now, call, side, id, status));
            }
            Purpose::Refresh(call, side) => {
                self.with_call(call, |core, call| core.refresh_failed(now, call, side));
            }
            Purpose::None | Purpose::Incoming(_) | Purpose::Received(..) | Purpose::Farewell => {}
        }
    }
}
