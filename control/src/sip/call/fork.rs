//! The INVITEs to the contacts of the called: sent together, answered one by one, cancelled when one has won.

use std::time::Instant;

use bytes::Bytes;

use super::translate::{self, carry_body, copy_headers, warning};
use super::{
    Branch, BranchState, Call, CallTimer, Failure, MediaId, MediaOperation, MediaRefusal, MediaReply,
    MediaRequest, Purpose, Side, State, Then, description,
};
use crate::config::Mode;
use crate::sip::core::{Core, RETRY_AFTER_SECONDS};
use crate::sip::dialog::{Dialog, own_contact, own_via};
use crate::sip::message::{HeaderName, Host, Message, Method, StartLine};
use crate::sip::transaction;
use crate::sip::transport::{Flow, Transmit, Transport};

impl Core {
    /// Starts an INVITE to every contact.
    pub(super) fn fork(&mut self, now: Instant, call: &mut Call) {
        let offer = description(&call.invite);
        for index in 0..call.branches.len() {
            match &offer {
                Some(offer) => {
                    let operation = MediaOperation::Offer { by: Side::Caller, description: offer.clone() };
                    self.negotiate(now, call, index, operation, Then::Invite);
                }
                None => self.send_invite(now, call, index, call.invite.body.clone()),
            }
        }
    }

    /// Has the media plane work on a session description, and goes on with its answer; in direct mode at once, with the
    /// same bytes.
    pub(super) fn negotiate(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        operation: MediaOperation,
        then: Then,
    ) {
        if call.mode == Mode::Direct {
            let unchanged = match operation {
                MediaOperation::Offer { description, .. } | MediaOperation::Answer { description, .. } => {
                    description
                }
            };
            return self.go_on(now, call, index, then, Ok(unchanged));
        }
        let Some(branch) = call.branches.get_mut(index) else {
            return;
        };
        if let Some(operation) = branch.media.start(operation, then) {
            let request = media_request(call, index, operation);
            self.effects.media.extend(request);
        }
    }

    /// The media plane has answered.
    pub fn media_reply(&mut self, now: Instant, reply: MediaReply) {
        let MediaId { call, branch: index } = reply.id;
        self.with_call(call, |core, call| {
            let then = call.branches.get_mut(index).and_then(|branch| branch.media.finish());
            if let Some(then) = then {
                core.go_on(now, call, index, then, reply.result);
            }
            if let Some(operation) = call.branches.get_mut(index).and_then(|branch| branch.media.next()) {
                let request = media_request(call, index, operation);
                core.effects.media.extend(request);
            }
        });
    }

    fn go_on(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        then: Then,
        result: Result<Bytes, MediaRefusal>,
    ) {
        if matches!(call.state, State::Ended(_)) {
            return;
        }
        match then {
            Then::Invite => match result {
                Ok(body) if call.is_ringing() => self.send_invite(now, call, index, body),
                Ok(_) => {}
                Err(refusal) => self.branch_failed(now, call, index, refusal.into()),
            },
            // An early description that cannot be relayed is no reason to end the call: it rings without media.
            Then::Progress(response) => {
                self.progress(now, call, index, &response, result.unwrap_or_default());
            }
            Then::Accept => self.accept(now, call, index, result),
            Then::Acknowledge(side, transaction, sequence, ack) => {
                self.acknowledge(now, call, side, transaction, sequence, &ack, result);
            }
            Then::Pass(side, transaction, request) => {
                self.pass(now, call, side, transaction, *request, result);
            }
            Then::Return(transaction, response) => self.pass_back(now, call, transaction, &response, result),
        }
    }

    fn send_invite(&mut self, now: Instant, call: &mut Call, index: usize, body: Bytes) {
        let Some(branch) = call.branches.get(index) else { return };
        let mut flow = branch.flow;
        let mut invite = self.build_invite(call, branch, flow, &body);
        let mut fallback = None;
        let size = invite.as_ref().map_or(0, |invite| invite.to_bytes().len());
        if size > LARGEST_DATAGRAM
            && branch.fallback.is_none()
            && let Some(stream) = self.stream_to(branch)
        {
            invite = self.build_invite(call, branch, stream, &body);
            fallback = Some(flow);
            flow = stream;
        }
        let purpose = Purpose::Branch(call.id, index);
        let sent = invite.and_then(|invite| {
            let id =
                self.transactions.send(now, flow, invite.clone(), purpose, &mut self.effects.transmits)?;
            Some((id, invite))
        });
        let Some(sent) = sent else {
            let text = "the gateway has no room for another request".to_owned();
            return self.branch_failed(
                now,
                call,
                index,
                Failure { status: 503, response: None, warning: Some(text) },
            );
        };
        if let Some(branch) = call.branches.get_mut(index) {
            branch.flow = flow;
            branch.fallback = branch.fallback.or(fallback);
            branch.invite = Some(sent);
            branch.state = BranchState::Calling { cancel: false };
        }
    }

