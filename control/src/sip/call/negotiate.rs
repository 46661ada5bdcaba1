//! Session descriptions on their way from one side to the other: by the media plane, or, in direct mode, as they are.

use std::time::Instant;

use bytes::Bytes;

use super::{Call, Failure, MediaId, MediaOperation, MediaRefusal, MediaReply, MediaRequest, State, Then};
use crate::config::Mode;
use crate::sip::core::Core;

impl Core {
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
                Ok(body) if call.is_ringing() => self.send_invite(now, call, index, &body),
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
}

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
