//! The one task that owns the signalling core: it waits for whatever happens next, tells the core, and carries out what
//! the core wants. It never waits for the media plane or for a socket to become writable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::media::{MediaEvent, MediaPlane};
use super::streams::Streams;
use super::{status, tap};
use crate::admin::{self, Answer, Order, Question, Reply, Request};
use crate::config::Config;
use crate::gb28181::manscdp::Control;
use crate::gb28181::platform::{AskId, Platform, Wish, no_such_device};
use crate::http;
use crate::sip::core::Core;
use crate::sip::message::Message;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::{Arrival, Flow, Sockets};

/// Arrivals that are worked off before anything is sent.
const BATCH: usize = 64;

/// Questions that wait for the core.
const QUESTIONS: usize = 16;

/// How long an answer over the admin socket may take on its way out.
const FAREWELL: Duration = Duration::from_millis(100);

/// Longest sleep where no timer runs.
const IDLE: Duration = Duration::from_secs(3_600);

/// SIGINT and SIGTERM, and SIGUSR2.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    leave: Signal,
}

/// How the daemon is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All calls end first.
    Stop,
    /// At once, and media runs on.
    Leave,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        let leave = signal(SignalKind::user_defined2())?;
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)?, leave })
    }

    async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Stop,
            _ = self.terminate.recv() => End::Stop,
            _ = self.leave.recv() => End::Leave,
        }
    }
}

/// The core and its hands.
pub(super) struct Engine {
    config: Arc<Config>,
    core: Core,
    platform: Option<Platform>,
    sockets: Sockets,
    media: MediaPlane,
    streams: Streams,
    /// Operators whose answer the platform still owes.
    asks: HashMap<AskId, oneshot::Sender<Answer>>,
    next_ask: u64,
    started: Instant,
    /// How somebody asked over the admin socket that the daemon ends.
    asked: Option<End>,
}

impl Engine {
    pub(super) fn new(
        config: Arc<Config>,
        core: Core,
        platform: Option<Platform>,
        sockets: Sockets,
        media: MediaPlane,
    ) -> Self {
        let streams = Streams::new(media.plane());
        let (asks, started) = (HashMap::new(), Instant::now());
        Self { config, core, platform, sockets, media, streams, asks, next_ask: 0, started, asked: None }
    }

