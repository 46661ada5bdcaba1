//! The INVITEs to the contacts of the called: sent together, cancelled when one has won or nobody wants them any more.

use std::time::Instant;

use bytes::Bytes;

use super::translate::{self, carry_body};
use super::{
    Branch, BranchState, Call, CallTimer, Failure, MediaOperation, Purpose, Side, State, Then, description,
};
use crate::sip::core::Core;
use crate::sip::dialog::{Dialog, own_via};
use crate::sip::message::{Host, Message, Method};
use crate::sip::transaction;
use crate::sip::transport::{Flow, Transmit, Transport};

/// A request beyond this goes by a stream where one can be had (RFC 3261 section 18.1.1). Bytes.
const LARGEST_DATAGRAM: usize = 1_300;

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
                None => self.send_invite(now, call, index, &call.invite.body.clone()),
            }
        }
    }

    pub(super) fn send_invite(&mut self, now: Instant, call: &mut Call, index: usize, body: &Bytes) {
        let Some(branch) = call.branches.get(index) else { return };
        let mut flow = branch.flow;
        let mut invite = self.build_invite(call, branch, flow, body);
        let mut fallback = None;
        let size = invite.as_ref().map_or(0, |invite| invite.to_bytes().len());
        if size > LARGEST_DATAGRAM
            && branch.fallback.is_none()
            && let Some(stream) = self.stream_to(branch)
        {
            invite = self.build_invite(call, branch, stream, body);
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
            Some(body) if matches!(call.state, State::Ringing) => self.send_invite(now, call, index, &body),
            _ => self.branch_failed(now, call, index, failure),
        }
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

    pub(super) fn send_cancel(&mut self, now: Instant, branch: &mut Branch) {
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
