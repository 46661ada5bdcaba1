//! Viewers come and go.

use std::net::SocketAddr;
use std::time::Instant;

use super::{MediaEvent, MediaRequest, State, Stream, StreamId, Viewer, ViewerId};
use crate::admin::{Playing, Reply};
use crate::gb28181::id::DeviceId;
use crate::gb28181::platform::{AskId, Deadline, Platform};
use crate::gb28181::ssrc::Ssrc;

/// What a viewer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The device; `None`: the one that has the channel.
    pub device: Option<DeviceId>,
    /// The channel.
    pub channel: DeviceId,
    /// Where RTP is to be sent.
    pub to: SocketAddr,
    /// The SSRC that it is to have; `None`: one that is ours to choose.
    pub ssrc: Option<u32>,
}

impl Platform {
    /// Somebody wants to watch. The answer comes when the camera sends, or will not.
    pub fn play(&mut self, now: Instant, ask: AskId, wish: &Wish) {
        let device = match self.device_of(wish) {
            Ok(device) => device,
            Err(reply) => return self.effects.answers.push((ask, reply)),
        };
        let key = (device, wish.channel);
        let known = self.streams.by_channel.get(&key).copied();
        let id = known.unwrap_or_else(|| self.open_stream(now, device, wish.channel));
        let name = u64::from_str_radix(&self.identifiers.token(), 16).unwrap_or_default();
        let ssrc = wish.ssrc.map_or_else(|| self.streams.ssrcs.take(), Ssrc);
        let viewer =
            Viewer { id: ViewerId(name), to: wish.to, ssrc, local: None, asker: Some(ask), hints: 0 };
        self.streams.viewers.insert(viewer.id, id);
        self.counters.count("gb28181_viewers");
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        stream.viewers.push(viewer);
        if stream.local.is_some() {
            self.join(id, &viewer);
        }
        self.stay(id);
        if self.streams.by_id.get(&id).is_some_and(|stream| matches!(stream.state, State::Waiting)) {
            // Who asks now is not to wait for the end of a pause that others wait for.
            self.invite(now, id);
        }
    }

