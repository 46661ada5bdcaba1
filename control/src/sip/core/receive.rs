//! Every message that arrives: to its transaction, and from there to whom it concerns.

use std::time::Instant;

use super::Core;
use crate::sip::call::{ALLOW, Purpose};
use crate::sip::message::{HeaderName, Message, Method, ParseError};
use crate::sip::transaction::{Received, ServerKey, Stray, TransactionId};
use crate::sip::transport::{Flow, Transmit};

/// Option tags that a request may require of us (RFC 3261 section 8.2.2.3).
const SUPPORTED: &str = "timer";

impl Core {
    /// A message arrived.
    pub fn message(&mut self, now: Instant, flow: Flow, message: Message) {
        if message.is_request() {
            self.request(now, flow, message);
        } else {
            self.response_arrived(now, message);
        }
    }

    /// Bytes arrived that are no acceptable message.
    pub fn faulty(&mut self, flow: Flow, error: &ParseError) {
        self.counters.count("sip_messages_malformed");
        self.counters.count(fault_counter(error.fault.name()));
        let Some(answer) = &error.answer else { return };
        self.counters.count_response(answer.status_code().unwrap_or_default());
        let tag = self.identifiers.token();
        let mut answer = (**answer).clone().with_to_tag(&tag);
        // A Via that cannot be read says nothing of where to: the source is where it came from.
        let to = answer.top_via().map_or(flow, |mut via| {
            via.note_source(flow.remote());
            answer.replace_top_via(&via);
            flow.for_response(&via)
        });
        self.effects.transmits.push(Transmit { flow: to, bytes: answer.to_bytes(), transaction: None });
    }

    fn request(&mut self, now: Instant, flow: Flow, request: Message) {
        let Some(method) = request.method().cloned() else {
            return;
        };
        self.counters.count_request(&method.to_string());
        let Ok(via) = request.top_via() else {
            self.counters.count("sip_requests_without_via");
            return;
        };
        if !ServerKey::of(&via, &method).has_magic_cookie() {
            self.counters.count("sip_requests_without_magic_cookie");
            if method != Method::ACK {
                let reason = "Branch without z9hG4bK: RFC 2543 clients are not served";
                let tag = self.identifiers.token();
                let response = Message::response_with_reason(&request, 400, reason).with_to_tag(&tag);
                self.send_statelessly(flow, &request, &response);
            }
            return;
        }
        let answers_go_to = flow.for_response(&via);
        match self.transactions.request(now, answers_go_to, &request, &mut self.effects.transmits) {
            Ok(Received::New(id)) => self.new_request(now, flow, id, &method, request),
            Ok(Received::Absorbed) => self.counters.count("sip_requests_retransmitted"),
            Ok(Received::Ack) => self.ack(now, flow, &request),
            Ok(Received::Cancel(id, invite)) => {
                self.cancel(now, id, &request, invite.map(|(_, purpose)| purpose));
            }
            Ok(Received::Merged) => {
                self.counters.count("sip_requests_merged");
                self.answer_statelessly(flow, &request, 482);
            }
            Ok(Received::Full) => {
                self.counters.count("sip_requests_over_transaction_limit");
                self.answer_statelessly(flow, &request, 503);
            }
            // The parser has read these fields once already.
            Err(_) => self.counters.count("sip_messages_malformed"),
        }
    }

