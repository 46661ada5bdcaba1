//! Between calls and the media plane: session descriptions become sessions and come back readdressed.
//!
//! Each request is worked on in a task of its own and answered by an event, so that the core never waits. Requests of
//! one media session follow each other, because its call asks one at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use relay_user::{Backend, ModeChoice, Relay, RtcpMode, SourcePolicy};
use tokio::sync::mpsc;

use super::orphans::Orphans;
use super::{adopted, log};
use crate::config::{self, Config, DEFAULT_STATE, RelayMode, Rtcp, Source, State};
use crate::session::{
    LegPolicy, Network, PortError, SessionCore, SessionError, SessionId, SessionOptions, Side as SessionSide,
};
use crate::sip::call::{Ended, MediaId, MediaOperation, MediaRefusal, MediaReply, MediaRequest, Side};
use crate::sip::media::{describe, readdress};
use crate::sip::sdp::{Sdp, SdpError};

/// Events that wait for the engine.
const EVENTS: usize = 1_024;

/// How long the sessions that are left may take to end when the daemon stops.
const STOP: Duration = Duration::from_secs(2);

/// Why the media plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data plane cannot start.
    #[error("[relay]: {}", with_causes(.0))]
    Relay(#[from] relay_user::StartError),
    /// An address of a network is not ours.
    #[error(
        "[[network]] {name}: address {address}: {error}; it must be an address of the interface {interface}: `ip address show dev {interface}` lists those that are"
    )]
    Address {
        /// The network.
        name: String,
        /// Its address.
        address: std::net::IpAddr,
        /// Its interface.
        interface: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The range of ports holds no pair.
    #[error(transparent)]
    Ports(#[from] PortError),
}

/// What the media plane reports.
pub(super) enum MediaEvent {
    /// An answer for a call, and the session, if it is new.
    Reply(MediaReply, Option<Session>),
    /// How long a session has been silent.
    Silence(MediaId, Option<Duration>),
    /// A session has ended.
    Done,
}

/// A media session as its call knows it, and as the session core does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The called side made the first offer (an INVITE without one): to the session core it is the caller.
    pub(super) swapped: bool,
}

impl Session {
    fn side(self, side: Side) -> SessionSide {
        match (side, self.swapped) {
            (Side::Caller, false) | (Side::Called, true) => SessionSide::Caller,
            (Side::Called, false) | (Side::Caller, true) => SessionSide::Callee,
        }
    }

    /// The call's name for a side of the session core.
    pub(super) fn name(self, side: SessionSide) -> Side {
        if self.side(Side::Caller) == side { Side::Caller } else { Side::Called }
    }
}

/// The data plane and the sessions over it.
#[derive(Clone)]
pub(super) struct Plane {
    pub(super) relay: Relay,
    pub(super) orphans: Orphans,
    pub(super) sessions: SessionCore<Relay>,
    /// Where maps and links are pinned.
    pub(super) state: Option<PathBuf>,
}

/// The media plane of the daemon; in direct mode there is none.
pub(super) struct MediaPlane {
    plane: Option<Plane>,
    known: HashMap<MediaId, Session>,
    sender: mpsc::Sender<MediaEvent>,
    events: mpsc::Receiver<MediaEvent>,
    /// Tasks whose event is still to come.
    under_way: usize,
}

impl MediaPlane {
    /// Attaches the data plane, if the configuration has one.
    pub(super) async fn start(config: &Config) -> Result<Self, StartError> {
        let plane = match &config.relay {
            Some(relay) => Some(attach(config, relay).await?),
            None => None,
        };
        if let (Some(plane), Some(relay)) = (&plane, &config.relay) {
            tokio::spawn(adopted::watch(plane.clone(), relay.media_timeout));
        }
        let (sender, events) = mpsc::channel(EVENTS);
        Ok(Self { plane, known: HashMap::new(), sender, events, under_way: 0 })
    }