    fn build_invite(&mut self, call: &Call, branch: &Branch, flow: Flow, body: &Bytes) -> Option<Message> {
        let (tag, call_id) = (self.identifiers.token(), self.identifiers.token());
        let users = (call.from.as_str(), call.to.as_str());
        let mut invite = translate::invite(&call.invite, &branch.contact, &flow, users, &tag, &call_id)?;
        self.offer_session_timer(&mut invite);
        invite.push_via(&own_via(&flow, &self.identifiers.branch()));
        carry_body(&call.invite, &mut invite, body.clone());
        Some(invite)
    }

    /// A TCP flow to a contact that is registered over UDP, where it can be tried: we listen on TCP beside that address,
    /// and the contact is not behind NAT, so that a connection to it is at least not hopeless.
    fn stream_to(&self, branch: &Branch) -> Option<Flow> {
        let Flow::Udp { local, remote } = branch.flow else { return None };
        if branch.contact.host().and_then(Host::address) != Some(remote.ip()) {
            return None;
        }
        let listen = self
            .config
            .sip
            .listen
            .iter()
            .find(|listen| listen.transport == Transport::Tcp && listen.address.ip() == local.ip())?;
        Some(Flow::Tcp { local: listen.address, remote, connection: None })
    }

    /// A contact could not be reached; a large INVITE that was tried over TCP goes by UDP then (RFC 3261
    /// section 18.1.1).
    pub(in crate::sip) fn branch_unreachable(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        failure: Failure,
    ) {
        let again = call.branches.get_mut(index).and_then(|branch| {
            let fallback = branch.fallback.filter(|fallback| *fallback != branch.flow)?;
            let (_, invite) = branch.invite.take()?;
            branch.flow = fallback;
            Some(invite.body)
        });
        match again {
            Some(body) if matches!(call.state, State::Ringing) => self.send_invite(now, call, index, body),
            _ => self.branch_failed(now, call, index, failure),
        }
    }

    /// A contact answers our INVITE.
    pub(in crate::sip) fn branch_response(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        response: Message,
    ) {
        match response.status_code().unwrap_or_default() {
            status @ 0..=199 => self.branch_progress(now, call, index, status, response),
            200..=299 => self.branch_answered(now, call, index, response),
            status => {
                let response = Some(Box::new(response));
                self.branch_failed(now, call, index, Failure { status, response, warning: None });
            }
        }
    }

    fn branch_progress(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        status: u16,
        response: Message,
    ) {
        let Some(branch) = call.branches.get_mut(index) else {
            return;
        };
        match branch.state {
            BranchState::Calling { cancel: true } => return self.send_cancel(now, branch),
            BranchState::Calling { cancel: false } => branch.state = BranchState::Ringing,
            BranchState::Ringing => {}
            _ => return,
        }
        if status == 100 || !matches!(call.state, State::Ringing) {
            return;
        }
        let answers_offer = description(&call.invite).is_some();
        match description(&response) {
            Some(answer) if answers_offer => {
                let operation = MediaOperation::Answer { by: Side::Called, description: answer };
                self.negotiate(now, call, index, operation, Then::Progress(Box::new(response)));
            }
            _ => self.progress(now, call, index, &response, Bytes::new()),
        }
    }

    /// Passes a provisional response on.
    fn progress(&mut self, now: Instant, call: &mut Call, index: usize, response: &Message, body: Bytes) {
        let Some(branch) = call.branches.get(index) else {
            return;
        };
        if !matches!(call.state, State::Ringing) {
            return;
        }
        let mut onward = translate_response(&call.invite, response).with_to_tag(&branch.tag);
        onward.headers.push(HeaderName::Contact, own_contact(&call.flow, &call.to));
        copy_headers(response, &mut onward);
        carry_body(response, &mut onward, body);
        self.respond(now, call.transaction, &onward);
    }

