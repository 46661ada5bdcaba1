//! From a contact's 2xx to the confirmed call: the 2xx to the caller, its repetition, its ACK (RFC 3261 section 13).

use std::time::Instant;

use bytes::Bytes;

use super::translate::{ALLOW, carry_body, copy_headers, translate_response};
use super::{
    Call, CallTimer, Established, Failure, MediaOperation, MediaRefusal, Side, State, Then, Unacknowledged,
    description,
};
use crate::config::Mode;
use crate::sip::core::Core;
use crate::sip::dialog::{Dialog, own_contact};
use crate::sip::message::{HeaderError, HeaderName, Message};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::{Flow, Transmit};

impl Core {
    /// The winner's 2xx, its session description made ready for the caller.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        result: Result<Bytes, MediaRefusal>,
    ) {
        let State::Answering { response, .. } = &call.state else {
            return;
        };
        let body = match result {
            Ok(body) => body,
            Err(refusal) => return self.refuse(now, call, &refusal.into()),
        };
        let (onward, established) = match self.establish(now, call, index, response, body) {
            Ok(established) => established,
            Err(error) => {
                let warning = Some(format!("the called terminal's answer cannot be used: {error}"));
                return self.refuse(now, call, &Failure { status: 502, response: None, warning });
            }
        };
        self.tags.insert(established.called.local_tag().to_owned(), (call.id, Side::Called));
        call.answered = Some(now);
        call.state = State::Established(Box::new(established));
        self.counters.count("calls_answered");
        self.respond(now, call.transaction, &onward);
        self.await_ack(now, call);
        if call.mode == Mode::Relay
            && let Some(timeout) = self.config.relay.as_ref().and_then(|relay| relay.media_timeout)
        {
            call.media_check = Some(self.timers.set(now + timeout / 4, CallTimer::Media(call.id)));
        }
    }

    fn establish(
        &mut self,
        now: Instant,
        call: &Call,
        index: usize,
        response: &Message,
        body: Bytes,
    ) -> Result<(Message, Established), HeaderError> {
        let missing = HeaderError::Missing { name: HeaderName::Contact };
        let branch = call.branches.get(index).ok_or_else(|| missing.clone())?;
        let (invited, invite) = branch.invite.as_ref().ok_or(missing)?;
        let contact = own_contact(&call.flow, &call.to);
        let mut onward = translate_response(&call.invite, response)
            .with_to_tag(&branch.tag)
            .with(HeaderName::Contact, &contact)
            .with(HeaderName::Allow, ALLOW);
        copy_headers(response, &mut onward);
        carry_body(response, &mut onward, body);
        let caller_session = self.answer_session_timer(now, call.id, Side::Caller, &call.invite, &mut onward);
        let called_session = self.session_of_answer(now, call.id, Side::Called, response);
        let established = Established {
            branch: index,
            caller: Dialog::answered(&call.invite, call.flow, &branch.tag, &contact)?,
            called: Dialog::established(invite, response, branch.flow)?,
            offering: None,
            unacknowledged: Some(Unacknowledged {
                side: Side::Caller,
                transaction: call.transaction,
                response: onward.clone(),
                sequence: call.invite.cseq()?.number,
                onward: (*invited, invite.cseq()?.number),
                interval: self.config.sip.timers.t1,
                repeat: None,
                deadline: None,
            }),
            acks: Vec::new(),
            caller_session,
            called_session,
        };
        Ok((onward, established))
    }

    /// Starts the timers of [`Unacknowledged`].
    pub(super) fn await_ack(&mut self, now: Instant, call: &mut Call) {
        let id = call.id;
        let timers = self.config.sip.timers;
        let Some(waiting) = call.established().and_then(|established| established.unacknowledged.as_mut())
        else {
            return;
        };
        waiting.repeat = Some(self.timers.set(now + timers.t1, CallTimer::RepeatAnswer(id)));
        waiting.deadline = Some(self.timers.set(now + timers.t1 * 64, CallTimer::NoAck(id)));
    }

    /// The 2xx got no ACK yet.
    pub(in crate::sip) fn repeat_answer(&mut self, now: Instant, call: &mut Call) {
        let id = call.id;
        let longest = self.config.sip.timers.t2;
        let Some(waiting) = call.established().and_then(|established| established.unacknowledged.as_mut())
        else {
            return;
        };
        waiting.interval = (waiting.interval * 2).min(longest);
        waiting.repeat = Some(self.timers.set(now + waiting.interval, CallTimer::RepeatAnswer(id)));
        self.counters.count("sip_answers_repeated");
        self.transactions.respond(now, waiting.transaction, &waiting.response, &mut self.effects.transmits);
    }

    /// The 2xx never got its ACK: the call is ended (RFC 3261 section 13.3.1.4).
    pub(in crate::sip) fn no_ack(&mut self, now: Instant, call: &mut Call) {
        self.counters.count("calls_without_ack");
        self.hang_up(now, call, "no ACK for the answer");
    }

    /// An ACK that no transaction took: the ACK of a 2xx.
    pub(in crate::sip) fn ack(&mut self, now: Instant, flow: Flow, request: &Message) {
        let tag = request.to().ok().and_then(|to| to.tag());
        let Some(&(id, side)) = tag.and_then(|tag| self.tags.get(&tag)) else {
            return self.counters.count("sip_acks_stray");
        };
        self.with_call(id, |core, call| core.ack_from(now, call, side, flow, request));
    }

    fn ack_from(&mut self, now: Instant, call: &mut Call, side: Side, flow: Flow, request: &Message) {
        let sequence = request.cseq().map(|cseq| cseq.number).ok();
        let Some(established) = call.established() else {
            return;
        };
        if established.dialog(side).receive(flow, request).is_err() {
            return self.counters.count("sip_acks_stray");
        }
        let expected =
            |waiting: &mut Unacknowledged| waiting.side == side && Some(waiting.sequence) == sequence;
        let Some(mut waiting) = established.unacknowledged.take_if(expected) else {
            // A retransmission: the 2xx came twice.
            return;
        };
        let index = established.branch;
        self.cancel_timer(&mut waiting.repeat);
        self.cancel_timer(&mut waiting.deadline);
        let (transaction, number) = waiting.onward;
        let to = side.other();
        match description(request) {
            Some(answer) => {
                let operation = MediaOperation::Answer { by: side, description: answer };
                let then = Then::Acknowledge(to, transaction, number, Box::new(request.clone()));
                self.negotiate(now, call, index, operation, then);
            }
            None => self.acknowledge(now, call, to, transaction, number, request, Ok(request.body.clone())),
        }
    }

    /// Sends the ACK of the other side's 2xx. `ack` is the one that we received.
    #[expect(clippy::too_many_arguments, reason = "the parts of one message, from two places")]
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        transaction: TransactionId,
        sequence: u32,
        ack: &Message,
        result: Result<Bytes, MediaRefusal>,
    ) {
        let Some(established) = call.established() else {
            return;
        };
        let branch = self.identifiers.branch();
        let dialog = established.dialog(side);
        let mut onward = dialog.ack(sequence, &branch);
        copy_headers(ack, &mut onward);
        let flow = dialog.flow();
        let refused = match result {
            Ok(body) => {
                carry_body(ack, &mut onward, body);
                None
            }
            Err(refusal) => Some(refusal),
        };
        let transmit = Transmit { flow, bytes: onward.to_bytes(), transaction: None };
        established.acks.retain(|(known, _)| *known != transaction);
        established.acks.push((transaction, transmit.clone()));
        if established.acks.len() > REMEMBERED_ACKS {
            established.acks.remove(0);
        }
        self.effects.transmits.push(transmit);
        if let Some(refusal) = refused {
            // The answer in the ACK cannot be relayed, and an ACK cannot be refused.
            self.hang_up(now, call, &refusal.warning);
        }
    }

    /// A 2xx came again: its ACK was lost.
    pub(super) fn repeat_ack(&mut self, call: &mut Call, index: usize) {
        let Some((transaction, _)) = call.branches.get(index).and_then(|branch| branch.invite.as_ref())
        else {
            return;
        };
        let transaction = *transaction;
        self.repeat_ack_of(call, transaction);
    }

    pub(super) fn repeat_ack_of(&mut self, call: &mut Call, transaction: TransactionId) {
        let Some(established) = call.established() else {
            return;
        };
        let known = established.acks.iter().find(|(known, _)| *known == transaction);
        if let Some((_, transmit)) = known {
            self.effects.transmits.push(transmit.clone());
        }
    }
}

/// ACKs that are kept: the last of each direction, and one that may still be on its way.
const REMEMBERED_ACKS: usize = 3;
