//! The end of a call, for whatever reason: BYE to whom it concerns, media released, one record for the log.

use std::time::{Duration, Instant};

use super::{BranchState, Call, CallTimer, MediaId, Purpose, Side, State};
use crate::config::Mode;
use crate::sip::core::Core;
use crate::sip::message::{HeaderName, Message, Method};
use crate::sip::transport::Transmit;

/// What is logged of a call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Its name.
    pub name: String,
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
    /// How media travelled.
    pub mode: Mode,
    /// From the INVITE to the 200; `None` if it was not answered.
    pub setup: Option<Duration>,
    /// From the 200 to the end; `None` if it was not answered.
    pub duration: Option<Duration>,
    /// Why it ended, in words.
    pub reason: String,
    /// The status that the caller got, if it was not answered.
    pub status: Option<u16>,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// For the log.
    pub record: CallRecord,
    /// The media session of the contact that had the call: its counters belong into the log.
    pub media: Option<MediaId>,
    /// Media sessions of the other contacts.
    pub unused_media: Vec<MediaId>,
}

impl Core {
    /// Ends a call from our side: BYE to both, or a refusal while it rings.
    pub(in crate::sip) fn hang_up(&mut self, now: Instant, call: &mut Call, reason: &str) {
        if call.is_ringing() {
            let response = Message::response(&call.invite, 480).with_to_tag(&call.tag);
            self.respond(now, call.transaction, &response);
            return self.end(now, call, reason, Some(480));
        }
        self.say_bye(now, call, Side::Caller, reason);
        self.say_bye(now, call, Side::Called, reason);
        self.end(now, call, reason, None);
    }

    /// A side has hung up: BYE to the other.
    pub(super) fn hung_up_by(&mut self, now: Instant, call: &mut Call, side: Side) {
        let reason = format!("the {side} hung up");
        self.say_bye(now, call, side.other(), &reason);
        self.end(now, call, &reason, None);
    }

    /// A side is gone without a word: BYE to the other, and to the lost one too, in case it still hears.
    pub(super) fn lost(&mut self, now: Instant, call: &mut Call, side: Side, what: &str) {
        self.counters.count("calls_lost_a_side");
        self.hang_up(now, call, &format!("the {side} {what}"));
    }

    fn say_bye(&mut self, now: Instant, call: &mut Call, side: Side, reason: &str) {
        let branch = self.identifiers.branch();
        let Some(established) = call.established() else {
            return;
        };
        // A 2xx that this side still waits to have acknowledged: BYE ends only what is confirmed.
        let owed = established.unacknowledged.as_ref().filter(|waiting| waiting.side == side.other());
        let owed = owed.map(|waiting| waiting.onward.1);
        let dialog = established.dialog(side);
        let flow = dialog.flow();
        if let Some(sequence) = owed {
            let ack = dialog.ack(sequence, &self.identifiers.branch());
            self.effects.transmits.push(Transmit { flow, bytes: ack.to_bytes(), transaction: None });
        }
        let text = crate::sip::message::grammar::quote(reason);
        let bye = dialog
            .request(Method::BYE, &branch)
            .with(HeaderName::Reason, format!("SIP;cause=200;text={text}"));
        let sent = self.transactions.send(now, flow, bye, Purpose::Farewell, &mut self.effects.transmits);
        if sent.is_none() {
            self.counters.count("sip_requests_over_transaction_limit");
        }
    }

    /// The call is over: nothing of it answers any more.
    pub(super) fn end(&mut self, now: Instant, call: &mut Call, reason: &str, status: Option<u16>) {
        if call.is_over() {
            return;
        }
        if let State::Answering { branch, response } = &call.state
            && let Some(branch) = call.branches.get(*branch)
        {
            self.decline_answer(now, branch, response);
        }
        for tag in call.branches.iter().map(|branch| &branch.tag).chain([&call.tag]) {
            self.tags.remove(tag);
        }
        self.cancel_timer(&mut call.ring);
        self.cancel_timer(&mut call.media_check);
        if let Some(established) = call.established() {
            let mut timers =
                [established.caller_session.take_timer(), established.called_session.take_timer()];
            if let Some(waiting) = &mut established.unacknowledged {
                self.cancel_timer(&mut waiting.repeat);
                self.cancel_timer(&mut waiting.deadline);
            }
            self.tags.remove(established.called.local_tag());
            for timer in &mut timers {
                self.cancel_timer(timer);
            }
        }
        for (_, passed) in std::mem::take(&mut call.passed) {
            self.answer(now, passed.transaction, &passed.request, 487);
        }
        self.cancel_branches(now, call, None);
        self.counters.count("calls_ended");
        call.state = State::Ended(Some(Box::new(CallRecord {
            name: call.name.clone(),
            from: call.from.clone(),
            to: call.to.clone(),
            mode: call.mode,
            setup: call.answered.map(|answered| answered.duration_since(call.started)),
            duration: call.answered.map(|answered| now.duration_since(answered)),
            reason: reason.to_owned(),
            status,
        })));
    }

    /// Reports an ended call as soon as the media plane is at rest; says whether nothing of it is left.
    pub(in crate::sip) fn bury(&mut self, call: &mut Call) -> bool {
        let State::Ended(record) = &mut call.state else {
            return false;
        };
        if call.branches.iter().any(|branch| branch.media.under_way.is_some()) {
            return false;
        }
        if let Some(record) = record.take() {
            let session = |(branch, held): (usize, &super::Branch)| {
                held.media.exists.then_some((
                    MediaId { call: call.id, branch },
                    matches!(held.state, BranchState::Answered),
                ))
            };
            let sessions: Vec<_> = call.branches.iter().enumerate().filter_map(session).collect();
            let media = sessions.iter().find(|(_, used)| *used && record.setup.is_some()).map(|(id, _)| *id);
            let unused_media =
                sessions.into_iter().map(|(id, _)| id).filter(|id| Some(*id) != media).collect();
            self.effects.ended.push(Ended { record: *record, media, unused_media });
        }
        let waits = call.branches.iter().any(|branch| {
            matches!(
                branch.state,
                BranchState::Calling { .. } | BranchState::Ringing | BranchState::Cancelled
            )
        });
        if !waits {
            self.cancel_timer(&mut call.ring);
        }
        !waits
    }

    /// Asks how long media has been silent.
    pub(in crate::sip) fn check_media(&mut self, _now: Instant, call: &mut Call) {
        call.media_check = None;
        let id = call.id;
        if let Some(established) = call.established() {
            self.effects.media_checks.push(MediaId { call: id, branch: established.branch });
        }
    }

    /// How long media of a session has been silent in both directions; `None`: nothing is to be heard, for all media are
    /// on hold.
    pub fn media_silence(&mut self, now: Instant, id: MediaId, silence: Option<Duration>) {
        let Some(timeout) = self.config.relay.as_ref().and_then(|relay| relay.media_timeout) else {
            return;
        };
        self.with_call(id.call, |core, call| {
            let Some(answered) = call.answered.filter(|_| !call.is_over()) else {
                return;
            };
            let silence = silence.unwrap_or_else(|| now.duration_since(answered));
            if silence >= timeout {
                core.counters.count("calls_without_media");
                return core.hang_up(now, call, "no media");
            }
            call.media_check = Some(core.timers.set(now + (timeout - silence), CallTimer::Media(id.call)));
        });
    }
}
