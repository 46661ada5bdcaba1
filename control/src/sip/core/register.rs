//! REGISTER: who, may they, what do they ask, what is registered now (RFC 3261 section 10.3).

use std::time::Instant;

use super::Core;
use crate::sip::auth::Asks;
use crate::sip::message::{HeaderName, Message, NameAddr};
use crate::sip::registrar::{Refusal, Registration};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

impl Core {
    pub(super) fn register(&mut self, now: Instant, flow: Flow, id: TransactionId, request: &Message) {
        let Some(user) = request.to().ok().and_then(|to| to.uri.user_unescaped()) else {
            let tag = self.identifiers.token();
            let reason = "To of a REGISTER names the account: sip:user@host";
            let response = Message::response_with_reason(request, 400, reason).with_to_tag(&tag);
            return self.respond(now, id, &response);
        };
        if let Err(response) = self.authenticate(now, &flow, request, &user, Asks::Registrar) {
            self.counters.count("sip_registrations_refused");
            return self.respond(now, id, &response);
        }
        let registration = match Registration::of(request) {
            Ok(registration) => registration,
            Err(error) => {
                let tag = self.identifiers.token();
                let response =
                    Message::response_with_reason(request, 400, &error.to_string()).with_to_tag(&tag);
                return self.respond(now, id, &response);
            }
        };
        let response = match self.registrar.register(now, &user, flow, &registration) {
            Ok(()) => self.registered(now, request, &user),
            Err(Refusal::TooBrief) => {
                let min = self.config.sip.min_expires.as_secs().to_string();
                self.response(request, 423).with(HeaderName::MinExpires, min)
            }
            Err(Refusal::TooManyContacts) => {
                let limit = self.config.sip.contacts_per_account;
                let text = format!("{user} may have {limit} contacts; unregister one");
                let warning = crate::sip::call::warning(flow.local(), &text);
                self.response(request, 403).with(HeaderName::Warning, warning)
            }
            Err(Refusal::OutOfOrder) => self.response(request, 500),
        };
        self.respond(now, id, &response);
    }

    /// 200 with every contact of the account (section 10.3, step 8).
    fn registered(&mut self, now: Instant, request: &Message, user: &str) -> Message {
        self.counters.count("sip_registrations");
        let mut response = self.response(request, 200);
        for binding in self.registrar.bindings(now, user) {
            let seconds = binding.expires_at.duration_since(now).as_secs_f64().ceil();
            let mut contact = NameAddr::new(binding.contact.clone());
            contact.params.set("expires", Some(&format!("{seconds:.0}")));
            response.headers.push(HeaderName::Contact, contact.to_bytes());
        }
        response
    }
}
