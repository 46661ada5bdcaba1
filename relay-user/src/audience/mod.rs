//! What receivers of groups say: how well they receive, that they need a picture, that they leave, or nothing at all any more.
//! No clock, no socket and no table of legs: it is told the time and who speaks. It reports; what is done is the caller's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use relay_common::rtcp::{Compound, Feedback, Packet, ReportBlock};

use crate::event::{Event, Leaving};
use crate::leg::LegId;

/// [`crate::Options::key_frame_interval`] where the caller names no other.
pub(crate) const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);
/// [`crate::Options::receiver_silence`] where the caller names no other: six intervals of RTCP (RFC 3550 section 6.2).
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// A report that is older than this says nothing of what arrives now.
const STALE: Duration = Duration::from_secs(60);

/// How often it is looked who has become silent.
const LOOK: Duration = Duration::from_secs(1);

/// Shortest time between two reports that a receiver is unreachable: its machine may answer to every packet.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// Formats of payload-specific feedback that ask for a picture: picture loss indication (RFC 4585 section 6.3.1), full intra
/// request (RFC 5104 section 4.3.1).
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;

/// How well a receiver says that it receives: its last report (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverQuality {
    /// Part of the packets that were lost between this report and the one before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since it began; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Interarrival jitter, in units of the RTP timestamp.
    pub jitter: u32,
    /// When the report arrived.
    pub at: Instant,
}

/// How well the receivers of a leg say that they receive it. Reports are compared by what was lost, then by jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupQuality {
    /// Receivers that reported within the last minute; the others are not in it.
    pub reporting: usize,
    /// The receiver with the worst report.
    pub worst_receiver: LegId,
    /// That report.
    pub worst: ReceiverQuality,
    /// The report in the middle; with an even number of them, the worse of the two.
    pub median: ReceiverQuality,
}

/// The receivers of all groups that have said anything, and what was asked for on their behalf.
pub(crate) struct Audience {
    key_frame_interval: Duration,
    silence: Option<Duration>,
    listeners: HashMap<LegId, Listener>,
    /// By the leg that the media arrives on.
    requests: HashMap<LegId, Request>,
    /// Those of them that wait for their time.
    waiting: Vec<LegId>,
    /// When receivers were last reported to be unreachable.
    unreachable: HashMap<LegId, Instant>,
    looked: Option<Instant>,
}

/// A receiver that has spoken.
struct Listener {
    source: LegId,
    /// Under which SSRC it speaks.
    ssrc: u32,
    heard: Instant,
    /// Its silence was reported.
    is_silent: bool,
    quality: Option<ReceiverQuality>,
}

/// Key frames that one source was to be asked for.
struct Request {
    last: Instant,
    waits: bool,
}

/// A receiver, and what its stream is called there if that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker {
    pub(crate) receiver: LegId,
    pub(crate) source: LegId,
    pub(crate) stream: Option<u32>,
}

impl Audience {
    /// Nobody has spoken. For each group a key frame is asked for at most once in `key_frame_interval`; whoever spoke and then
    /// says nothing for `silence` is reported.
    pub(crate) fn new(key_frame_interval: Duration, silence: Option<Duration>) -> Self {
        Self {
            key_frame_interval,
            silence,
            listeners: HashMap::new(),
            requests: HashMap::new(),
            waiting: Vec::new(),
            unreachable: HashMap::new(),
            looked: None,
        }
    }

    /// Somebody needs a picture to start from: says so now, or remembers it for when the interval is over.
    pub(crate) fn want_key_frame(&mut self, source: LegId, now: Instant) -> Option<Event> {
        if let Some(request) = self.requests.get_mut(&source)
            && now.saturating_duration_since(request.last) < self.key_frame_interval
        {
            if !std::mem::replace(&mut request.waits, true) {
                self.waiting.push(source);
            }
            return None;
        }
        self.waiting.retain(|other| *other != source);
        self.requests.insert(source, Request { last: now, waits: false });
        Some(Event::KeyFrameWanted { leg: source })
    }

