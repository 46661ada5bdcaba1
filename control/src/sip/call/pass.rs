//! Requests inside of a call on their way to the other side, and the answers on their way back.

use std::time::Instant;

use bytes::Bytes;

use super::refresh::told;
use super::translate::{ALLOW, carry_body, copy_headers, translate_response, warning};
use super::{Call, MediaOperation, MediaRefusal, Passed, Purpose, Side, Then, Unacknowledged, description};
use crate::sip::core::{Core, RETRY_AFTER_SECONDS};
use crate::sip::message::{HeaderName, Message, Method};
use crate::sip::transaction::{self, TransactionId};

impl Core {
    /// Passes a request on to the other side.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        request: Message,
        result: Result<Bytes, MediaRefusal>,
    ) {
        let call_id = call.id;
        let to = side.other();
        let branch = self.identifiers.branch();
        if let Some(established) = call.established() {
            established.offering = None;
        }
        let body = match result {
            Ok(body) => body,
            Err(refusal) => {
                let text = warning(call.flow.local(), &refusal.warning);
                let response = Message::response(&request, refusal.status).with(HeaderName::Warning, text);
                return self.respond(now, id, &response);
            }
        };
        let Some(method) = request.method().cloned() else {
            return;
        };
        let Some(established) = call.established() else {
            return self.answer(now, id, &request, 481);
        };
        let dialog = established.dialog(to);
        let mut onward = dialog.request(method, &branch);
        let flow = dialog.flow();
        let sequence = onward.cseq().map_or(0, |cseq| cseq.number);
        copy_headers(&request, &mut onward);
        carry_body(&request, &mut onward, body);
        if is_negotiation(&request) {
            onward.headers.push(HeaderName::Supported, "timer");
            onward.headers.push(HeaderName::Allow, ALLOW);
            if let Some(told) = told(&onward) {
                established.session(to).told = Some(told);
            }
        }
        let purpose = Purpose::Passed(call_id, to);
        match self.transactions.send(now, flow, onward, purpose, &mut self.effects.transmits) {
            Some(onward) => {
                self.transactions.assign(id, Purpose::Received(call_id, side));
                let passed = Passed { from: side, transaction: id, request, sequence, cancelled: false };
                call.passed.insert(onward, passed);
            }
            None => {
                let response = self.response(&request, 503).with(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
                self.respond(now, id, &response);
            }
        }
    }

    /// The other side answers a request that was passed on to it.
    pub(in crate::sip) fn passed_response(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        response: Message,
    ) {
        let status = response.status_code().unwrap_or_default();
        let Some(passed) = call.passed.get(&id) else {
            return self.repeat_ack_of(call, id);
        };
        if status < 200 {
            if passed.cancelled {
                self.send_cancel_of(now, call, side, id);
            } else if status > 100 && passed.request.method() == Some(&Method::INVITE) {
                let mut onward = translate_response(&passed.request, &response);
                copy_headers(&response, &mut onward);
                let transaction = passed.transaction;
                self.respond(now, transaction, &onward);
            }
            return;
        }
        let offered = description(&passed.request).is_some();
        let negotiates = is_negotiation(&passed.request);
        let Some(index) = call.established().map(|established| established.branch) else {
            return;
        };
        if status >= 300 {
            return self.passed_refused(now, call, side, id, &response);
        }
        if negotiates && let Some(established) = call.established() {
            established.dialog(side).refresh_target(&response);
            self.refreshed(now, call, side);
        }
        match description(&response).filter(|_| negotiates) {
            Some(answer) if offered => {
                let operation = MediaOperation::Answer { by: side, description: answer };
                self.negotiate(now, call, index, operation, Then::Return(id, Box::new(response)));
            }
            Some(offer) => {
                let operation = MediaOperation::Offer { by: side, description: offer };
                self.negotiate(now, call, index, operation, Then::Return(id, Box::new(response)));
            }
            None => {
                let body = response.body.clone();
                self.pass_back(now, call, id, &response, Ok(body));
            }
        }
    }

    fn passed_refused(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        response: &Message,
    ) {
        let Some(passed) = call.passed.remove(&id) else {
            return;
        };
        let mut onward = translate_response(&passed.request, response);
        copy_headers(response, &mut onward);
        self.respond(now, passed.transaction, &onward);
        // RFC 3261 section 12.2.1.2: these two end the dialog.
        if matches!(response.status_code(), Some(408 | 481)) {
            self.lost(now, call, side, "has forgotten the call");
        }
    }

    /// A request that was passed on got no answer.
    pub(in crate::sip) fn passed_failed(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        id: TransactionId,
        status: u16,
    ) {
        let Some(passed) = call.passed.remove(&id) else {
            return;
        };
        self.answer(now, passed.transaction, &passed.request, status);
        self.lost(now, call, side, "does not answer any more");
    }

    /// Passes a 2xx back to the side that asked.
    pub(super) fn pass_back(
        &mut self,
        now: Instant,
        call: &mut Call,
        id: TransactionId,
        response: &Message,
        result: Result<Bytes, MediaRefusal>,
    ) {
        let call_id = call.id;
        let Some(passed) = call.passed.remove(&id) else {
            return;
        };
        let side = passed.from;
        let interval = self.config.sip.timers.t1;
        let Some(established) = call.established() else {
            return;
        };
        let body = match result {
            Ok(body) => body,
            Err(refusal) => {
                let text = warning(established.dialog(side).flow().local(), &refusal.warning);
                let onward =
                    Message::response(&passed.request, refusal.status).with(HeaderName::Warning, text);
                self.respond(now, passed.transaction, &onward);
                // The other side believes in a session that this side never got.
                return self.hang_up(now, call, &refusal.warning);
            }
        };
        let mut onward = translate_response(&passed.request, response);
        copy_headers(response, &mut onward);
        carry_body(response, &mut onward, body);
        if is_negotiation(&passed.request) {
            onward.headers.push(HeaderName::Contact, established.dialog(side).contact());
            onward.headers.push(HeaderName::Allow, ALLOW);
            let mut old = established.session(side).take_timer();
            self.cancel_timer(&mut old);
            let mut session = self.answer_session_timer(now, call_id, side, &passed.request, &mut onward);
            session.told = session.told.or_else(|| established.session(side).told.take());
            *established.session(side) = session;
        }
        let is_invite = passed.request.method() == Some(&Method::INVITE);
        if is_invite {
            established.unacknowledged = Some(Unacknowledged {
                side,
                transaction: passed.transaction,
                response: onward.clone(),
                sequence: passed.request.cseq().map_or(0, |cseq| cseq.number),
                onward: (id, passed.sequence),
                interval,
                repeat: None,
                deadline: None,
            });
        }
        self.respond(now, passed.transaction, &onward);
        if is_invite {
            self.await_ack(now, call);
        }
    }

    /// A side takes its re-INVITE back.
    pub(in crate::sip) fn cancel_passed(&mut self, now: Instant, call: &mut Call, side: Side) {
        let is_pending =
            |passed: &&mut Passed| passed.from == side && passed.request.method() == Some(&Method::INVITE);
        let mut onward = None;
        for (id, passed) in &mut call.passed {
            if is_pending(&passed) {
                passed.cancelled = true;
                onward = Some(*id);
            }
        }
        if let Some(id) = onward.filter(|id| self.transactions.is_proceeding(*id)) {
            self.send_cancel_of(now, call, side.other(), id);
        }
    }

    fn send_cancel_of(&mut self, now: Instant, call: &mut Call, to: Side, id: TransactionId) {
        let Some(cancel) = self.transactions.invite(id).and_then(transaction::cancel) else {
            return;
        };
        let Some(flow) = call.established().map(|established| established.dialog(to).flow()) else {
            return;
        };
        self.transactions.send(now, flow, cancel, Purpose::Farewell, &mut self.effects.transmits);
    }
}

/// Whether a request may change the session.
pub(super) fn is_negotiation(request: &Message) -> bool {
    matches!(request.method(), Some(&Method::INVITE | &Method::UPDATE))
}