    fn branch_answered(&mut self, now: Instant, call: &mut Call, index: usize, response: Message) {
        let Some(branch) = call.branches.get_mut(index) else {
            return;
        };
        if matches!(branch.state, BranchState::Answered) {
            return self.repeat_ack(call, index);
        }
        branch.state = BranchState::Answered;
        if !matches!(call.state, State::Ringing) {
            // Another contact was faster, or the caller has hung up (RFC 3261 section 13.2.2.4).
            return self.decline_answer(now, branch, &response);
        }
        self.cancel_timer(&mut call.ring);
        self.cancel_branches(now, call, Some(index));
        let operation = match (description(&call.invite), description(&response)) {
            (Some(_), Some(answer)) => Ok(MediaOperation::Answer { by: Side::Called, description: answer }),
            (None, Some(offer)) => Ok(MediaOperation::Offer { by: Side::Called, description: offer }),
            (_, None) => Err(response.body.clone()),
        };
        call.state = State::Answering { branch: index, response: Box::new(response) };
        match operation {
            Ok(operation) => self.negotiate(now, call, index, operation, Then::Accept),
            Err(body) => self.accept(now, call, index, Ok(body)),
        }
    }

    /// A contact does not take the call; when none is left, the caller learns the best reason.
    pub(in crate::sip) fn branch_failed(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        failure: Failure,
    ) {
        let Some(branch) = call.branches.get_mut(index) else {
            return;
        };
        let is_final_for_all = failure.status >= 600;
        branch.state = BranchState::Failed(failure);
        if !matches!(call.state, State::Ringing) {
            return;
        }
        if is_final_for_all {
            self.cancel_branches(now, call, Some(index));
        }
        let failures: Option<Vec<&Failure>> = call
            .branches
            .iter()
            .map(|branch| match &branch.state {
                BranchState::Failed(failure) => Some(failure),
                _ => None,
            })
            .collect();
        let best = match failures {
            Some(failures) => failures.into_iter().min_by_key(|failure| rank(failure.status)).cloned(),
            None if is_final_for_all => call.branches.get(index).and_then(|branch| match &branch.state {
                BranchState::Failed(failure) => Some(failure.clone()),
                _ => None,
            }),
            None => None,
        };
        if let Some(best) = best {
            self.refuse(now, call, &best);
        }
    }

