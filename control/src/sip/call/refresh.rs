//! Session timers (RFC 4028): each side's life is checked, by the side itself where it can, by us where it cannot.

use std::time::{Duration, Instant};

use super::{Call, CallId, CallTimer, Purpose, Side};
use crate::sip::core::Core;
use crate::sip::message::{HeaderName, Message, Method, Refresher, SessionExpires};
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Transmit;
use crate::timers::TimerHandle;

/// A silent refresher is given up this long before the interval ends, or a third of the interval before, whichever is
/// shorter (RFC 4028 section 10).
const BEFORE_END: Duration = Duration::from_secs(32);

/// The session timer of one side.
#[derive(Debug)]
pub struct Refreshing {
    interval: Duration,
    by_us: bool,
    /// Whether the terminal takes UPDATE; else we refresh with INVITE, which needs the last session description.
    takes_update: bool,
    timer: Option<TimerHandle>,
    /// Our refresh is under way.
    pub(super) under_way: bool,
    /// The last body that we sent to this side, with its Content-Type.
    pub(super) told: Option<(String, bytes::Bytes)>,
}

impl Refreshing {
    /// Takes the timer, to cancel it.
    pub(super) fn take_timer(&mut self) -> Option<TimerHandle> {
        self.timer.take()
    }
}

impl Core {
    /// Refuses an INVITE whose session interval is too short for us.
    pub(super) fn session_is_acceptable(&mut self, request: &Message) -> Result<(), Box<Message>> {
        let min = self.config.sip.min_session_expires;
        match request.session_expires() {
            Ok(Some(asked)) if asked.interval < min => {
                Err(self.response(request, 422).with(HeaderName::MinSe, min.as_secs().to_string()).into())
            }
            _ => Ok(()),
        }
    }

    /// What an INVITE of ours says of the session timer.
    pub(super) fn offer_session_timer(&self, invite: &mut Message) {
        let sip = &self.config.sip;
        let wish = SessionExpires { interval: sip.session_expires, refresher: None };
        invite.headers.push(HeaderName::SessionExpires, wish.to_string());
        invite.headers.push(HeaderName::MinSe, sip.min_session_expires.as_secs().to_string());
    }

    /// Settles the session timer with the sender of an INVITE or UPDATE, says so in the 2xx, and starts it.
    pub(super) fn answer_session_timer(
        &mut self,
        now: Instant,
        call: CallId,
        side: Side,
        request: &Message,
        response: &mut Message,
    ) -> Refreshing {
        let asked = request.session_expires().ok().flatten();
        let knows = request.lists(HeaderName::Supported, "timer");
        let ours = self.config.sip.session_expires;
        let floor =
            request.min_se().ok().flatten().unwrap_or_default().max(self.config.sip.min_session_expires);
        let interval = asked.map_or(ours, |asked| asked.interval.min(ours)).max(floor);
        let by_us = !knows || asked.is_some_and(|asked| asked.refresher == Some(Refresher::Uas));
        let refresher = Some(if by_us { Refresher::Uas } else { Refresher::Uac });
        response.headers.set(HeaderName::Supported, "timer");
        if knows {
            response.headers.set(HeaderName::Require, "timer");
            response
                .headers
                .set(HeaderName::SessionExpires, SessionExpires { interval, refresher }.to_string());
        }
        let told = told(response);
        self.refreshing(now, call, side, interval, by_us, request.lists(HeaderName::Allow, "UPDATE"), told)
    }