    /// A viewer is to get no more; says whether there is such a viewer.
    pub fn stop_viewer(&mut self, now: Instant, name: &str) -> bool {
        let id = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16).map(ViewerId);
        let Some((id, stream)) = id.and_then(|id| Some((id, *self.streams.viewers.get(&id)?))) else {
            return false;
        };
        self.remove_viewer(now, stream, id);
        true
    }

    /// The device that a wish is for, if it can be fulfilled.
    fn device_of(&self, wish: &Wish) -> Result<DeviceId, Reply> {
        if self.config.relay.is_none() {
            let message = "media cannot be relayed: the configuration has no [relay]".to_owned();
            return Err(Reply::Refused { message });
        }
        self.owner(wish.device, wish.channel)
    }

    /// The device that a channel is of, if it is there. A device may be named as a channel of its own.
    pub(in crate::gb28181::platform) fn owner(
        &self,
        device: Option<DeviceId>,
        channel: DeviceId,
    ) -> Result<DeviceId, Reply> {
        let has = |id: &DeviceId| {
            *id == channel
                || self.devices.get(id).is_some_and(|device| device.channels.contains_key(&channel))
        };
        let mut owners: Vec<DeviceId> = match device {
            Some(device) => vec![device],
            None => self.devices.keys().filter(|id| has(id)).copied().collect(),
        };
        if owners.len() > 1 {
            owners.retain(|id| self.devices.get(id).is_some_and(|device| device.online));
        }
        match owners.as_slice() {
            [] => Err(Reply::NoSuchChannel {
                message: format!(
                    "no device has a channel {channel}; `culvert channels` lists those of a device"
                ),
            }),
            [device] => match self.devices.get(device) {
                None => Err(no_such_device(*device)),
                Some(known) if !known.online => {
                    Err(Reply::Refused { message: format!("the device {device} is offline") })
                }
                Some(_) => Ok(*device),
            },
            several => {
                let names: Vec<String> = several.iter().map(ToString::to_string).collect();
                let names = names.join(", ");
                let message = format!("several devices have a channel {channel}: say which of {names}");
                Err(Reply::Refused { message })
            }
        }
    }

    fn open_stream(&mut self, now: Instant, device: DeviceId, channel: DeviceId) -> StreamId {
        self.streams.next += 1;
        let id = StreamId(self.streams.next);
        let stream = Stream {
            id,
            device,
            channel,
            ssrc: self.streams.ssrcs.take(),
            answered_ssrc: None,
            state: State::Opening,
            viewers: Vec::new(),
            local: None,
            call_id: None,
            started: now,
            invites: 0,
            failures: 0,
            timer: None,
            check: None,
        };
        self.streams.by_id.insert(id, Box::new(stream));
        self.streams.by_channel.insert((device, channel), id);
        self.counters.count("gb28181_streams");
        if let Some(device) = self.devices.get(&device) {
            let camera = device.flow.remote().ip();
            self.effects.media.push(MediaRequest::Open { stream: id, camera });
        }
        id
    }

    fn join(&mut self, stream: StreamId, viewer: &Viewer) {
        let Viewer { id, to, ssrc, .. } = *viewer;
        self.effects.media.push(MediaRequest::Join { stream, viewer: id, to, ssrc });
    }

    /// Somebody watches: the stream does not end for lack of viewers.
    fn stay(&mut self, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        if matches!(stream.state, State::Running(_))
            && let Some(timer) = stream.timer.take()
        {
            self.timers.cancel(timer);
        }
    }

    /// The data plane has something to say.
    pub fn media_event(&mut self, now: Instant, event: MediaEvent) {
        match event {
            MediaEvent::Opened { stream, local } => self.opened(now, stream, local),
            MediaEvent::Joined { stream, viewer, local } => self.joined(now, stream, viewer, local),
            MediaEvent::Silent { stream, time } => self.silent(now, stream, time),
            MediaEvent::KeyFrameWanted { stream } => self.ask_for_key_frame(now, stream),
            MediaEvent::ViewerGone { stream, viewer, is_hint } => {
                self.viewer_gone(now, stream, viewer, is_hint);
            }
            MediaEvent::Orphan { port, source } => self.orphan(now, port, source),
        }
    }

    fn opened(&mut self, now: Instant, id: StreamId, local: Result<SocketAddr, String>) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else {
            // It has ended meanwhile.
            return self.effects.media.push(MediaRequest::Close { stream: id });
        };
        match local {
            Ok(local) => {
                stream.local = Some(local);
                for viewer in stream.viewers.clone() {
                    self.join(id, &viewer);
                }
                self.invite(now, id);
            }
            Err(why) => {
                self.counters.count("gb28181_streams_without_media");
                self.fail_askers(id, &Reply::Refused { message: why });
                self.close_stream(id);
            }
        }
    }

    fn joined(&mut self, now: Instant, id: StreamId, viewer: ViewerId, local: Result<SocketAddr, String>) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let is_running = matches!(stream.state, State::Running(_));
        let Some(known) = stream.viewers.iter_mut().find(|known| known.id == viewer) else { return };
        match local {
            Ok(local) => {
                known.local = Some(local);
                if is_running {
                    self.tell_askers(id);
                }
            }
            Err(why) => {
                self.counters.count("gb28181_viewers_refused");
                let asker = known.asker.take();
                if let Some(ask) = asker {
                    self.refuse_ask(ask, format!("the viewer {}: {why}", known_address(self, id, viewer)));
                }
                self.remove_viewer(now, id, viewer);
            }
        }
    }

    /// Answers who waits for a stream that runs.
    pub(super) fn tell_askers(&mut self, id: StreamId) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let (device, channel) = (stream.device, stream.channel);
        for viewer in &mut stream.viewers {
            let Some(from) = viewer.local else { continue };
            let Some(ask) = viewer.asker.take() else { continue };
            let playing = Playing {
                viewer: viewer.id.to_string(),
                device,
                channel,
                from,
                to: viewer.to,
                ssrc: viewer.ssrc.0,
            };
            self.effects.answers.push((ask, Reply::Playing(Box::new(playing))));
        }
    }

    /// Tells who waits that nothing comes, and forgets them; those who watched before stay.
    pub(super) fn fail_askers(&mut self, id: StreamId, reply: &Reply) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let waiting: Vec<(ViewerId, AskId)> =
            stream.viewers.iter_mut().filter_map(|viewer| Some((viewer.id, viewer.asker.take()?))).collect();
        for (viewer, ask) in waiting {
            self.effects.answers.push((ask, reply.clone()));
            self.forget_viewer(id, viewer);
        }
    }

    pub(in crate::gb28181::platform) fn refuse_ask(&mut self, ask: AskId, message: String) {
        self.effects.answers.push((ask, Reply::Refused { message }));
    }

    fn viewer_gone(&mut self, now: Instant, id: StreamId, viewer: ViewerId, is_hint: bool) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some(known) = stream.viewers.iter_mut().find(|known| known.id == viewer) else { return };
        known.hints = known.hints.saturating_add(1);
        // A viewer that starts anew is unreachable for a moment; the data plane says so at most every ten seconds.
        if is_hint && known.hints < 2 {
            return;
        }
        self.counters.count("gb28181_viewers_gone");
        tracing::info!(%viewer, to = %known.to, channel = %stream.channel, "viewer gone");
        self.remove_viewer(now, id, viewer);
    }

    /// A viewer leaves; after the last, the stream ends in a while.
    fn remove_viewer(&mut self, now: Instant, id: StreamId, viewer: ViewerId) {
        self.forget_viewer(id, viewer);
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        if !stream.viewers.is_empty() {
            return;
        }
        match stream.state {
            State::Running(_) => {
                let timer = self.timers.set(now + self.settings.linger, Deadline::Stream(id));
                if let Some(old) = stream.timer.replace(timer) {
                    self.timers.cancel(old);
                }
            }
            State::Opening | State::Inviting { .. } | State::Waiting => {
                self.end_stream(now, id, "nobody watches");
            }
        }
    }

    fn forget_viewer(&mut self, id: StreamId, viewer: ViewerId) {
        self.streams.viewers.remove(&viewer);
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some(at) = stream.viewers.iter().position(|known| known.id == viewer) else { return };
        let gone = stream.viewers.remove(at);
        self.streams.ssrcs.put_back(gone.ssrc);
        if let Some(ask) = gone.asker {
            self.refuse_ask(ask, "stopped before it began".to_owned());
        }
        self.effects.media.push(MediaRequest::Leave { stream: id, viewer });
    }
}

/// The answer to who asks for a device that never came.
#[must_use]
pub fn no_such_device(device: DeviceId) -> Reply {
    let message = format!("no device {device} has registered; `culvert devices` lists those that have");
    Reply::NoSuchDevice { message }
}

/// Where a viewer is, for people.
fn known_address(platform: &Platform, stream: StreamId, viewer: ViewerId) -> String {
    let stream = platform.streams.by_id.get(&stream);
    let viewer = stream.and_then(|stream| stream.viewers.iter().find(|known| known.id == viewer));
    viewer.map(|viewer| viewer.to.to_string()).unwrap_or_default()
}