    fn new_request(
        &mut self,
        now: Instant,
        flow: Flow,
        id: TransactionId,
        method: &Method,
        request: Message,
    ) {
        let unsupported: Vec<_> = request
            .headers
            .elements(HeaderName::Require)
            .into_iter()
            .filter(|tag| !tag.eq_ignore_ascii_case(SUPPORTED.as_bytes()))
            .collect();
        if !unsupported.is_empty() {
            let mut response = self.response(&request, 420);
            response.headers.push(HeaderName::Unsupported, unsupported.join(&b", "[..]));
            return self.respond(now, id, &response);
        }
        let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
        if in_dialog {
            return self.in_dialog(now, flow, id, method, request);
        }
        let is_work = matches!(*method, Method::INVITE | Method::REGISTER);
        if is_work && self.refuses_new_work() {
            self.counters.count("sip_requests_refused_under_overload");
            let mut response = self.response(&request, 503);
            response.headers.push(HeaderName::RetryAfter, super::RETRY_AFTER_SECONDS);
            return self.respond(now, id, &response);
        }
        match *method {
            Method::INVITE => self.incoming_invite(now, flow, id, request),
            Method::REGISTER => self.register(now, flow, id, &request),
            Method::OPTIONS => self.options(now, id, &request),
            Method::BYE | Method::INFO | Method::UPDATE | Method::PRACK | Method::NOTIFY => {
                self.answer(now, id, &request, 481);
            }
            _ => self.not_allowed(now, id, &request),
        }
    }

    /// Who asks for our capabilities outside of a call gets them (RFC 3261 section 11.2).
    fn options(&mut self, now: Instant, id: TransactionId, request: &Message) {
        let response = self
            .response(request, 200)
            .with(HeaderName::Allow, ALLOW)
            .with(HeaderName::Accept, "application/sdp")
            .with(HeaderName::Supported, SUPPORTED);
        self.respond(now, id, &response);
    }

    /// 405, with the methods that we know.
    pub(in crate::sip) fn not_allowed(&mut self, now: Instant, id: TransactionId, request: &Message) {
        let response = self.response(request, 405).with(HeaderName::Allow, ALLOW);
        self.respond(now, id, &response);
    }

    fn cancel(&mut self, now: Instant, id: TransactionId, request: &Message, invite: Option<Purpose>) {
        match invite {
            Some(Purpose::Incoming(call)) => {
                self.answer(now, id, request, 200);
                self.with_call(call, |core, call| core.cancelled(now, call));
            }
            Some(Purpose::Received(call, side)) => {
                self.answer(now, id, request, 200);
                self.with_call(call, |core, call| core.cancel_passed(now, call, side));
            }
            Some(_) => self.answer(now, id, request, 200),
            None => self.answer(now, id, request, 481),
        }
    }

    fn response_arrived(&mut self, now: Instant, response: Message) {
        match self.transactions.response(now, &response, &mut self.effects.transmits) {
            Ok(Some((id, purpose))) => self.outcome(now, id, purpose, response),
            Ok(None) => self.counters.count("sip_responses_retransmitted"),
            Err(Stray) => self.counters.count("sip_responses_stray"),
        }
    }

    fn outcome(&mut self, now: Instant, id: TransactionId, purpose: Purpose, response: Message) {
        match purpose {
            Purpose::Branch(call, branch) => {
                self.with_call(call, |core, call| core.branch_response(now, call, branch, response));
            }
            Purpose::Passed(call, side) => {
                self.with_call(call, |core, call| core.passed_response(now, call, side, id, response));
            }
            Purpose::Refresh(call, side) => {
                self.with_call(call, |core, call| core.refresh_response(now, call, side, id, &response));
            }
            Purpose::None | Purpose::Incoming(_) | Purpose::Received(..) | Purpose::Farewell => {}
        }
    }
}

/// The counter of a parser's fault.
fn fault_counter(fault: &'static str) -> &'static str {
    match fault {
        "head_too_large" => "sip_malformed_head_too_large",
        "too_many_headers" => "sip_malformed_too_many_headers",
        "body_too_large" => "sip_malformed_body_too_large",
        "truncated" => "sip_malformed_truncated",
        "start_line" => "sip_malformed_start_line",
        "version" => "sip_malformed_version",
        "header_line" => "sip_malformed_header_line",
        "header" => "sip_malformed_header",
        "method_mismatch" => "sip_malformed_method_mismatch",
        "body_too_short" => "sip_malformed_body_too_short",
        "no_length_on_stream" => "sip_malformed_no_length_on_stream",
        _ => "sip_malformed_other",
    }
}