    /// Learns from a 2xx to our request how the session timer was settled, and starts it.
    pub(super) fn session_of_answer(
        &mut self,
        now: Instant,
        call: CallId,
        side: Side,
        response: &Message,
    ) -> Refreshing {
        let settled = response.session_expires().ok().flatten();
        let interval = settled.map_or(self.config.sip.session_expires, |settled| settled.interval);
        let by_us = settled.is_none_or(|settled| settled.refresher != Some(Refresher::Uas));
        self.refreshing(now, call, side, interval, by_us, response.lists(HeaderName::Allow, "UPDATE"), None)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one value")]
    fn refreshing(
        &mut self,
        now: Instant,
        call: CallId,
        side: Side,
        interval: Duration,
        by_us: bool,
        takes_update: bool,
        told: Option<(String, bytes::Bytes)>,
    ) -> Refreshing {
        let timer = Some(self.timers.set(now + wait(interval, by_us), CallTimer::Session(call, side)));
        Refreshing { interval, by_us, takes_update, timer, under_way: false, told }
    }

    /// The session with a side was refreshed, by whomever.
    pub(super) fn refreshed(&mut self, now: Instant, call: &mut Call, side: Side) {
        let id = call.id;
        let Some(session) = call.established().map(|established| established.session(side)) else {
            return;
        };
        if let Some(timer) = session.timer.take() {
            self.timers.cancel(timer);
        }
        session.timer =
            Some(self.timers.set(now + wait(session.interval, session.by_us), CallTimer::Session(id, side)));
    }

    /// Time to refresh, or to give the side up.
    pub(in crate::sip) fn session_due(&mut self, now: Instant, call: &mut Call, side: Side) {
        let id = call.id;
        let busy = call.passed.values().any(|passed| passed.from != side);
        let branch = self.identifiers.branch();
        let Some(established) = call.established() else {
            return;
        };
        let waits = established.unacknowledged.is_some();
        established.session(side).timer = None;
        if !established.session(side).by_us {
            self.counters.count("calls_session_expired");
            return self.lost(now, call, side, "did not refresh its session");
        }
        if busy || waits {
            // An exchange is under way: its outcome says as much as a refresh would.
            return self.refreshed(now, call, side);
        }
        let session = established.session(side);
        session.under_way = true;
        let settled = SessionExpires { interval: session.interval, refresher: Some(Refresher::Uac) };
        let (method, told) = if session.takes_update {
            (Method::UPDATE, None)
        } else {
            (Method::INVITE, session.told.clone())
        };
        let dialog = established.dialog(side);
        let mut request = dialog
            .request(method, &branch)
            .with(HeaderName::Supported, "timer")
            .with(HeaderName::SessionExpires, settled.to_string());
        if let Some((content_type, body)) = told {
            request.set_body(&content_type, body);
        }
        let flow = dialog.flow();
        self.counters.count("sip_session_refreshes");
        let sent = self.transactions.send(
            now,
            flow,
            request,
            Purpose::Refresh(id, side),
            &mut self.effects.transmits,
        );
        if sent.is_none() {
            self.refresh_failed(now, call, side);
        }
    }

    /// A side answers our refresh. Any answer but 408 and 481 shows that it lives.
    pub(in crate::sip) fn refresh_response(
        &mut self,
        now: Instant,
        call: &mut Call,
        side: Side,
        _id: TransactionId,
        response: &Message,
    ) {
        let status = response.status_code().unwrap_or_default();
        if status < 200 {
            return;
        }
        let branch = self.identifiers.branch();
        let Some(established) = call.established() else {
            return;
        };
        established.session(side).under_way = false;
        if status == 408 || status == 481 {
            return self.lost(now, call, side, "has forgotten the call");
        }
        let cseq = response.cseq().ok();
        if let Some(cseq) = cseq.filter(|cseq| cseq.method == Method::INVITE && status < 300) {
            let dialog = established.dialog(side);
            dialog.refresh_target(response);
            let ack = dialog.ack(cseq.number, &branch);
            let flow = dialog.flow();
            self.effects.transmits.push(Transmit { flow, bytes: ack.to_bytes(), transaction: None });
        }
        self.refreshed(now, call, side);
    }

    /// A side did not answer our refresh.
    pub(in crate::sip) fn refresh_failed(&mut self, now: Instant, call: &mut Call, side: Side) {
        self.lost(now, call, side, "does not answer any more");
    }
}

/// The body that a message of ours carries, to be told again in a refresh.
pub(super) fn told(message: &Message) -> Option<(String, bytes::Bytes)> {
    if message.body.is_empty() {
        return None;
    }
    let content_type = message.headers.get(HeaderName::ContentType)?.text()?;
    Some((content_type, message.body.clone()))
}

fn wait(interval: Duration, by_us: bool) -> Duration {
    if by_us { interval / 2 } else { interval.saturating_sub(BEFORE_END.min(interval / 3)) }
}
