//! Between the GB/T 28181 platform and the media plane: streams become broadcasts. Each stream has a task of its own that does one
//! thing after the other, so that neither the platform nor another stream waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay_user::{Event, Leaving, LegId, Relay};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::media::Plane;
use super::status;
use crate::admin;
use crate::gb28181::platform::{MediaEvent, MediaRequest, StreamId, ViewerId};
use crate::session::{BroadcastReport, Receiver, Sender, SessionCore, SessionId};

/// Requests of one stream, and events of all, that may wait.
const QUEUE: usize = 1_024;

/// PS, and every video that the standard has.
const CLOCK_RATE: u32 = 90_000;

/// Why nothing can be relayed.
const NO_RELAY: &str = "media cannot be relayed: the configuration has no [relay]";

/// The streams of the daemon.
pub(super) struct Streams {
    plane: Option<Plane>,
    known: Known,
    tasks: HashMap<StreamId, mpsc::Sender<MediaRequest>>,
    sender: mpsc::Sender<MediaEvent>,
    events: mpsc::Receiver<MediaEvent>,
}

/// Which broadcast and which legs belong to which stream and viewer.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Register>>);

#[derive(Default)]
struct Register {
    broadcasts: HashMap<StreamId, SessionId>,
    sources: HashMap<LegId, StreamId>,
    viewers: HashMap<LegId, (StreamId, ViewerId)>,
}

impl Streams {
    pub(super) fn new(plane: Option<Plane>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let known = Known::default();
        if let Some(plane) = &plane {
            tokio::spawn(listen(plane.relay.clone(), known.clone(), sender.clone()));
        }
        Self { plane, known, tasks: HashMap::new(), sender, events }
    }

    /// The next event. Never ends, and may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<MediaEvent> {
        self.events.recv().await
    }

    /// Has a request carried out; says what is known at once.
    pub(super) fn ask(&mut self, request: MediaRequest) -> Option<MediaEvent> {
        let stream = stream_of(&request);
        if let MediaRequest::Open { .. } = request {
            let Some(plane) = self.plane.clone() else {
                return Some(MediaEvent::Opened { stream, local: Err(NO_RELAY.to_owned()) });
            };
            let (requests, queue) = mpsc::channel(QUEUE);
            tokio::spawn(work(plane.sessions, stream, queue, self.known.clone(), self.sender.clone()));
            self.tasks.insert(stream, requests);
        }
        let task = self.tasks.get(&stream)?;
        let refused = task.try_send(request).is_err();
        if let MediaRequest::Close { .. } = request {
            // Its task ends when its queue is empty.
            self.tasks.remove(&stream);
        }
        match request {
            MediaRequest::Join { viewer, .. } if refused => {
                let local = Err("too much is to be done for this stream; try again".to_owned());
                Some(MediaEvent::Joined { stream, viewer, local })
            }
            _ => None,
        }
    }

    /// Adds what the data plane counted.
    pub(super) fn fill_in(
        &self,
        streams: Vec<(StreamId, admin::Stream)>,
    ) -> impl Future<Output = Vec<admin::Stream>> + Send + 'static {
        let (plane, known) = (self.plane.clone(), self.known.clone());
        async move {
            let mut filled = Vec::with_capacity(streams.len());
            for (id, mut stream) in streams {
                let broadcast = known.lock().broadcasts.get(&id).copied();
                if let (Some(plane), Some(broadcast)) = (&plane, broadcast)
                    && let Some(report) = plane.sessions.broadcast(broadcast).await
                {
                    add(&mut stream, &report, &known.legs(id));
                }
                filled.push(stream);
            }
            filled
        }
    }
}

fn stream_of(request: &MediaRequest) -> StreamId {
    match *request {
        MediaRequest::Open { stream, .. }
        | MediaRequest::CameraAt { stream, .. }
        | MediaRequest::Join { stream, .. }
        | MediaRequest::Leave { stream, .. }
        | MediaRequest::Listen { stream }
        | MediaRequest::Close { stream } => stream,
    }
}

