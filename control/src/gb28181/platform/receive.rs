//! Every message that arrives: to its transaction, and from there to whom it concerns.

use std::time::Instant;

use super::super::id::DeviceId;
use super::super::version;
use super::{Platform, Purpose, StreamId};
use crate::sip::message::{Header, HeaderName, Message, Method};
use crate::sip::transaction::{Received, Stray, TransactionId};
use crate::sip::transport::{Flow, Transmit};

/// What is answered to OPTIONS and with a 405.
const ALLOW: &str = "REGISTER, MESSAGE, NOTIFY, OPTIONS, INVITE, ACK, BYE, CANCEL, INFO";

/// Seconds after which a refused device may try again. By the standard it waits 60 and a random time anyway (9.1.2.2).
pub(super) const RETRY_AFTER_SECONDS: &str = "60";

impl Platform {
    /// Takes a message in, if it is for the platform; says whether it was.
    pub fn message_arrived(&mut self, now: Instant, flow: Flow, message: &Message) -> bool {
        if !message.is_request() {
            return self.response_arrived(now, message);
        }
        let is_ours = self.concerns(message);
        if is_ours {
            self.request(now, flow, message);
        }
        is_ours
    }

    /// Whether a request is for the platform: it is from a device, or at least from nobody who has a SIP account and with an
    /// identifier of the standard.
    fn concerns(&self, request: &Message) -> bool {
        // In a dialogue some devices name anything in From.
        if self.dialog_of(request).is_some() {
            return true;
        }
        let Some(id) = sender(request) else { return false };
        if self.accounts.contains(id.as_str()) {
            return false;
        }
        let listed = || self.devices.contains_key(&id) || self.settings.devices.contains_key(&id);
        id.is_standard() || listed() || self.is_addressed(request)
    }

    fn dialog_of(&self, request: &Message) -> Option<StreamId> {
        self.streams.of_call(&request.call_id().ok()?)
    }

    /// Whether a request names the platform: some devices have identifiers that are none.
    fn is_addressed(&self, request: &Message) -> bool {
        let user = request.request_uri().and_then(crate::sip::message::SipUri::user_unescaped);
        user.as_deref() == Some(self.settings.platform.as_str())
    }

    fn request(&mut self, now: Instant, flow: Flow, request: &Message) {
        let Some(method) = request.method().cloned() else { return };
        self.counters.count_request(&method.to_string());
        let Ok(via) = request.top_via() else { return };
        let answers_go_to = flow.for_response(&via);
        match self.transactions.request(now, answers_go_to, request, &mut self.effects.transmits) {
            Ok(Received::New(id)) => self.new_request(now, flow, id, &method, request),
            Ok(Received::Cancel(id, _)) => self.answer(now, id, request, 481),
            Ok(Received::Absorbed) => self.counters.count("gb28181_requests_retransmitted"),
            Ok(Received::Ack) => {}
            Ok(Received::Merged) => self.answer_statelessly(flow, request, 482),
            Ok(Received::Full) => {
                self.counters.count("gb28181_requests_refused_under_overload");
                self.answer_statelessly(flow, request, 503);
            }
            Err(_) => self.counters.count("gb28181_requests_malformed"),
        }
    }

    fn new_request(
        &mut self,
        now: Instant,
        flow: Flow,
        id: TransactionId,
        method: &Method,
        request: &Message,
    ) {
        match *method {
            Method::REGISTER => self.register(now, flow, id, request),
            Method::MESSAGE | Method::NOTIFY => self.message(now, flow, id, request),
            Method::OPTIONS => {
                let response = self.response(request, 200).with(HeaderName::Allow, ALLOW);
                self.respond(now, id, &response);
            }
            Method::BYE | Method::INFO => match self.dialog_of(request) {
                Some(stream) => self.in_dialog(now, flow, stream, id, method, request),
                None => self.answer(now, id, request, 481),
            },
            _ => {
                let response = self.response(request, 405).with(HeaderName::Allow, ALLOW);
                self.respond(now, id, &response);
            }
        }
    }

    /// A response arrived; says whether it belongs to a request of ours.
    fn response_arrived(&mut self, now: Instant, response: &Message) -> bool {
        match self.transactions.response(now, response, &mut self.effects.transmits) {
            Ok(Some((_, Purpose::Question(number)))) => {
                self.question_received(now, number, response.status_code().unwrap_or_default());
                true
            }
            Ok(Some((_, Purpose::Order(number)))) => {
                self.order_received(number, response.status_code().unwrap_or_default());
                true
            }
            Ok(Some((transaction, Purpose::Invite(id)))) => {
                self.invite_response(now, id, transaction, response);
                true
            }
            Ok(Some((_, Purpose::Farewell))) => {
                if response.status_code().is_some_and(|status| status >= 200) {
                    self.byes = self.byes.saturating_sub(1);
                }
                true
            }
            Ok(Some((_, Purpose::None)) | None) => true,
            Err(Stray) => false,
        }
    }

    /// Answers through a transaction.
    pub(super) fn respond(&mut self, now: Instant, id: TransactionId, response: &Message) {
        self.counters.count_response(response.status_code().unwrap_or_default());
        self.transactions.respond(now, id, response, &mut self.effects.transmits);
    }

    /// Answers through a transaction with a status and nothing else.
    pub(super) fn answer(&mut self, now: Instant, id: TransactionId, request: &Message, status: u16) {
        let response = self.response(request, status);
        self.respond(now, id, &response);
    }

    /// Answers through a transaction with a status and why.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        id: TransactionId,
        request: &Message,
        status: u16,
        why: &str,
    ) {
        let tag = self.identifiers.token();
        let response = Message::response_with_reason(request, status, why).with_to_tag(&tag);
        let response = with_version(request, response);
        self.respond(now, id, &response);
    }

    /// A response with a tag of its own, and our version where it belongs (Annex I).
    pub(super) fn response(&mut self, request: &Message, status: u16) -> Message {
        let tag = self.identifiers.token();
        with_version(request, Message::response(request, status).with_to_tag(&tag))
    }

    /// Answers without a transaction: for requests that shall cost us nothing.
    pub(super) fn answer_statelessly(&mut self, flow: Flow, request: &Message, status: u16) {
        let mut response = self.response(request, status);
        if status == 503 {
            response.headers.push(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
        }
        let Ok(via) = request.top_via() else { return };
        self.counters.count_response(status);
        let transmit =
            Transmit { flow: flow.for_response(&via), bytes: response.to_bytes(), transaction: None };
        self.effects.transmits.push(transmit);
    }
}

/// Every response to a REGISTER says which version we speak.
fn with_version(request: &Message, mut response: Message) -> Message {
    if request.method() == Some(&Method::REGISTER)
        && let Some(header) = Header::other(version::HEADER, version::Version::OURS.to_string())
    {
        response.headers.push_header(header);
    }
    response
}

/// Who a request says that it is from. In a REGISTER To should say the same, but some devices name the platform there.
pub(super) fn sender(request: &Message) -> Option<DeviceId> {
    request.from().ok()?.uri.user_unescaped()?.parse().ok()
}
