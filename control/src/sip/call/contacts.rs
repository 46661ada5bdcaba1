//! What the contacts of the called answer, and what the caller learns of it.

use std::time::Instant;

use bytes::Bytes;

use super::translate::{carry_body, copy_headers, translate_response, warning};
use super::{BranchState, Call, Failure, MediaOperation, Side, State, Then, description};
use crate::sip::core::{Core, RETRY_AFTER_SECONDS};
use crate::sip::dialog::own_contact;
use crate::sip::message::{HeaderName, Message};

impl Core {
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
    pub(super) fn progress(
        &mut self,
        now: Instant,
        call: &mut Call,
        index: usize,
        response: &Message,
        body: Bytes,
    ) {
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
