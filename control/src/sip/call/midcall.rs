//! Requests inside of a call: BYE, re-INVITE and UPDATE, and what is only passed on.

use std::time::Instant;

use super::pass::is_negotiation;
use super::translate::ALLOW;
use super::{Call, MediaOperation, Side, Then, description};
use crate::sip::core::Core;
use crate::sip::dialog::Misfit;
use crate::sip::message::{HeaderName, Message, Method};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

impl Core {
    /// A request with a To tag.
    pub(in crate::sip) fn in_dialog(
        &mut self,
        now: Instant,
        flow: Flow,
        id: TransactionId,
        method: &Method,
        request: Message,
    ) {
        let tag = request.to().ok().and_then(|to| to.tag());
        let known = tag.and_then(|tag| self.tags.get(&tag).copied());
        let Some((call, side)) = known.filter(|(call, _)| self.calls.contains_key(call)) else {
            self.counters.count("sip_requests_without_dialog");
            return self.answer(now, id, &request, 481);
        };
        self.with_call(call, |core, call| core.request_in_call(now, call, side, flow, id, method, request));
    }

    #[expect(clippy::too_many_arguments, reason = "a request and where it belongs")]
    fn request_in_call(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        flow: Flow,
        id: TransactionId,
        method: &Method,
        request: Message,
    ) {
        if call.is_ringing() {
            return self.request_while_ringing(now, call, id, method, &request);
        }
        let Some(established) = call.established() else {
            return self.answer(now, id, &request, 481);
        };
        match established.dialog(side).receive(flow, &request) {
            Ok(()) => {}
            Err(Misfit::OtherDialog) => return self.answer(now, id, &request, 481),
            Err(Misfit::OutOfOrder) => return self.answer(now, id, &request, 500),
        }
        match *method {
            Method::BYE => {
                self.answer(now, id, &request, 200);
                self.hung_up_by(now, call, side);
            }
            Method::INVITE | Method::UPDATE => self.renegotiate(now, call, side, id, request),
            Method::INFO | Method::MESSAGE | Method::OPTIONS | Method::NOTIFY => {
                let body = request.body.clone();
                self.pass(now, call, side, id, request, Ok(body));
            }
            _ => self.not_allowed(now, id, &request),
        }
    }

    fn request_while_ringing(
        &mut self,
        now: Instant,
        call: &mut Call,
        id: TransactionId,
        method: &Method,
        request: &Message,
    ) {
        match *method {
            // A caller may leave an early dialog with BYE too (RFC 3261 section 15).
            Method::BYE => {
                self.answer(now, id, request, 200);
                self.cancelled(now, call);
            }
            Method::PRACK => self.not_allowed(now, id, request),
            _ => self.answer(now, id, request, 491),
        }
    }

    /// A re-INVITE or UPDATE: one at a time (RFC 3261 section 14.2, RFC 3311 section 5.2).
    fn renegotiate(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        request: Message,
    ) {
        if request.method() == Some(&Method::INVITE) {
            self.respond(now, id, &Message::response(&request, 100));
        }
        if let Err(response) = self.session_is_acceptable(&request) {
            return self.respond(now, id, &response);
        }
        let same_side =
            call.passed.values().any(|passed| passed.from == side && is_negotiation(&passed.request));
        let other_side =
            call.passed.values().any(|passed| passed.from != side && is_negotiation(&passed.request));
        let Some(established) = call.established() else {
            return;
        };
        let ours = established.session(side).under_way || established.session(side.other()).under_way;
        let waiting =
            established.unacknowledged.as_ref().map(|waiting| waiting.side).or(established.offering);
        let index = established.branch;
        if same_side || waiting == Some(side) {
            let response = self.response(&request, 500).with(HeaderName::RetryAfter, "2");
            return self.respond(now, id, &response);
        }
        if other_side || ours || waiting.is_some() {
            self.counters.count("calls_glare");
            return self.answer(now, id, &request, 491);
        }
        established.dialog(side).refresh_target(&request);
        match description(&request) {
            Some(offer) => {
                established.offering = Some(side);
                let operation = MediaOperation::Offer { by: side, description: offer };
                self.negotiate(now, call, index, operation, Then::Pass(side, id, Box::new(request)));
            }
            None if request.method() == Some(&Method::UPDATE) => {
                self.refreshed_by(now, call, side, id, &request);
            }
            None => {
                let body = request.body.clone();
                self.pass(now, call, side, id, request, Ok(body));
            }
        }
    }

    /// An UPDATE that only says that its sender lives.
    fn refreshed_by(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        request: &Message,
    ) {
        let call_id = call.id;
        let Some(established) = call.established() else {
            return;
        };
        let contact = established.dialog(side).contact().clone();
        let mut old = established.session(side).take_timer();
        let told = established.session(side).told.take();
        self.cancel_timer(&mut old);
        let mut response = Message::response(request, 200)
            .with(HeaderName::Contact, &contact)
            .with(HeaderName::Allow, ALLOW);
        let mut session = self.answer_session_timer(now, call_id, side, request, &mut response);
        session.told = told;
        if let Some(established) = call.established() {
            *established.session(side) = session;
        }
        self.respond(now, id, &response);
    }
}
