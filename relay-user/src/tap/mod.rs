//! Taps: copies of the packets of chosen legs, as they arrive and as they leave, because packets that the relay
//! forwards never show in a capture tool on this machine.

mod copies;
mod datagram;
mod inlet;
mod names;
pub mod pcapng;
mod registry;
mod ring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

pub(crate) use copies::start as start_copies;
pub(crate) use inlet::{Inlet, inlet};
pub(crate) use registry::{Point, Taps};
pub use relay_common::tap::Direction;
#[cfg(fuzzing)]
pub(crate) use ring::captured;
pub(crate) use ring::start;

use crate::leg::LegId;
use crate::shared::Shared;
use datagram::Datagram;

/// Taps that may be open at the same time.
pub const MOST_TAPS: usize = 16;

/// Frames that wait for the reader of one tap; those beyond are lost, and counted.
const WAITING: usize = 4_096;

/// Why a leg cannot be tapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// The leg is not installed.
    #[error("leg {0} is not installed; `culvert status` lists those that are")]
    NoLeg(LegId),
    /// Too many taps are open.
    #[error("{MOST_TAPS} taps are open already; end one of them first")]
    TooMany,
    /// The leg sends what more legs receive than can be watched at the same time.
    #[error("leg {leg} sends what {points} legs receive; at most {most} can be watched at the same time")]
    TooWide {
        /// The leg.
        leg: LegId,
        /// Legs and directions that would have to be watched.
        points: usize,
        /// How many there may be, all taps together.
        most: u32,
    },
    /// The kernel refused.
    #[error("the kernel refused the tap: {0}")]
    Kernel(String),
}

/// One copied frame. Of a packet that went through sockets, or through the network stack, the headers are made of what is
/// known of them: MAC addresses are zero, and what was fragmented is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapFrame {
    /// Whether it arrived from the leg's remote side or left towards it.
    pub direction: Direction,
    /// Name of the interface that it arrived on or leaves by; empty where the interface is gone.
    pub interface: Arc<str>,
    /// When.
    pub time: SystemTime,
    /// Its length on the wire, from the Ethernet header on.
    pub length: u32,
    /// Its first bytes: all of them up to 2,048.
    pub bytes: Box<[u8]>,
}

/// An open tap. It ends when it is dropped; [`Tap::next`] ends when the leg is removed.
pub struct Tap {
    leg: LegId,
    number: u64,
    frames: mpsc::Receiver<TapFrame>,
    missed: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("leg", &self.leg).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl Tap {
    /// Opens a tap.
    pub(crate) fn open(shared: &Arc<Shared>, leg: LegId) -> Result<Self, TapError> {
        let points = shared.state().tap_points(leg).ok_or(TapError::NoLeg(leg))?;
        let (sender, frames) = mpsc::channel(WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let taps = &shared.taps;
        let number = taps.open(leg, points, sender, Arc::clone(&missed))?;
        let tap = Self { leg, number, frames, missed, shared: Arc::clone(shared) };
        taps.mark(&shared.state());
        Ok(tap)
    }

    /// The leg.
    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// The next frame; `None` when the leg is gone. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<TapFrame> {
        self.frames.recv().await
    }

    /// The next frame, if one is waiting.
    pub fn try_next(&mut self) -> Option<TapFrame> {
        self.frames.try_recv().ok()
    }

    /// Frames that could not be copied until now, because the ring, the queue of the workers or that of this tap was full.
    pub fn lost(&self) -> u64 {
        self.missed.load(Ordering::Relaxed) + self.shared.taps.lost_before(self.number)
    }
}

/// Shows a datagram that the relay itself sent by a leg, such as a report, to whoever taps that leg.
pub(crate) fn show_own(shared: &Shared, leg: LegId, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    if !shared.taps.is_open(leg) {
        return;
    }
    let length = payload.len();
    let datagram = Datagram { from, to, traffic_class: 0, hops: None, length, payload: payload.into() };
    let (bytes, length) = datagram.frame();
    // The one towards the remote side of the leg. Not under the lock of the taps.
    let interface = shared.state().tap_interface(Point { leg, direction: Direction::In }, 0);
    let frame = TapFrame { direction: Direction::Out, interface, time: SystemTime::now(), length, bytes };
    shared.taps.deliver_own(leg, &frame);
}

impl Drop for Tap {
    fn drop(&mut self) {
        let taps = &self.shared.taps;
        taps.close(self.number);
        taps.mark(&self.shared.state());
    }
}