    /// The next event. Never ends, and may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<MediaEvent> {
        let event = self.events.recv().await?;
        self.under_way = self.under_way.saturating_sub(1);
        if let MediaEvent::Reply(reply, Some(session)) = &event {
            self.known.insert(reply.id, *session);
        }
        Some(event)
    }

    /// Works on a session description; [`MediaEvent::Reply`] follows.
    pub(super) fn ask(&mut self, request: MediaRequest) {
        let known = self.known.get(&request.id).copied();
        let (plane, sender) = (self.plane.clone(), self.sender.clone());
        self.under_way += 1;
        tokio::spawn(async move {
            let id = request.id;
            let (result, session) = match plane {
                Some(plane) => negotiate(&plane.sessions, known, request).await,
                None => (Err(refusal(503, "there is no [relay]")), None),
            };
            // Nobody listens when the daemon stops.
            let _ = sender.send(MediaEvent::Reply(MediaReply { id, result }, session)).await;
        });
    }

    /// Looks how long a session has been silent; [`MediaEvent::Silence`] follows.
    pub(super) fn check(&mut self, id: MediaId) {
        let Some((plane, session)) = self.plane.clone().zip(self.known.get(&id).copied()) else { return };
        let sender = self.sender.clone();
        self.under_way += 1;
        tokio::spawn(async move {
            let silence = plane.sessions.idle(session.id).await;
            let _ = sender.send(MediaEvent::Silence(id, silence)).await;
        });
    }

    /// Ends the sessions of a call, then logs the call.
    pub(super) fn end(&mut self, ended: Ended) {
        let used = ended.media.and_then(|id| self.known.remove(&id));
        let unused: Vec<_> = ended.unused_media.iter().filter_map(|id| self.known.remove(id)).collect();
        let Some(plane) = self.plane.clone().filter(|_| used.is_some() || !unused.is_empty()) else {
            return log::ended(&ended.record, None);
        };
        let sender = self.sender.clone();
        self.under_way += 1;
        tokio::spawn(async move {
            for session in unused {
                // A session that has ended already has nothing left to end.
                let _ = plane.sessions.end(session.id).await;
            }
            let report = match used {
                Some(session) => plane.sessions.end(session.id).await.ok().map(|report| (session, report)),
                None => None,
            };
            log::ended(&ended.record, report.as_ref());
            let _ = sender.send(MediaEvent::Done).await;
        });
    }

    /// Whether nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.under_way == 0
    }

    /// What `culvert status` looks at.
    pub(super) fn plane(&self) -> Option<Plane> {
        self.plane.clone()
    }

    /// The session of a call's media.
    pub(super) fn session(&self, id: MediaId) -> Option<Session> {
        self.known.get(&id).copied()
    }

    /// Ends what is left and detaches the data plane.
    pub(super) async fn stop(mut self) {
        let Some(plane) = self.plane.take() else { return };
        let left = std::mem::take(&mut self.known);
        let end = async {
            for session in left.into_values() {
                // It may have ended meanwhile.
                let _ = plane.sessions.end(session.id).await;
            }
        };
        // What has not ended by then ends with the data plane.
        let _ = tokio::time::timeout(STOP, end).await;
        if let Err(error) = plane.relay.stop() {
            tracing::warn!(%error, "the state folder cannot be emptied");
        }
    }

    /// Whether media can run on without this daemon.
    pub(super) fn can_leave(&self) -> bool {
        self.plane.as_ref().is_none_or(|plane| plane.state.is_some())
    }

    /// Leaves media running for the next daemon.
    pub(super) fn leave(self) {
        if let Some(plane) = &self.plane {
            plane.relay.leave();
        }
    }

    /// The daemon cannot start: leaves what a daemon before it left, or nothing.
    pub(super) fn abandon(self) {
        let Some(plane) = &self.plane else { return };
        if !plane.relay.adopted().is_empty() {
            plane.relay.leave();
        } else if let Err(error) = plane.relay.stop() {
            tracing::warn!(%error, "the state folder cannot be emptied");
        }
    }
}

/// Makes the state folder ready, while there is the privilege to mount the file system that it takes.
pub(super) fn prepare_state(relay: &mut config::Relay) -> Result<(), StartError> {
    let folder = match &relay.state {
        State::None => return Ok(()),
        State::Default => Path::new(DEFAULT_STATE),
        State::Folder(folder) => folder,
    };
    match relay_user::prepare_state(folder) {
        Ok(()) => Ok(()),
        Err(error) if relay.state == State::Default => {
            tracing::warn!(%error, "media ends with the daemon");
            relay.state = State::None;
            Ok(())
        }
        Err(error) => Err(relay_user::StartError::from(error).into()),
    }
}