/// Does what a stream wants, until it is closed or the daemon ends.
async fn work(
    sessions: SessionCore<Relay>,
    stream: StreamId,
    mut requests: mpsc::Receiver<MediaRequest>,
    known: Known,
    events: mpsc::Sender<MediaEvent>,
) {
    let mut broadcast = None;
    while let Some(request) = requests.recv().await {
        let event = match (request, broadcast) {
            (MediaRequest::Open { camera, .. }, _) => {
                let sender = Sender { address: camera, clock_rate: CLOCK_RATE };
                let local = match sessions.open(sender).await {
                    Ok((id, local, leg)) => {
                        broadcast = Some(id);
                        let mut register = known.lock();
                        register.broadcasts.insert(stream, id);
                        register.sources.insert(leg, stream);
                        Ok(local.rtp)
                    }
                    Err(error) => Err(error.to_string()),
                };
                Some(MediaEvent::Opened { stream, local })
            }
            (MediaRequest::CameraAt { address, moves, .. }, Some(id)) => {
                if let Err(error) = sessions.sender_is(id, address, moves).await {
                    tracing::warn!(%address, %error, "the camera's address is not taken");
                }
                None
            }
            (MediaRequest::Join { viewer, to, ssrc, .. }, Some(id)) => {
                let local = match sessions.join(id, Receiver { address: to, ssrc: ssrc.0 }).await {
                    Ok((leg, local)) => {
                        known.lock().viewers.insert(leg, (stream, viewer));
                        Ok(local)
                    }
                    Err(error) => Err(error.to_string()),
                };
                Some(MediaEvent::Joined { stream, viewer, local })
            }
            (MediaRequest::Leave { viewer, .. }, Some(id)) => {
                if let Some(leg) = known.take_viewer(stream, viewer) {
                    // It may have left with the stream.
                    let _ = sessions.leave(id, leg).await;
                }
                None
            }
            (MediaRequest::Listen { .. }, Some(id)) => {
                let report = sessions.broadcast(id).await;
                report.map(|report| MediaEvent::Silent { stream, time: report.sender.idle })
            }
            (MediaRequest::Close { .. }, _) => break,
            (_, None) => None,
        };
        if let Some(event) = event {
            // Nobody listens when the daemon stops.
            let _ = events.send(event).await;
        }
    }
    known.forget(stream);
    if let Some(id) = broadcast {
        // Nothing else ends it.
        let _ = sessions.close(id).await;
    }
}

/// Passes on what the data plane reports of streams, until it ends.
async fn listen(relay: Relay, known: Known, events: mpsc::Sender<MediaEvent>) {
    let mut reports = relay.subscribe();
    loop {
        let event = match reports.recv().await {
            Ok(Event::KeyFrameWanted { leg }) => {
                known.stream(leg).map(|stream| MediaEvent::KeyFrameWanted { stream })
            }
            Ok(Event::ReceiverGone { leg, leaving, .. }) => known.viewer(leg).map(|(stream, viewer)| {
                MediaEvent::ViewerGone { stream, viewer, is_hint: leaving == Leaving::Unreachable }
            }),
            Ok(Event::Orphan { local, source, .. }) => {
                Some(MediaEvent::Orphan { port: local.port(), source: source.ip() })
            }
            // What was missed comes again, as long as it lasts.
            Ok(_) | Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

fn add(stream: &mut admin::Stream, report: &BroadcastReport, legs: &HashMap<String, String>) {
    let counts = |list: &[(&'static str, u64)]| {
        list.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    };
    let sender = &report.sender;
    stream.source = sender.source.filter(|source| source.port() != 0);
    (stream.received, stream.received_bytes) = (sender.received, sender.received_bytes);
    stream.dropped = counts(&sender.dropped);
    stream.quality = sender.quality.filter(|quality| quality.packets > 0).map(status::quality);
    for viewer in &mut stream.viewers {
        let leg = legs.get(&viewer.viewer);
        let Some(counted) = report.receivers.iter().find(|counted| Some(&counted.leg) == leg) else {
            continue;
        };
        viewer.leg = Some(counted.leg.clone());
        (viewer.sent, viewer.sent_bytes) = (counted.statistics.sent, counted.statistics.sent_bytes);
        viewer.lost = counts(&counted.statistics.lost);
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Register> {
        // The data behind the lock is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self, leg: LegId) -> Option<StreamId> {
        self.lock().sources.get(&leg).copied()
    }

    fn viewer(&self, leg: LegId) -> Option<(StreamId, ViewerId)> {
        self.lock().viewers.get(&leg).copied()
    }

    /// The legs of a stream's viewers, by the viewers' names.
    fn legs(&self, stream: StreamId) -> HashMap<String, String> {
        let register = self.lock();
        let viewers = register.viewers.iter().filter(|(_, (of, _))| *of == stream);
        viewers.map(|(leg, (_, viewer))| (viewer.to_string(), leg.to_string())).collect()
    }

    fn take_viewer(&self, stream: StreamId, viewer: ViewerId) -> Option<LegId> {
        let mut register = self.lock();
        let found = register.viewers.iter().find(|(_, place)| **place == (stream, viewer));
        let leg = found.map(|(leg, _)| *leg)?;
        register.viewers.remove(&leg);
        Some(leg)
    }

    fn forget(&self, stream: StreamId) {
        let mut register = self.lock();
        register.broadcasts.remove(&stream);
        register.sources.retain(|_, of| *of != stream);
        register.viewers.retain(|_, (of, _)| *of != stream);
    }
}
