//! The INVITE of a caller: may it, who is called, by which contacts (RFC 3261 section 13.3, 16.3 where it applies).

use std::collections::HashMap;
use std::time::Instant;

use super::translate::{ALLOW, warning};
use super::{Branch, BranchState, Call, CallId, CallTimer, MediaQueue, Purpose, Side, State, description};
use crate::config::Mode;
use crate::sip::auth::Asks;
use crate::sip::core::{Core, RETRY_AFTER_SECONDS};
use crate::sip::message::{HeaderName, Message};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

/// A call that may be made.
struct Admitted {
    from: String,
    to: String,
    mode: Mode,
}

impl Core {
    /// A new INVITE outside of a dialog.
    pub(in crate::sip) fn incoming_invite(
        &mut self,
        now: Instant,
        flow: Flow,
        id: TransactionId,
        request: Message,
    ) {
        // At once, whatever comes next: it stops the caller's retransmissions.
        self.respond(now, id, &Message::response(&request, 100));
        let admitted = match self.admit(now, &flow, &request) {
            Ok(admitted) => admitted,
            Err(response) => {
                self.counters.count("calls_refused");
                return self.respond(now, id, &response);
            }
        };
        self.next_call += 1;
        let call_id = CallId(self.next_call);
        let tag = self.identifiers.token();
        let branches = self.branches(now, &admitted.to);
        for tag in branches.iter().map(|branch| &branch.tag).chain([&tag]) {
            self.tags.insert(tag.clone(), (call_id, Side::Caller));
        }
        self.transactions.assign(id, Purpose::Incoming(call_id));
        self.counters.count("calls_started");
        let ring = self.timers.set(now + self.config.sip.ring_timeout, CallTimer::Ring(call_id));
        let mut call = Box::new(Call {
            id: call_id,
            name: self.identifiers.token(),
            from: admitted.from,
            to: admitted.to,
            mode: admitted.mode,
            started: now,
            answered: None,
            invite: request,
            flow,
            transaction: id,
            tag,
            branches,
            state: State::Ringing,
            passed: HashMap::new(),
            ring: Some(ring),
            media_check: None,
        });
        self.fork(now, &mut call);
        self.calls.insert(call_id, call);
    }

    fn admit(&mut self, now: Instant, flow: &Flow, request: &Message) -> Result<Admitted, Box<Message>> {
        if request.max_forwards().is_ok_and(|hops| hops == Some(0)) {
            return Err(self.response(request, 483).into());
        }
        if self.came_by_us(request) {
            return Err(self.response(request, 482).into());
        }
        if request.contact().is_err() {
            let tag = self.identifiers.token();
            let reason = "INVITE needs one Contact address";
            return Err(Message::response_with_reason(request, 400, reason).with_to_tag(&tag).into());
        }
        let Some(from) = request.from().ok().and_then(|from| from.uri.user_unescaped()) else {
            return Err(self.refusal(flow, request, 403, "From names no account: sip:user@host").into());
        };
        self.authenticate(now, flow, request, &from, Asks::Proxy)?;
        let Some(to) = request.request_uri().and_then(crate::sip::message::SipUri::user_unescaped) else {
            return Err(self
                .refusal(flow, request, 404, "the Request-URI names nobody: sip:user@host")
                .into());
        };
        let Some(mode) = self.config.rule(&from, &to).map(|rule| rule.mode) else {
            let text = format!("no rule lets {from} call {to}");
            return Err(self.refusal(flow, request, 403, &text).into());
        };
        if !self.authenticator.knows(&to) {
            return Err(self.refusal(flow, request, 404, &format!("there is no account {to}")).into());
        }
        if self.registrar.bindings(now, &to).is_empty() {
            return Err(self.refusal(flow, request, 480, &format!("{to} is not registered")).into());
        }
        if self.calls.len() >= self.config.sip.limits.calls {
            self.counters.count("calls_over_limit");
            let response = self.response(request, 503);
            return Err(response.with(HeaderName::RetryAfter, RETRY_AFTER_SECONDS).into());
        }
        if mode == Mode::Relay && !request.body.is_empty() && description(request).is_none() {
            let response =
                self.refusal(flow, request, 415, "relayed calls are described by application/sdp alone");
            return Err(response.with(HeaderName::Accept, "application/sdp").into());
        }
        self.session_is_acceptable(request)?;
        Ok(Admitted { from, to, mode })
    }

    /// Whether a Via is ours: the request has been here before (RFC 3261 section 16.3, step 4).
    fn came_by_us(&self, request: &Message) -> bool {
        let Ok(vias) = request.vias() else { return false };
        vias.iter().any(|via| {
            let port = via.port.unwrap_or(5060);
            self.config.sip.listen.iter().any(|listen| {
                Some(listen.address.ip()) == via.host.address() && listen.address.port() == port
            })
        })
    }

    fn branches(&mut self, now: Instant, to: &str) -> Vec<Branch> {
        let contacts: Vec<_> = self
            .registrar
            .bindings(now, to)
            .into_iter()
            .map(|binding| (binding.contact.clone(), binding.flow))
            .collect();
        contacts
            .into_iter()
            .map(|(contact, flow)| Branch {
                invite: None,
                contact,
                flow,
                fallback: None,
                tag: self.identifiers.token(),
                state: BranchState::Preparing,
                media: MediaQueue::default(),
            })
            .collect()
    }

    /// A refusal that says why.
    pub(in crate::sip) fn refusal(
        &mut self,
        flow: &Flow,
        request: &Message,
        status: u16,
        text: &str,
    ) -> Message {
        let mut response =
            self.response(request, status).with(HeaderName::Warning, warning(flow.local(), text));
        if status == 405 {
            response.headers.push(HeaderName::Allow, ALLOW);
        }
        response
    }
}