async fn attach(config: &Config, relay: &config::Relay) -> Result<Plane, StartError> {
    for network in &config.networks {
        // Only an address of ours can be bound.
        std::net::UdpSocket::bind((network.address, 0)).map_err(|error| StartError::Address {
            name: network.name.clone(),
            address: network.address,
            interface: network.interface.clone(),
            error,
        })?;
    }
    let state = match &relay.state {
        // Sockets end with the process: nothing is left to be found again.
        _ if relay.mode == RelayMode::User => None,
        State::None => None,
        State::Default => Some(PathBuf::from(DEFAULT_STATE)),
        State::Folder(folder) => Some(folder.clone()),
    };
    let options = relay_user::Options {
        interfaces: relay.interfaces.clone(),
        mode: match relay.mode {
            RelayMode::Auto => ModeChoice::Auto,
            RelayMode::Native => ModeChoice::Native,
            RelayMode::Generic => ModeChoice::Generic,
            RelayMode::User => ModeChoice::User,
        },
        legs: relay.legs,
        ports: vec![relay.ports.first..=relay.ports.last],
        state: state.clone(),
        punt_frames: relay.punt_frames,
        ..relay_user::Options::default()
    };
    let attached = Relay::start(&options).await?;
    if let Backend::User { reason } = attached.backend() {
        tracing::info!(why = reason, "media is forwarded by sockets");
    }
    for interface in attached.interfaces() {
        tracing::info!(interface = interface.name, mode = %interface.mode, why = interface.reason, "XDP program attached");
    }
    let networks = config.networks.iter().map(|network| Network {
        name: network.name.clone(),
        interface: network.interface.clone(),
        address: network.address,
        advertise: (network.advertise != network.address).then_some(network.advertise),
        vlan: network.vlan,
    });
    let options = SessionOptions {
        networks: networks.collect(),
        ports: relay.ports.first..=relay.ports.last,
        quarantine: relay.quarantine,
        legs: LegPolicy {
            source: match relay.source {
                Source::Pinned => SourcePolicy::Pinned,
                Source::LearnPort => SourcePolicy::LearnPort,
                Source::Learn => SourcePolicy::Learn,
            },
            relearn_after: relay.relearn_after,
            quality: relay.quality,
            limit: relay.limit,
            rtcp: match relay.rtcp {
                Rtcp::Relay => RtcpMode::Relay,
                Rtcp::Terminate => RtcpMode::Terminate,
            },
        },
        most_sessions: config.sip.limits.calls,
    };
    let sessions = SessionCore::new(attached.clone(), options)?;
    let adopted = attached.adopted();
    for (_, leg) in &adopted {
        sessions.hold_port(leg.local);
    }
    if !adopted.is_empty() {
        tracing::info!(legs = adopted.len(), "media of a daemon before this one runs on");
    }
    let orphans = Orphans::default();
    orphans.listen(&attached);
    Ok(Plane { sessions, relay: attached, orphans, state })
}

async fn negotiate(
    sessions: &SessionCore<Relay>,
    known: Option<Session>,
    request: MediaRequest,
) -> (Result<Bytes, MediaRefusal>, Option<Session>) {
    let text = match &request.operation {
        MediaOperation::Offer { description, .. } | MediaOperation::Answer { description, .. } => description,
    };
    let (mut sdp, description) =
        match Sdp::parse(text).and_then(|sdp| describe(&sdp).map(|media| (sdp, media))) {
            Ok(read) => read,
            Err(error) => return (Err(malformed(&error)), None),
        };
    let mut made = None;
    let local = match (&request.operation, known) {
        (MediaOperation::Offer { by, .. }, None) => {
            let swapped = *by == Side::Called;
            let (caller, called) = (request.caller, request.called);
            let (offering, other) = if swapped { (called, caller) } else { (caller, called) };
            sessions.offer(offering, other, &description).await.map(|(id, local)| {
                made = Some(Session { id, swapped });
                local
            })
        }
        (MediaOperation::Offer { by, .. }, Some(session)) => {
            sessions.reoffer(session.id, session.side(*by), &description).await
        }
        (MediaOperation::Answer { .. }, Some(session)) => sessions.answer(session.id, &description).await,
        (MediaOperation::Answer { .. }, None) => {
            return (Err(refusal(488, "an answer without an offer")), None);
        }
    };
    let result = local.map_err(|error| refused(&error)).and_then(|local| {
        readdress(&mut sdp, &local).map_err(|error| malformed(&error))?;
        Ok(sdp.to_bytes())
    });
    (result, made)
}

fn malformed(error: &SdpError) -> MediaRefusal {
    refusal(488, &error.to_string())
}

/// 503 where trying later may help, 480 where the terminal cannot be reached, 488 where the description is at fault.
fn refused(error: &SessionError) -> MediaRefusal {
    let status = match error {
        _ if error.is_overload() => 503,
        SessionError::Network(_) | SessionError::Unreachable { .. } => 480,
        SessionError::MediaCount { .. } | SessionError::NoOffer { .. } => 488,
        _ => 503,
    };
    refusal(status, &with_causes(error))
}

fn refusal(status: u16, warning: &str) -> MediaRefusal {
    MediaRefusal { status, warning: warning.to_owned() }
}

/// An error and everything behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}
