//! Orders to devices (9.3): sent at once, because who turns a camera watches it turn. What a device does not answer, by the standard,
//! is done when it says that it has received it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::super::id::DeviceId;
use super::super::manscdp::Control;
use super::{AskId, Deadline, Platform, Purpose};
use crate::admin::Reply;
use crate::timers::TimerHandle;

/// How long a device may take to receive an order, and to do it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Orders whose outcome somebody waits for, by their numbers.
pub(super) type Orders = HashMap<u32, Order>;

/// An order whose outcome somebody waits for.
#[derive(Debug)]
pub(super) struct Order {
    device: DeviceId,
    ask: AskId,
    /// Whether the device says whether it did it.
    is_answered: bool,
    timer: TimerHandle,
}

impl Platform {
    /// Somebody orders a channel to do something.
    pub fn control(
        &mut self,
        now: Instant,
        ask: AskId,
        device: Option<DeviceId>,
        channel: DeviceId,
        control: Control,
    ) {
        match self.owner(device, channel) {
            Ok(device) => self.order(now, device, channel, control, Some(ask)),
            Err(reply) => self.effects.answers.push((ask, reply)),
        }
    }

    /// Sends an order to a device for a channel of it.
    pub(super) fn order(
        &mut self,
        now: Instant,
        device: DeviceId,
        channel: DeviceId,
        control: Control,
        ask: Option<AskId>,
    ) {
        let Some(known) = self.devices.get(&device) else { return };
        let (flow, charset, version) = (known.flow, known.charset, known.version());
        let number = self.questions.number();
        let body = control.to_xml(charset, version, number, &channel);
        self.counters.count("gb28181_orders");
        if let Some(ask) = ask {
            let timer = self.timers.set(now + PATIENCE, Deadline::Order(number));
            self.orders.insert(number, Order { device, ask, is_answered: control.is_answered(), timer });
        }
        if !self.send_message(now, flow, device, body, Purpose::Order(number)) {
            let message = "too many requests are under way; try again later".to_owned();
            self.end_order(number, Reply::Refused { message });
        }
    }

    /// The device has received an order, or refused it.
    pub(super) fn order_received(&mut self, number: u32, status: u16) {
        let is_answered = self.orders.get(&number).is_some_and(|order| order.is_answered);
        match status {
            0..=199 => {}
            200..=299 if is_answered => {}
            200..=299 => self.end_order(number, Reply::Done),
            _ => {
                self.counters.count("gb28181_orders_refused");
                self.end_order(number, Reply::NoAnswer { message: format!("the device refuses: {status}") });
            }
        }
    }

    /// The device says whether it did it.
    pub(super) fn order_answered(&mut self, device: DeviceId, number: u32, done: bool) {
        if self.orders.get(&number).is_none_or(|order| order.device != device) {
            return self.counters.count("gb28181_messages_unused");
        }
        let message = "the device says that it did not do it".to_owned();
        self.end_order(number, if done { Reply::Done } else { Reply::NoAnswer { message } });
    }

    /// The device did not receive an order, or says nothing.
    pub(super) fn order_unanswered(&mut self, number: u32) {
        let message = format!("the device did not answer within {} s", PATIENCE.as_secs());
        self.end_order(number, Reply::NoAnswer { message });
    }

    fn end_order(&mut self, number: u32, reply: Reply) {
        let Some(order) = self.orders.remove(&number) else { return };
        self.timers.cancel(order.timer);
        self.effects.answers.push((order.ask, reply));
    }
}
