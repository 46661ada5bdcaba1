//! REGISTER of a device (9.1): who, may it, for how long. Where it really came from is where it is.

use std::time::{Duration, Instant, SystemTime};

use super::super::id::DeviceId;
use super::super::time;
use super::super::version::{self, Version};
use super::device::{Catalog, Device};
use super::door::Entry;
use super::receive::{RETRY_AFTER_SECONDS, sender};
use super::{Deadline, Platform};
use crate::sip::message::{Contacts, HeaderName, Message};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

impl Platform {
    pub(super) fn register(&mut self, now: Instant, flow: Flow, id: TransactionId, request: &Message) {
        let Some(device) = sender(request) else {
            let why = "From of a REGISTER names the device: sip:34020000001320000001@3402000000";
            return self.refuse(now, id, request, 400, why);
        };
        let source = flow.remote().ip();
        if self.overloaded || self.door.is_crowded(now, source, device) {
            let name = if self.overloaded {
                "gb28181_registrations_refused_under_overload"
            } else {
                "gb28181_registrations_too_often"
            };
            self.counters.count(name);
            self.transactions.abandon(id);
            return self.answer_statelessly(flow, request, 503);
        }
        match self.door.check(now, source, device, request) {
            Entry::Granted => {}
            Entry::Challenge(challenges) => {
                self.counters.count("gb28181_challenges");
                let mut response = self.response(request, 401);
                for challenge in challenges {
                    response.headers.push(HeaderName::WwwAuthenticate, challenge);
                }
                return self.respond(now, id, &response);
            }
            Entry::Refused(why) => {
                self.counters.count("gb28181_registrations_refused");
                tracing::debug!(%device, address = %flow, why, "registration refused");
                return self.refuse(now, id, request, 403, why);
            }
            Entry::Malformed(why) => {
                self.counters.count("gb28181_requests_malformed");
                return self.refuse(now, id, request, 400, &why);
            }
        }
        if device == self.settings.platform {
            self.counters.count("gb28181_registrations_refused");
            tracing::warn!(address = %flow, "a device registers with the platform's identifier; give it one of its own");
            return self.refuse(
                now,
                id,
                request,
                403,
                "this is the platform's identifier: set the device's own",
            );
        }
        let Some(granted) = self.granted(request) else {
            let min = self.settings.min_expires.as_secs().to_string();
            let response = self.response(request, 423).with(HeaderName::MinExpires, min);
            return self.respond(now, id, &response);
        };
        if granted.is_zero() {
            self.unregister(device);
            let response = self.registered(request, granted);
            return self.respond(now, id, &response);
        }
        let Some(is_back) = self.enter(now, device, flow, request, granted) else {
            self.counters.count("gb28181_devices_over_limit");
            let limit = self.settings.most_devices;
            tracing::warn!(%device, limit, "no room for another device: raise gb28181.most_devices");
            let response = self.response(request, 503).with(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
            return self.respond(now, id, &response);
        };
        let response = self.registered(request, granted);
        self.respond(now, id, &response);
        if is_back {
            // Only now does it know that it is registered.
            self.introduce(now, device);
        }
    }

    /// How long the registration lasts; zero ends it. `None`: it would be too short.
    fn granted(&self, request: &Message) -> Option<Duration> {
        let contacts = request.contacts().ok();
        let of_contact = match &contacts {
            Some(Contacts::List(list)) => list.first().and_then(crate::sip::message::NameAddr::expires),
            _ => None,
        };
        // Some devices have it in the field, some in Contact, some nowhere.
        let asked = request.expires().ok().flatten().or(of_contact).unwrap_or(self.settings.max_expires);
        let is_too_brief = !asked.is_zero() && asked < self.settings.min_expires;
        (!is_too_brief).then(|| asked.min(self.settings.max_expires))
    }

    fn registered(&mut self, request: &Message, granted: Duration) -> Message {
        self.counters.count("gb28181_registrations");
        let mut response = self.response(request, 200);
        for contact in request.headers.all(HeaderName::Contact) {
            response.headers.push_header(contact.clone());
        }
        response.headers.push(HeaderName::Expires, granted.as_secs().to_string());
        if self.settings.date {
            response.headers.push(HeaderName::Date, time::date(SystemTime::now()));
        }
        response
    }

    fn unregister(&mut self, id: DeviceId) {
        self.offline(id, "it unregistered");
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.expires = None;
        for timer in [device.timer.take(), device.refresh.take()].into_iter().flatten() {
            self.timers.cancel(timer);
        }
    }

    /// Takes a device in, or what is new of it. Says whether it was not there before; `None` where there is no room.
    fn enter(
        &mut self,
        now: Instant,
        id: DeviceId,
        flow: Flow,
        request: &Message,
        granted: Duration,
    ) -> Option<bool> {
        let flow = request.contact().map_or(flow, |contact| flow.towards(&contact.uri));
        let announced = request.headers.other(version::HEADER).and_then(crate::sip::message::Header::text);
        let version = announced.as_deref().and_then(Version::parse);
        let own = self.settings.device(&id);
        let patience = own.keepalive * own.keepalive_losses;
        let expires = Some(now + granted);
        let known = self.devices.contains_key(&id);
        if !known && self.devices.len() >= self.settings.most_devices {
            return None;
        }
        if let Some(device) = self.devices.get_mut(&id) {
            let returns = !device.online;
            if device.flow.remote() != flow.remote() {
                device.moves += 1;
                Self::note_rival(device, flow, now, &mut self.counters);
            }
            self.places.moved(id, Some(device.flow), flow);
            (device.flow, device.version, device.expires) = (flow, version, expires);
            (device.seen, device.patience, device.online) = (now, patience, true);
            if !returns {
                self.watch(id);
                return Some(false);
            }
            device.registered = now;
        } else {
            let device = Device {
                id,
                flow,
                version,
                charset: own.charset,
                online: true,
                registered: now,
                expires,
                seen: now,
                patience,
                keepalives: 0,
                moves: 0,
                rival: None,
                faulty: Vec::new(),
                info: None,
                status: None,
                channels: std::collections::BTreeMap::new(),
                catalog: Catalog::default(),
                timer: None,
                refresh: None,
            };
            self.places.moved(id, None, flow);
            self.devices.insert(id, Box::new(device));
        }
        tracing::info!(device = %id, address = %flow, "device online");
        self.watch(id);
        Some(true)
    }

    /// Two devices with one identifier take turns in registering. That a device moved is told from it by its silence: one that
    /// was heard of a moment ago at another address is still there.
    fn note_rival(device: &mut Device, flow: Flow, now: Instant, counters: &mut crate::sip::core::Counters) {
        let elsewhere = device.flow.remote().ip();
        let silence = now.saturating_duration_since(device.seen);
        if elsewhere == flow.remote().ip() || !device.online || silence > device.patience / 2 {
            return;
        }
        let times = device.rival.map_or(0, |(_, times)| times) + 1;
        device.rival = Some((elsewhere, times));
        counters.count("gb28181_duplicate_identifiers");
        // The first, and then ever more seldom.
        if times.is_power_of_two() {
            tracing::warn!(
                device = %device.id, address = %flow, other = %elsewhere, times,
                "two devices register with one identifier: give one of them another"
            );
        }
    }

    /// Sets the timer of a device anew.
    pub(super) fn watch(&mut self, id: DeviceId) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        if let Some(timer) = device.timer.take() {
            self.timers.cancel(timer);
        }
        device.timer = device.due().map(|due| self.timers.set(due, Deadline::Device(id)));
    }
}
