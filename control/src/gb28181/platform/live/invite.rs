//! The INVITE to a camera: sent, answered, given up, tried again.

use std::time::Instant;

use super::{Late, State, StreamId};
use crate::admin::Reply;
use crate::gb28181::id::DeviceId;
use crate::gb28181::manscdp::Control;
use crate::gb28181::platform::{Deadline, Platform, Purpose};
use crate::gb28181::sdp::{Carrier, Offer, Purpose as Wanted};
use crate::sip::message::{HeaderName, Message, Method};
use crate::sip::transaction::{TransactionId, cancel};

impl Platform {
    /// Invites the camera, if it is there.
    pub(super) fn invite(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some(local) = stream.local else { return };
        let (device, channel, ssrc) = (stream.device, stream.channel, stream.ssrc);
        let Some(flow) = self.devices.get(&device).filter(|device| device.online).map(|device| device.flow)
        else {
            return self.invite_failed(now, id, &format!("the device {device} is offline"));
        };
        let owner = self.settings.platform;
        let mut invite = self.build(Method::INVITE, &flow, channel);
        // The first digit says that it is live; the same source has the same number (Annex L).
        invite.headers.push(HeaderName::Subject, format!("{channel}:{ssrc},{owner}:0"));
        let offer = Offer {
            owner: &owner,
            channel: &channel,
            purpose: Wanted::Play,
            media: local,
            carrier: Carrier::Udp,
            ssrc,
        };
        invite.set_body("application/sdp", offer.to_bytes());
        let call_id = invite.call_id().unwrap_or_default();
        let sent = self.transactions.send(
            now,
            flow,
            invite.clone(),
            Purpose::Invite(id),
            &mut self.effects.transmits,
        );
        let Some(transaction) = sent else {
            return self.invite_failed(now, id, "too many requests are under way; try again later");
        };
        self.counters.count("gb28181_invites");
        let timer = self.timers.set(now + self.settings.invite, Deadline::Stream(id));
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        stream.invites += 1;
        let before = stream.call_id.replace(call_id.clone());
        stream.state = State::Inviting { transaction, invite: Box::new(invite), flow };
        if let Some(old) = stream.timer.replace(timer) {
            self.timers.cancel(old);
        }
        if let Some(before) = before {
            self.streams.by_call.remove(&before);
        }
        self.streams.by_call.insert(call_id, id);
    }

    /// A response to an INVITE.
    pub(in crate::gb28181::platform) fn invite_response(
        &mut self,
        now: Instant,
        id: StreamId,
        transaction: TransactionId,
        response: &Message,
    ) {
        let status = response.status_code().unwrap_or_default();
        if self.streams.late.contains_key(&transaction) {
            return self.late_response(now, transaction, response);
        }
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        match &stream.state {
            State::Inviting { transaction: awaited, .. } if *awaited == transaction => match status {
                0..=199 => {}
                200..=299 => self.accepted(now, id, response),
                _ => {
                    let reason = String::from_utf8_lossy(match &response.start {
                        crate::sip::message::StartLine::Response { reason, .. } => reason,
                        crate::sip::message::StartLine::Request { .. } => b"",
                    })
                    .into_owned();
                    self.counters.count("gb28181_invites_refused");
                    self.invite_failed(now, id, &format!("the camera refuses: {status} {reason}"));
                }
            },
            // The 200 again: the ACK was lost.
            State::Running(running)
                if running.transaction == transaction && (200..=299).contains(&status) =>
            {
                self.effects.transmits.push(running.ack.clone());
            }
            _ => {}
        }
    }

    /// An INVITE got no answer, or could not be sent.
    pub(in crate::gb28181::platform) fn invite_unanswered(
        &mut self,
        now: Instant,
        id: StreamId,
        transaction: TransactionId,
        why: &str,
    ) {
        self.streams.late.remove(&transaction);
        let awaited = self.streams.by_id.get(&id).is_some_and(
            |stream| matches!(&stream.state, State::Inviting { transaction: awaited, .. } if *awaited == transaction),
        );
        if awaited {
            self.counters.count("gb28181_invites_unanswered");
            self.invite_failed(now, id, why);
        }
    }

