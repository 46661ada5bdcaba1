//! Streams end: nobody watches, the camera says BYE, or it falls silent. Whatever was accepted is ended with BYE.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::farewell::Farewell;
use super::{MediaRequest, State, StreamId};
use crate::admin::Reply;
use crate::gb28181::platform::{Deadline, Platform, Purpose};
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Method};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Flow;

impl Platform {
    /// Ends a stream and everything of it.
    pub(super) fn end_stream(&mut self, now: Instant, id: StreamId, why: &str) {
        self.fail_askers(id, &Reply::Refused { message: why.to_owned() });
        self.give_up_invite(now, id);
        self.leave_dialog(now, id, true);
        self.close_stream(id);
    }

    /// Forgets a stream that is at rest.
    pub(super) fn close_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.by_id.remove(&id) else { return };
        for timer in [stream.timer, stream.check].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        self.streams.by_channel.remove(&(stream.device, stream.channel));
        if let Some(call_id) = &stream.call_id {
            self.streams.by_call.remove(call_id);
        }
        for viewer in &stream.viewers {
            self.streams.viewers.remove(&viewer.id);
            self.streams.ssrcs.put_back(viewer.ssrc);
        }
        self.streams.ssrcs.put_back(stream.ssrc);
        self.effects.media.push(MediaRequest::Close { stream: id });
    }

    /// All streams end.
    pub fn stop(&mut self, now: Instant) {
        let streams: Vec<StreamId> = self.streams.by_id.keys().copied().collect();
        for id in streams {
            self.end_stream(now, id, "the platform stops");
        }
    }

    /// Whether BYEs are under way that a stop should wait for.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.streams.by_id.is_empty() || self.byes > 0
    }

    /// The stream has no dialogue any more; the camera is told, unless it told us.
    fn leave_dialog(&mut self, now: Instant, id: StreamId, tell: bool) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some(running) = stream.take_running() else { return };
        if running.since + self.settings.silence <= now {
            stream.failures = 0;
        }
        let port = stream.local.map(|local| local.port());
        if let Some(call_id) = stream.call_id.take() {
            self.streams.by_call.remove(&call_id);
        }
        if tell {
            self.say_goodbye(now, running.dialog, port);
        }
    }

    /// BYE. The dialogue is remembered for a while: a camera that did not hear it goes on sending, and is told again.
    pub(super) fn say_goodbye(&mut self, now: Instant, dialog: Dialog, port: Option<u16>) {
        let mut farewell = Farewell::new(dialog, now);
        self.send_bye(now, &mut farewell);
        if let Some(port) = port {
            let source = farewell.dialog.flow().remote().ip();
            self.streams.farewells.keep(port, source, farewell, now);
        }
    }

    fn send_bye(&mut self, now: Instant, farewell: &mut Farewell) {
        let branch = self.identifiers.branch();
        let bye = farewell.dialog.request(Method::BYE, &branch);
        let flow = farewell.dialog.flow();
        self.counters.count("gb28181_byes");
        // Where there is no room, it is said when its packets are noticed.
        let sent = self.transactions.send(now, flow, bye, Purpose::Farewell, &mut self.effects.transmits);
        self.byes += usize::from(sent.is_some());
    }

    /// Media comes to a port that nobody has: from a camera that was told to stop, perhaps.
    pub(super) fn orphan(&mut self, now: Instant, port: u16, source: IpAddr) {
        let Some(mut farewell) = self.streams.farewells.take_due(port, source, now) else { return };
        self.counters.count("gb28181_orphans_told");
        tracing::warn!(%source, port, "a camera goes on sending after BYE; it is told again");
        self.send_bye(now, &mut farewell);
        self.streams.farewells.keep(port, source, farewell, now);
    }

    /// A request of the camera inside a dialogue.
    pub(in crate::gb28181::platform) fn in_dialog(
        &mut self,
        now: Instant,
        flow: Flow,
        id: StreamId,
        transaction: TransactionId,
        method: &Method,
        request: &Message,
    ) {
        let fits = match self.streams.by_id.get_mut(&id).map(|stream| &mut stream.state) {
            Some(State::Running(running)) => running.dialog.receive(flow, request).is_ok(),
            _ => false,
        };
        if !fits {
            return self.answer(now, transaction, request, 481);
        }
        self.answer(now, transaction, request, 200);
        if *method == Method::BYE {
            self.counters.count("gb28181_byes_of_cameras");
            self.lost(now, id, false, "the camera ended it");
        }
    }

    /// Looks whether media still flows.
    pub(in crate::gb28181::platform) fn check_media(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        stream.check = None;
        if matches!(stream.state, State::Running(_)) {
            stream.check = Some(self.timers.set(now + self.settings.silence / 2, Deadline::Media(id)));
            self.effects.media.push(MediaRequest::Listen { stream: id });
        }
    }

    /// How long the camera has been silent.
    pub(super) fn silent(&mut self, now: Instant, id: StreamId, time: Duration) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let State::Running(running) = &stream.state else { return };
        // It has had no chance to send before it accepted.
        let time = time.min(now.saturating_duration_since(running.since));
        if time >= self.settings.silence {
            self.counters.count("gb28181_streams_silent");
            self.lost(now, id, true, "no media comes");
        } else if now.saturating_duration_since(running.since) >= self.settings.silence {
            stream.failures = 0;
        }
    }

    /// A stream that ran does not run any more: the camera is invited again, if anybody watches.
    fn lost(&mut self, now: Instant, id: StreamId, tell: bool, why: &'static str) {
        let Some(stream) = self.streams.by_id.get(&id) else { return };
        tracing::warn!(device = %stream.device, channel = %stream.channel, why, "stream lost");
        self.leave_dialog(now, id, tell);
        let Some(stream) = self.streams.by_id.get(&id) else { return };
        if stream.viewers.is_empty() {
            return self.close_stream(id);
        }
        self.back_off(now, id);
    }
}
