//! MESSAGE and NOTIFY of a device: it lives, answers, or has something to tell. Each is answered at once and without a body;
//! what follows from it is another matter (Annex M).

use std::time::Instant;

use super::super::id::DeviceId;
use super::super::manscdp::{self, Body, Direction};
use super::Platform;
use super::receive::sender;
use crate::config::UnregisteredKeepalive;
use crate::sip::message::Message;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

/// Whom a message is from.
enum Sender {
    /// A device that is registered, or was, from where it is known to be.
    Known(DeviceId),
    /// A device that is registered, from another address.
    Elsewhere,
    /// Nobody who has registered.
    Stranger,
}

impl Platform {
    pub(super) fn message(&mut self, now: Instant, flow: Flow, id: TransactionId, request: &Message) {
        let message = match manscdp::Message::parse(&request.body) {
            Ok(message) => message,
            Err(error) => {
                self.counters.count("gb28181_messages_malformed");
                return self.refuse(now, id, request, 400, &error.to_string());
            }
        };
        if message.damaged {
            self.counters.count("gb28181_messages_damaged");
        }
        let is_keepalive = matches!(message.body, Body::Keepalive { .. });
        let device = match self.sender(flow, request, &message) {
            Sender::Known(device) => device,
            Sender::Elsewhere => {
                self.counters.count("gb28181_messages_from_elsewhere");
                // Without an answer the device takes us for dead, and registers, with its password.
                return self.transactions.abandon(id);
            }
            Sender::Stranger if is_keepalive => return self.stray_keepalive(now, id, request),
            Sender::Stranger => {
                self.counters.count("gb28181_messages_of_strangers");
                return self.refuse(now, id, request, 403, "register first");
            }
        };
        let expired = self.devices.get(&device).is_none_or(|device| device.expires.is_none());
        if expired {
            let accepts = self.settings.unregistered_keepalive == UnregisteredKeepalive::Accept;
            if !is_keepalive {
                self.counters.count("gb28181_messages_of_strangers");
                return self.refuse(now, id, request, 403, "register first");
            }
            if !accepts {
                return self.stray_keepalive(now, id, request);
            }
        }
        self.answer(now, id, request, 200);
        self.heard(now, device, flow, expired);
        self.take(now, device, message);
    }

    /// The registered device that a message is from. From may name a channel, or anything: then the body says whom it is
    /// about, and else only one device may be at that address.
    fn sender(&self, flow: Flow, request: &Message, message: &manscdp::Message) -> Sender {
        let named = [sender(request), message.device].into_iter().flatten();
        let Some(device) = named.filter_map(|id| self.devices.get(&id)).next() else {
            return self.places.alone_at(flow.remote()).map_or(Sender::Stranger, Sender::Known);
        };
        if self.settings.roaming || device.flow.remote().ip() == flow.remote().ip() {
            Sender::Known(device.id)
        } else {
            Sender::Elsewhere
        }
    }

    /// A keepalive of a device that is not registered.
    fn stray_keepalive(&mut self, now: Instant, id: TransactionId, request: &Message) {
        self.counters.count("gb28181_keepalives_unregistered");
        match self.settings.unregistered_keepalive {
            UnregisteredKeepalive::Ignore => self.transactions.abandon(id),
            UnregisteredKeepalive::Refuse | UnregisteredKeepalive::Accept => {
                self.refuse(now, id, request, 403, "register first");
            }
        }
    }

    /// A device lives, and perhaps its NAT has given it another port.
    fn heard(&mut self, now: Instant, id: DeviceId, flow: Flow, expired: bool) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.seen = now;
        if device.flow.remote() != flow.remote() {
            device.moves += 1;
            self.counters.count("gb28181_addresses_changed");
            tracing::debug!(device = %id, from = %device.flow, to = %flow, "address changed");
        }
        self.places.moved(id, Some(device.flow), flow);
        device.flow = flow;
        if expired {
            device.expires = Some(now + self.settings.max_expires);
        }
        if !device.online {
            device.online = true;
            tracing::info!(device = %id, address = %flow, "device online again");
            self.watch(id);
            self.introduce(now, id);
        }
    }

    fn take(&mut self, now: Instant, id: DeviceId, message: manscdp::Message) {
        let answer_to = (message.direction == Direction::Response).then_some(message.number);
        match message.body {
            Body::Keepalive { faulty } => {
                self.counters.count("gb28181_keepalives");
                if let Some(device) = self.devices.get_mut(&id) {
                    device.keepalives += 1;
                    device.faulty = faulty;
                }
            }
            Body::Catalog(part) => match answer_to {
                Some(number) => self.catalog_part(now, id, number, part),
                None => self.catalog_changed(now, id, part),
            },
            Body::DeviceInfo(info) => {
                if let Some(device) = self.devices.get_mut(&id) {
                    device.info = Some(info);
                }
                self.question_answered(now, id, message.number);
            }
            Body::DeviceStatus(status) => {
                if let Some(device) = self.devices.get_mut(&id) {
                    device.status = Some(status);
                }
                self.question_answered(now, id, message.number);
            }
            Body::Result(done) => self.order_answered(id, message.number, done),
            Body::RecordInfo(_)
            | Body::Alarm(_)
            | Body::MobilePosition(_)
            | Body::MediaStatus(_)
            | Body::Other => self.counters.count("gb28181_messages_unused"),
        }
    }
}
