//! What happens when nothing happens: timers, and requests that could not be sent.

use std::time::Instant;

use super::super::id::DeviceId;
use super::{Deadline, Platform, Purpose};
use crate::sip::transaction::{Event, TransactionId};

impl Platform {
    /// When [`Platform::expire`] is to be called next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.transactions.next_due().into_iter().chain(self.timers.next_due()).min()
    }

    /// Runs every timer that is due.
    pub fn expire(&mut self, now: Instant) {
        while let Some(event) = self.transactions.expire(now, &mut self.effects.transmits) {
            self.request_failed(now, &event);
        }
        while let Some(deadline) = self.timers.pop(now) {
            match deadline {
                Deadline::Device(id) => self.device_due(now, id),
                Deadline::Catalog(id) => self.refresh_catalog(now, id),
                Deadline::Question(number) => self.question_quiet(now, number),
                Deadline::Order(number) => self.order_unanswered(number),
                Deadline::Stream(id) => self.stream_due(now, id),
                Deadline::Media(id) => self.check_media(now, id),
            }
        }
    }

    /// The request of a transaction could not be sent.
    pub fn unsent(&mut self, now: Instant, transaction: TransactionId) {
        self.counters.count("gb28181_requests_unsent");
        if let Some(event) = self.transactions.unreachable(transaction) {
            self.request_failed(now, &event);
        }
    }

    fn request_failed(&mut self, now: Instant, event: &Event<Purpose>) {
        let (transaction, purpose, why) = match *event {
            Event::TimedOut(transaction, purpose) => (transaction, purpose, "the camera did not answer"),
            Event::Unreachable(transaction, purpose) => {
                (transaction, purpose, "the camera cannot be reached")
            }
        };
        match purpose {
            Purpose::Question(number) => self.question_quiet(now, number),
            Purpose::Order(number) => self.order_unanswered(number),
            Purpose::Invite(id) => self.invite_unanswered(now, id, transaction, why),
            Purpose::Farewell => self.byes = self.byes.saturating_sub(1),
            Purpose::None => {}
        }
    }

    fn device_due(&mut self, now: Instant, id: DeviceId) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.timer = None;
        if device.expires.is_some_and(|at| at <= now) {
            device.expires = None;
            self.offline(id, "its registration is over");
        } else if now.saturating_duration_since(device.seen) >= device.patience {
            self.offline(id, "no keepalive comes");
        }
        self.watch(id);
    }
}