    /// The camera does not send: who waits is told, and who watched before waits for the next try.
    pub(super) fn invite_failed(&mut self, now: Instant, id: StreamId, why: &str) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        tracing::warn!(device = %stream.device, channel = %stream.channel, why, "no media from the camera");
        self.fail_askers(id, &Reply::NoAnswer { message: why.to_owned() });
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        if stream.viewers.is_empty() {
            return self.end_stream(now, id, why);
        }
        self.back_off(now, id);
    }

    /// Waits before the camera is invited again.
    pub(super) fn back_off(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let pause = stream.back_off();
        stream.failures = stream.failures.saturating_add(1);
        stream.state = State::Waiting;
        let timer = self.timers.set(now + pause, Deadline::Stream(id));
        if let Some(old) = stream.timer.replace(timer) {
            self.timers.cancel(old);
        }
        if let Some(check) = stream.check.take() {
            self.timers.cancel(check);
        }
    }

    /// The time of a stream is over: for an answer, for the pause, or for somebody to come back.
    pub(in crate::gb28181::platform) fn stream_due(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        stream.timer = None;
        match stream.state {
            State::Opening => {}
            State::Inviting { .. } => {
                self.give_up_invite(now, id);
                self.counters.count("gb28181_invites_unanswered");
                let seconds = self.settings.invite.as_secs();
                self.invite_failed(now, id, &format!("the camera did not answer within {seconds} s"));
            }
            State::Running(_) => {
                if stream.viewers.is_empty() {
                    self.end_stream(now, id, "nobody watches");
                }
            }
            State::Waiting => self.invite(now, id),
        }
    }

    /// Nobody waits for the answer any more. It may still come: a camera that sends must be told to stop.
    pub(super) fn give_up_invite(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some((transaction, invite, flow)) = stream.take_inviting() else { return };
        if let Some(call_id) = stream.call_id.take() {
            self.streams.by_call.remove(&call_id);
        }
        // Only after a provisional response (RFC 3261 section 9.1); before, the first response does it.
        let cancel_now = self.transactions.is_proceeding(transaction);
        if cancel_now {
            self.cancel_invite(now, &invite, flow);
        }
        self.streams.late.insert(transaction, Late { invite, flow, cancel: !cancel_now });
    }

    fn late_response(&mut self, now: Instant, transaction: TransactionId, response: &Message) {
        match response.status_code().unwrap_or_default() {
            0..=199 => {
                let Some(late) = self.streams.late.get_mut(&transaction) else { return };
                if std::mem::take(&mut late.cancel) {
                    let (invite, flow) = (late.invite.clone(), late.flow);
                    self.cancel_invite(now, &invite, flow);
                }
            }
            200..=299 => {
                let Some(late) = self.streams.late.remove(&transaction) else { return };
                self.counters.count("gb28181_invites_answered_late");
                if let Some((dialog, _)) = self.acknowledge(&late.invite, response, late.flow) {
                    self.say_goodbye(now, dialog, None);
                }
            }
            _ => {
                self.streams.late.remove(&transaction);
            }
        }
    }

    fn cancel_invite(&mut self, now: Instant, invite: &Message, flow: crate::sip::transport::Flow) {
        if let Some(cancel) = cancel(invite) {
            // Where there is no room, the answer is ended when it comes.
            let _ = self.transactions.send(now, flow, cancel, Purpose::None, &mut self.effects.transmits);
        }
    }

    /// A device is back: its cameras are invited now, not when their pause is over.
    pub(in crate::gb28181::platform) fn wake_streams(&mut self, now: Instant, device: DeviceId) {
        let waiting = self.streams.by_id.values().filter(|stream| stream.device == device);
        let waiting: Vec<StreamId> =
            waiting.filter(|stream| matches!(stream.state, State::Waiting)).map(|stream| stream.id).collect();
        for id in waiting {
            if let Some(stream) = self.streams.by_id.get_mut(&id) {
                stream.failures = 0;
            }
            self.invite(now, id);
        }
    }

    /// Viewers need a key frame: the camera is asked by the command of its version (A.2.3.1).
    pub(super) fn ask_for_key_frame(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get(&id) else { return };
        if !matches!(stream.state, State::Running(_)) {
            return;
        }
        let (device, channel) = (stream.device, stream.channel);
        self.counters.count("gb28181_key_frames_wanted");
        self.order(now, device, channel, Control::KeyFrame, None);
    }
}