    /// A receiver has sent RTCP.
    pub(crate) fn heard(&mut self, speaker: Speaker, compound: &Compound<'_>, now: Instant) -> Vec<Event> {
        let Speaker { receiver, source, stream } = speaker;
        let ssrc = compound.sender().unwrap_or_default();
        let listener = self.listeners.entry(receiver).or_insert(Listener {
            source,
            ssrc,
            heard: now,
            is_silent: false,
            quality: None,
        });
        (listener.heard, listener.is_silent) = (now, false);
        let known = std::mem::replace(&mut listener.ssrc, ssrc);
        let (mut asks, mut leaves) = (false, false);
        for packet in compound.packets() {
            let block = match packet {
                Packet::SenderReport(report) => about(report.blocks(), stream),
                Packet::ReceiverReport(report) => about(report.blocks(), stream),
                Packet::PayloadFeedback(Feedback { format: PICTURE_LOSS | FULL_INTRA, .. }) => {
                    asks = true;
                    None
                }
                Packet::Goodbye(goodbye) => {
                    leaves |= goodbye.sources().any(|gone| gone == ssrc || gone == known);
                    None
                }
                _ => None,
            };
            if let Some(ReportBlock { fraction_lost, cumulative_lost, jitter, .. }) = block {
                listener.quality = Some(ReceiverQuality { fraction_lost, cumulative_lost, jitter, at: now });
            }
        }
        if leaves {
            self.listeners.remove(&receiver);
            return vec![Event::ReceiverGone { leg: receiver, source, leaving: Leaving::Goodbye }];
        }
        asks.then(|| self.want_key_frame(source, now)).flatten().into_iter().collect()
    }

    /// A packet to a receiver could not be delivered.
    pub(crate) fn unreachable(&mut self, receiver: LegId, source: LegId, now: Instant) -> Option<Event> {
        let is_known = |last: &Instant| now.saturating_duration_since(*last) < UNREACHABLE;
        if self.unreachable.get(&receiver).is_some_and(is_known) {
            return None;
        }
        self.unreachable.insert(receiver, now);
        Some(Event::ReceiverGone { leg: receiver, source, leaving: Leaving::Unreachable })
    }

    /// What has become due: key frames that could not be asked for before, receivers that have become silent.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let (requests, interval) = (&mut self.requests, self.key_frame_interval);
        self.waiting.retain(|source| {
            let Some(request) = requests.get_mut(source).filter(|request| request.waits) else {
                return false;
            };
            let waits = now.saturating_duration_since(request.last) < interval;
            if !waits {
                *request = Request { last: now, waits };
                events.push(Event::KeyFrameWanted { leg: *source });
            }
            waits
        });
        let Some(silence) = self.silence else { return events };
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
            return events;
        }
        self.looked = Some(now);
        for (receiver, listener) in &mut self.listeners {
            if !listener.is_silent && now.saturating_duration_since(listener.heard) >= silence {
                listener.is_silent = true;
                let leaving = Leaving::Silence;
                events.push(Event::ReceiverGone { leg: *receiver, source: listener.source, leaving });
            }
        }
        events
    }

    /// A leg is no receiver any more; `is_last`: its group has ended with it.
    pub(crate) fn left(&mut self, receiver: LegId, source: LegId, is_last: bool) {
        self.listeners.remove(&receiver);
        self.unreachable.remove(&receiver);
        if is_last && let Some(request) = self.requests.get_mut(&source) {
            request.waits = false;
            self.waiting.retain(|other| *other != source);
        }
    }

    /// The receivers of a leg are those of another from now on.
    pub(crate) fn switched(&mut self, source: LegId, next: LegId) {
        for listener in self.listeners.values_mut().filter(|listener| listener.source == source) {
            listener.source = next;
        }
        self.source_gone(source);
    }

    /// The leg of a source is gone.
    pub(crate) fn source_gone(&mut self, source: LegId) {
        if self.requests.remove(&source).is_some() {
            self.waiting.retain(|other| *other != source);
        }
    }

    /// What a receiver reported last.
    pub(crate) fn quality(&self, receiver: LegId) -> Option<ReceiverQuality> {
        self.listeners.get(&receiver)?.quality
    }

    /// What these receivers reported, together; `None` where none did of late.
    pub(crate) fn group_quality(&self, receivers: &[LegId], now: Instant) -> Option<GroupQuality> {
        let recent = |receiver: &LegId| {
            let quality = self.quality(*receiver)?;
            (now.saturating_duration_since(quality.at) < STALE).then_some((*receiver, quality))
        };
        let mut reports: Vec<_> = receivers.iter().filter_map(recent).collect();
        reports
            .sort_unstable_by_key(|(receiver, quality)| (quality.fraction_lost, quality.jitter, *receiver));
        let (worst_receiver, worst) = *reports.last()?;
        let (_, median) = *reports.get(reports.len() / 2)?;
        Some(GroupQuality { reporting: reports.len(), worst_receiver, worst, median })
    }
}

/// The block about a stream; about any, where its name is not known.
fn about(mut blocks: impl Iterator<Item = ReportBlock>, stream: Option<u32>) -> Option<ReportBlock> {
    blocks.find(|block| stream.is_none_or(|ssrc| block.ssrc == ssrc))
}

#[cfg(test)]
mod tests;