    /// Passes a refusal on to the caller and ends the call.
    pub(super) fn refuse(&mut self, now: Instant, call: &mut Call, failure: &Failure) {
        let status = if failure.response.is_some() { told_status(failure.status) } else { failure.status };
        let mut response = match &failure.response {
            Some(response) if status == failure.status => {
                let mut onward = translate_response(&call.invite, response);
                copy_headers(response, &mut onward);
                onward
            }
            _ => Message::response(&call.invite, status),
        };
        if let Some(text) = &failure.warning {
            response.headers.push(HeaderName::Warning, warning(call.flow.local(), text));
        }
        if status == 503 {
            response.headers.push(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
        }
        let response = response.with_to_tag(&call.tag);
        self.respond(now, call.transaction, &response);
        let reason = failure.warning.clone().unwrap_or_else(|| format!("refused with {}", failure.status));
        self.end(now, call, &reason, Some(status));
    }

    /// Cancels every contact that has not answered, but for one.
    pub(super) fn cancel_branches(&mut self, now: Instant, call: &mut Call, except: Option<usize>) {
        let mut waits = false;
        for (index, branch) in call.branches.iter_mut().enumerate() {
            if except == Some(index) {
                continue;
            }
            match branch.state {
                BranchState::Preparing => {
                    let failure = Failure { status: 487, response: None, warning: None };
                    branch.state = BranchState::Failed(failure);
                }
                BranchState::Calling { .. } => branch.state = BranchState::Calling { cancel: true },
                BranchState::Ringing => self.send_cancel(now, branch),
                BranchState::Cancelled | BranchState::Answered | BranchState::Failed(_) => continue,
            }
            waits = true;
        }
        if waits && call.ring.is_none() {
            // A terminal that answers neither the CANCEL nor the INVITE is given up (RFC 3261 section 9.1).
            let given_up = now + self.config.sip.timers.t1 * 64;
            call.ring = Some(self.timers.set(given_up, CallTimer::Ring(call.id)));
        }
    }

    fn send_cancel(&mut self, now: Instant, branch: &mut Branch) {
        branch.state = BranchState::Cancelled;
        let Some(cancel) = branch.invite.as_ref().and_then(|(_, invite)| transaction::cancel(invite)) else {
            return;
        };
        // Without room for it the contact rings until its own timeout.
        self.transactions.send(now, branch.flow, cancel, Purpose::Farewell, &mut self.effects.transmits);
    }

    /// Acknowledges a 2xx that nobody wants any more, and ends its dialog at once.
    pub(super) fn decline_answer(&mut self, now: Instant, branch: &Branch, response: &Message) {
        let Some((_, invite)) = &branch.invite else { return };
        let Ok(mut dialog) = Dialog::established(invite, response, branch.flow) else {
            return;
        };
        self.counters.count("calls_answered_too_late");
        let sequence = invite.cseq().map_or(1, |cseq| cseq.number);
        let ack = dialog.ack(sequence, &self.identifiers.branch());
        self.effects.transmits.push(Transmit { flow: branch.flow, bytes: ack.to_bytes(), transaction: None });
        let bye = dialog.request(Method::BYE, &self.identifiers.branch());
        self.transactions.send(now, branch.flow, bye, Purpose::Farewell, &mut self.effects.transmits);
    }

    /// It rang too long, or a cancelled contact stays silent.
    pub(in crate::sip) fn ring_timeout(&mut self, now: Instant, call: &mut Call) {
        call.ring = None;
        if matches!(call.state, State::Ringing) {
            self.counters.count("calls_not_answered");
            self.cancel_branches(now, call, None);
            let text = "nobody answered in time".to_owned();
            return self.refuse(now, call, &Failure { status: 408, response: None, warning: Some(text) });
        }
        for branch in &mut call.branches {
            if matches!(
                branch.state,
                BranchState::Calling { .. } | BranchState::Cancelled | BranchState::Ringing
            ) {
                if let Some((id, _)) = branch.invite {
                    self.transactions.abandon(id);
                }
                branch.state = BranchState::Failed(Failure { status: 408, response: None, warning: None });
            }
        }
    }

    /// The caller gives up while it rings.
    pub(in crate::sip) fn cancelled(&mut self, now: Instant, call: &mut Call) {
        if !call.is_ringing() {
            return;
        }
        let response = Message::response(&call.invite, 487).with_to_tag(&call.tag);
        self.respond(now, call.transaction, &response);
        self.end(now, call, "cancelled by the caller", Some(487));
    }
}

/// A request beyond this goes by a stream where one can be had (RFC 3261 section 18.1.1). Bytes.
const LARGEST_DATAGRAM: usize = 1_300;

impl From<MediaRefusal> for Failure {
    fn from(refusal: MediaRefusal) -> Self {
        Self { status: refusal.status, response: None, warning: Some(refusal.warning) }
    }
}

fn media_request(call: &Call, index: usize, operation: MediaOperation) -> Option<MediaRequest> {
    let called = call.branches.get(index)?.flow.remote().ip();
    let id = MediaId { call: call.id, branch: index };
    Some(MediaRequest { id, operation, caller: call.flow.remote().ip(), called })
}

/// A response to `request` with the status line of `response`.
pub(super) fn translate_response(request: &Message, response: &Message) -> Message {
    match &response.start {
        StartLine::Response { code, reason } => {
            let mut onward = Message::response(request, *code);
            onward.start = StartLine::Response { code: *code, reason: reason.clone() };
            onward
        }
        StartLine::Request { .. } => Message::response(request, 500),
    }
}

/// Which refusal the caller learns of several: a decision for all contacts first, then a person's, then the rest
/// (RFC 3261 section 16.7, step 6).
fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        486 => 1,
        480..=489 => 2,
        400 | 402..=406 | 410..=479 => 3,
        401 | 407 | 300..=399 => 4,
        408 => 5,
        _ => 6,
    }
}

/// What the caller is told. Challenges and redirections of a contact are not the caller's to follow.
fn told_status(status: u16) -> u16 {
    match status {
        401 | 407 | 421 | 422 => 500,
        300..=399 | 503 => 480,
        other => other,
    }
}