    /// Runs until a signal, then until all calls have ended or the time for that is over.
    pub(super) async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        admin: admin::Server,
        http: Option<http::Server>,
        mut signals: Signals,
    ) {
        let (questioner, mut questions) = mpsc::channel(QUESTIONS);
        if let Some(http) = http {
            tokio::spawn(http.run(questioner.clone()));
        }
        tokio::spawn(admin.run(questioner));
        let mut batch = Vec::with_capacity(BATCH);
        let mut stop_at = None;
        loop {
            let platform_due = self.platform.as_ref().and_then(Platform::next_due);
            let due = self.core.next_due().into_iter().chain(platform_due).chain(stop_at).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            let mut end = None;
            tokio::select! {
                count = arrivals.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        // Every listener is gone; only a stop is left.
                        break;
                    }
                    // Three quarters full: what is new is refused until the rest is worked off.
                    let overloaded = arrivals.len() >= arrivals.max_capacity() / 4 * 3;
                    self.core.set_overloaded(overloaded);
                    if let Some(platform) = &mut self.platform {
                        platform.set_overloaded(overloaded);
                    }
                    let now = Instant::now();
                    for arrival in batch.drain(..) {
                        self.arrived(now, arrival);
                    }
                }
                Some(event) = self.media.next() => self.media_event(event),
                Some(event) = self.streams.next() => {
                    if let Some(platform) = &mut self.platform {
                        platform.media_event(Instant::now(), event);
                    }
                }
                Some(question) = questions.recv() => self.answer(question),
                signal = signals.next() => end = Some(signal),
                () = tokio::time::sleep_until(due.into()) => {}
            }
            match end.or(self.asked.take()) {
                Some(End::Leave) if self.media.can_leave() => {
                    self.media.leave();
                    tracing::info!("left; media runs on");
                    // Who asked for it is still to be answered.
                    tokio::time::sleep(FAREWELL).await;
                    return;
                }
                Some(End::Leave) => tracing::warn!("media cannot run on: `state` in [relay] is \"none\""),
                // A second time: at once.
                Some(End::Stop) if stop_at.is_some() => break,
                Some(End::Stop) => {
                    tracing::info!("stopping");
                    let now = Instant::now();
                    stop_at = Some(now + self.config.sip.shutdown);
                    self.core.stop(now);
                    if let Some(platform) = &mut self.platform {
                        platform.stop(now);
                    }
                }
                None => {}
            }
            self.core.expire(Instant::now());
            if let Some(platform) = &mut self.platform {
                platform.expire(Instant::now());
            }
            self.carry_out();
            let is_busy = self.core.is_busy() || self.platform.as_ref().is_some_and(Platform::is_busy);
            let is_over = |at: Instant| Instant::now() >= at || (!is_busy && self.media.is_at_rest());
            if stop_at.is_some_and(is_over) {
                break;
            }
        }
        drop(questions);
        self.media.stop().await;
        tracing::info!("stopped");
    }

    fn arrived(&mut self, now: Instant, arrival: Arrival) {
        match arrival {
            Arrival::Message(flow, message) => self.message(now, flow, *message),
            Arrival::Faulty(flow, error) => self.core.faulty(flow, &error),
            Arrival::Opened(flow, id, sender) => self.sockets.opened(&flow, id, sender),
            Arrival::Closed(id) => {
                // Answers to what came before must be handed over before the connection is forgotten.
                self.carry_out();
                self.sockets.closed(id);
                if let Some(platform) = &mut self.platform {
                    platform.closed(id);
                }
            }
            Arrival::Unsent(transaction) => self.unsent(now, transaction),
        }
    }

    /// Devices are the platform's, everybody else is a terminal.
    fn message(&mut self, now: Instant, flow: Flow, message: Message) {
        let is_taken =
            self.platform.as_mut().is_some_and(|platform| platform.message_arrived(now, flow, &message));
        if !is_taken {
            self.core.message(now, flow, message);
        }
    }

    fn unsent(&mut self, now: Instant, transaction: TransactionId) {
        match &mut self.platform {
            Some(platform) if platform.owns(transaction) => platform.unsent(now, transaction),
            _ => self.core.unsent(now, transaction),
        }
    }

    fn media_event(&mut self, event: MediaEvent) {
        let now = Instant::now();
        match event {
            MediaEvent::Reply(reply, _) => self.core.media_reply(now, reply),
            MediaEvent::Silence(id, silence) => self.core.media_silence(now, id, silence),
            MediaEvent::Done => {}
        }
    }

    fn answer(&mut self, (request, answer): Question) {
        let now = Instant::now();
        let reply = match request {
            Request::Tap { leg, packets, seconds } => {
                let asked = tap::start(self.media.plane(), &leg, tap::Limits { packets, seconds });
                // The asker may have gone.
                let _ = answer.send(asked);
                return;
            }
            Request::Hangup { call } => {
                let is_viewer = |platform: &mut Platform| platform.stop_viewer(now, &call);
                if self.core.hang_up_by_name(now, &call) || self.platform.as_mut().is_some_and(is_viewer) {
                    Reply::HangingUp
                } else {
                    Reply::NoSuchCall
                }
            }
            Request::Stop { keep_media: true } if !self.media.can_leave() => Reply::Refused {
                message: "media cannot run on without the daemon: nothing is pinned; set `state` in [relay]"
                    .to_owned(),
            },
            Request::Stop { keep_media } => {
                self.asked = Some(if keep_media { End::Leave } else { End::Stop });
                Reply::Stopping
            }
            Request::Devices => match &self.platform {
                Some(platform) => Reply::Devices { devices: platform.devices(now) },
                None => no_platform(),
            },
            Request::Channels { device } => match &self.platform {
                Some(platform) => match platform.channels(device) {
                    Some(channels) => Reply::Channels { channels },
                    None => no_such_device(device),
                },
                None => no_platform(),
            },
            Request::Play { device, channel, to, ssrc } => {
                let wish = Wish { device, channel, to, ssrc };
                return self.ask_platform(answer, |platform, ask| platform.play(now, ask, &wish));
            }
            Request::Ptz { device, channel, command } => {
                let order = Control::Ptz(command);
                return self.ask_platform(answer, |platform, ask| {
                    platform.control(now, ask, device, channel, order);
                });
            }
            Request::Control { device, channel, order } => {
                let order = control(order);
                return self.ask_platform(answer, |platform, ask| {
                    platform.control(now, ask, device, channel, order);
                });
            }
            Request::Streams => {
                let streams =
                    self.platform.as_ref().map(|platform| platform.streams(now)).unwrap_or_default();
                let filled = self.streams.fill_in(streams);
                tokio::spawn(async move {
                    // The asker may have gone.
                    let _ = answer.send(Answer::Reply(Reply::Streams { streams: filled.await }));
                });
                return;
            }
            Request::Status => {
                let mut report = self.core.report(now);
                for (name, count) in self.sockets.counters().snapshot() {
                    report.counters.insert(name.to_owned(), count);
                }
                report.counters.extend(self.platform.iter().flat_map(Platform::counters));
                let uptime = now.duration_since(self.started);
                let plane = self.media.plane();
                let media = report.calls.iter().map(|(_, media)| *media);
                let sessions = media.map(|media| self.media.session(media?)).collect();
                tokio::spawn(async move {
                    let status = status::collect(report, sessions, uptime, plane).await;
                    // The asker may have gone.
                    let _ = answer.send(Answer::Reply(Reply::Status(Box::new(status))));
                });
                return;
            }
        };
        // The asker may have gone.
        let _ = answer.send(Answer::Reply(reply));
    }

    /// Asks the platform something that it answers later.
    fn ask_platform(&mut self, answer: oneshot::Sender<Answer>, ask: impl FnOnce(&mut Platform, AskId)) {
        let Some(platform) = &mut self.platform else {
            // The asker may have gone.
            let _ = answer.send(Answer::Reply(no_platform()));
            return;
        };
        self.next_ask += 1;
        self.asks.insert(AskId(self.next_ask), answer);
        ask(platform, AskId(self.next_ask));
    }

    /// Does what the core wants, until it wants nothing more.
    fn carry_out(&mut self) {
        loop {
            let effects = self.core.take_effects();
            for request in effects.media {
                self.media.ask(request);
            }
            for id in effects.media_checks {
                self.media.check(id);
            }
            for ended in effects.ended {
                self.media.end(ended);
            }
            let platform = self.platform.as_mut().map(Platform::take_effects).unwrap_or_default();
            for (ask, reply) in platform.answers {
                let Some(answer) = self.asks.remove(&ask) else { continue };
                let gone = answer.send(Answer::Reply(reply)).err();
                if let (Some(Answer::Reply(Reply::Playing(playing))), Some(platform)) =
                    (gone, &mut self.platform)
                {
                    // Nobody knows this viewer's name, so nobody could end it.
                    platform.stop_viewer(Instant::now(), &playing.viewer);
                }
            }
            let mut known_at_once = Vec::new();
            for request in platform.media {
                known_at_once.extend(self.streams.ask(request));
            }
            let is_done =
                effects.transmits.is_empty() && platform.transmits.is_empty() && known_at_once.is_empty();
            if is_done {
                return;
            }
            if let Some(platform) = &mut self.platform {
                for event in known_at_once {
                    platform.media_event(Instant::now(), event);
                }
            }
            for transmit in effects.transmits.into_iter().chain(platform.transmits) {
                if let Some(transaction) = self.sockets.send(transmit) {
                    self.unsent(Instant::now(), transaction);
                }
            }
        }
    }
}

/// The order in the words of the standard.
fn control(order: Order) -> Control {
    match order {
        Order::KeyFrame => Control::KeyFrame,
        Order::Record => Control::Record(true),
        Order::StopRecord => Control::Record(false),
        Order::Guard => Control::Guard(true),
        Order::Unguard => Control::Guard(false),
        Order::ResetAlarm => Control::ResetAlarm,
        Order::Reboot => Control::Reboot,
    }
}

fn no_platform() -> Reply {
    Reply::Refused {
        message: "there is no GB/T 28181 platform: the configuration has no [gb28181]".to_owned(),
    }
}
