//! Taps: copies of the packets of chosen legs, as they arrive and as they leave, because packets that the relay
//! forwards never show in a capture tool on this machine.

pub mod pcapng;
mod registry;
mod ring;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

pub(crate) use registry::{Point, Taps};
pub use relay_common::tap::Direction;
#[cfg(fuzzing)]
pub(crate) use ring::captured;
pub(crate) use ring::start;

use crate::leg::LegId;
use crate::shared::Shared;

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
    /// There is no program that copies packets.
    #[error(
        "sockets forward here, and only XDP copies packets for taps; `tcpdump` sees what sockets receive and send"
    )]
    NeedsXdp,
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

/// One copied frame.
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
        let taps = shared.taps.as_ref().ok_or(TapError::NeedsXdp)?;
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

    /// Frames that could not be copied until now, because the ring or the queue of this tap was full.
    pub fn lost(&self) -> u64 {
        let in_kernel = self.shared.taps.as_ref().map_or(0, |taps| taps.lost_in_kernel(self.number));
        self.missed.load(Ordering::Relaxed) + in_kernel
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(taps) = &self.shared.taps {
            taps.close(self.number);
            taps.mark(&self.shared.state());
        }
    }
}
