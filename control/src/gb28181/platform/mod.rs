//! The platform: one owner of all devices, questions and streams, without locks and without sockets.
//!
//! It is told what happened (a message, a timer, a question of an operator) and collects what is to be done in [`Effects`],
//! as the core of SIP calls does. Both use the same transports and transactions, each with a table of its own;
//! [`Platform::message_arrived`] says which of the two a message is for.

mod catalog;
mod device;
mod door;
mod live;
mod message;
mod order;
mod places;
mod question;
mod receive;
mod register;
mod report;
mod request;
mod wait;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use device::Device;
use door::Door;
use live::Streams;
pub use live::{MediaEvent, MediaRequest, StreamId, ViewerId, Wish, no_such_device};
use order::Orders;
use places::Places;
use question::Questions;

use super::id::DeviceId;
use crate::admin::Reply;
use crate::config::{Config, Gb28181};
use crate::sip::core::Counters;
use crate::sip::identifiers::Identifiers;
use crate::sip::transaction::{TransactionId, Transactions};
use crate::sip::transport::{ConnectionId, Transmit};
use crate::timers::TimerQueue;

/// Number of the first transaction: those of calls have lower ones.
const FIRST_TRANSACTION: u64 = 1 << 63;

/// Names a question of an operator, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskId(pub u64);

/// What is to be done.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages to be sent, in this order.
    pub transmits: Vec<Transmit>,
    /// What to do at the data plane, in this order.
    pub media: Vec<MediaRequest>,
    /// Answers to operators.
    pub answers: Vec<(AskId, Reply)>,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// Nobody waits for its outcome.
    #[default]
    None,
    /// A question to a device, by its number.
    Question(u32),
    /// An order to a device, by its number.
    Order(u32),
    /// An INVITE for a stream.
    Invite(StreamId),
    /// A BYE.
    Farewell,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    /// A device may be offline, or its registration over.
    Device(DeviceId),
    /// The catalogue of a device is to be asked for again.
    Catalog(DeviceId),
    /// No more of an answer comes.
    Question(u32),
    /// A device has not answered an order.
    Order(u32),
    /// The time for an answer of a camera is over, or a pause, or nobody has come back.
    Stream(StreamId),
    /// Time to look whether media flows.
    Media(StreamId),
}

/// The platform.
pub struct Platform {
    config: Arc<Config>,
    settings: Arc<Gb28181>,
    /// Names of SIP accounts: requests from them are not ours.
    accounts: HashSet<String>,
    identifiers: Identifiers,
    transactions: Transactions<Purpose>,
    door: Door,
    devices: HashMap<DeviceId, Box<Device>>,
    places: Places,
    questions: Questions,
    orders: Orders,
    streams: Streams,
    /// BYEs that are not answered yet.
    byes: usize,
    timers: TimerQueue<Deadline>,
    counters: Counters,
    effects: Effects,
    overloaded: bool,
}

impl Platform {
    /// A platform that no device has registered with; `None` where the configuration has none.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(config: &Arc<Config>) -> Result<Option<Self>, getrandom::Error> {
        let Some(settings) = config.gb28181.clone().map(Arc::new) else { return Ok(None) };
        let limit = config.sip.limits.transactions;
        Ok(Some(Self {
            accounts: config.accounts.iter().map(|account| account.user.clone()).collect(),
            identifiers: Identifiers::new()?,
            transactions: Transactions::of_devices(config.sip.timers, limit, FIRST_TRANSACTION),
            door: Door::new(config, Arc::clone(&settings))?,
            devices: HashMap::new(),
            places: Places::default(),
            questions: Questions::new(settings.questions, getrandom::u32()?),
            orders: Orders::new(),
            streams: Streams::new(&settings.platform, getrandom::u64()?),
            byes: 0,
            timers: TimerQueue::default(),
            counters: Counters::default(),
            effects: Effects::default(),
            overloaded: false,
            config: Arc::clone(config),
            settings,
        }))
    }

    /// Takes what is to be done now.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Whether more messages wait than can be worked off soon: then registrations are answered 503.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// Whether a transaction is the platform's.
    #[must_use]
    pub fn owns(&self, transaction: TransactionId) -> bool {
        self.transactions.holds(transaction)
    }

    /// A connection is gone, and who came by it is offline (9.1.1 f) until it is heard of again.
    pub fn closed(&mut self, connection: ConnectionId) {
        for id in self.places.behind(connection) {
            self.offline(id, "its connection is gone");
        }
    }

    /// A device is not there any more.
    fn offline(&mut self, id: DeviceId, why: &'static str) {
        let Some(device) = self.devices.get_mut(&id).filter(|device| device.online) else { return };
        device.online = false;
        self.counters.count("gb28181_devices_lost");
        tracing::warn!(device = %id, address = %device.flow, why, "device offline");
    }
}

#[cfg(test)]
mod tests;
