//! Who taps what: the open taps, and the lists of the legs and directions whose packets the kernel half and the workers copy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, MapError};
use relay_common::tap::{Direction, TAPS, Tapped, tap_key};
use tokio::sync::mpsc;

use super::inlet::{Inlet, Losses};
use super::{MOST_TAPS, TapError, TapFrame};
use crate::leg::LegId;
use crate::state::State;

/// Packets that arrive for one leg, as they arrive or as they leave, or that are copied for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    /// The leg that the packets arrive, or are copied, for.
    pub(crate) leg: LegId,
    /// Before or after they are rewritten.
    pub(crate) direction: Direction,
}

impl Point {
    fn key(self) -> u32 {
        tap_key(self.leg.slot, self.direction)
    }
}

/// One open tap.
struct Open {
    number: u64,
    leg: LegId,
    points: Vec<Point>,
    frames: mpsc::Sender<TapFrame>,
    missed: Arc<AtomicU64>,
    /// What had been lost at a point when the tap came to it, and at points that it has left since.
    before: HashMap<Point, u64>,
    lost_elsewhere: u64,
}

/// All open taps. Where the tables are locked too, they are locked first.
pub(crate) struct Taps {
    open: Mutex<Registry>,
}

struct Registry {
    /// Where there is a program that copies.
    tapped: Option<aya::maps::HashMap<MapData, u32, Tapped>>,
    losses: Arc<Losses>,
    taps: Vec<Open>,
    next: u64,
    /// Points whose routes say that they are copied.
    marked: Vec<Point>,
}

impl Taps {
    /// No taps yet. What an earlier process left in the kernel's list is taken out; without a list, no program copies.
    pub(crate) fn new(mut tapped: Option<aya::maps::HashMap<MapData, u32, Tapped>>, inlet: &Inlet) -> Self {
        if let Some(tapped) = &mut tapped {
            let left: Vec<u32> = tapped.keys().filter_map(Result::ok).collect();
            for key in left {
                // Gone already is as good.
                let _ = tapped.remove(&key);
            }
        }
        let losses = Arc::clone(inlet.losses());
        let registry = Registry { tapped, losses, taps: Vec::new(), next: 1, marked: Vec::new() };
        Self { open: Mutex::new(registry) }
    }

    /// Registers a tap at these points and has packets copied there. The routes are still to be marked.
    pub(super) fn open(
        &self,
        leg: LegId,
        points: Vec<Point>,
        frames: mpsc::Sender<TapFrame>,
        missed: Arc<AtomicU64>,
    ) -> Result<u64, TapError> {
        let mut registry = self.lock();
        if registry.taps.len() >= MOST_TAPS {
            return Err(TapError::TooMany);
        }
        let number = registry.next;
        registry.next += 1;
        let width = points.len();
        let open = Open { number, leg, points, frames, missed, before: HashMap::new(), lost_elsewhere: 0 };
        registry.taps.push(open);
        registry.watch(number).map_err(|error| {
            registry.close(number);
            match error {
                Unwatched::Full => TapError::TooWide { leg, points: width, most: TAPS },
                Unwatched::Kernel(error) => TapError::Kernel(error.to_string()),
            }
        })?;
        Ok(number)
    }

    /// Ends a tap. The routes are still to be marked.
    pub(super) fn close(&self, number: u64) {
        self.lock().close(number);
    }

    /// Makes the routes say what is tapped, and follows legs whose streams changed; ends the taps of legs that are gone.
    pub(crate) fn mark(&self, state: &State) {
        let mut registry = self.lock();
        if registry.taps.is_empty() && registry.marked.is_empty() {
            return;
        }
        let numbers: Vec<(u64, LegId)> = registry.taps.iter().map(|tap| (tap.number, tap.leg)).collect();
        for (number, leg) in numbers {
            match state.tap_points(leg) {
                None => registry.close(number),
                Some(points) => registry.move_to(number, points),
            }
        }
        let wanted: Vec<Point> = registry.taps.iter().flat_map(|tap| tap.points.iter().copied()).collect();
        for point in std::mem::take(&mut registry.marked) {
            if !wanted.contains(&point) {
                state.mark_tapped(point, false);
            }
        }
        for point in &wanted {
            state.mark_tapped(*point, true);
        }
        registry.marked = wanted;
    }

    /// What could not be copied, or not be brought here, since the tap was opened.
    pub(super) fn lost_before(&self, number: u64) -> u64 {
        let registry = self.lock();
        let Some(tap) = registry.taps.iter().find(|tap| tap.number == number) else { return 0 };
        tap.points.iter().map(|point| registry.lost_at(tap, *point)).sum::<u64>() + tap.lost_elsewhere
    }

    /// Whether anybody taps the point.
    pub(super) fn has(&self, point: Point) -> bool {
        self.lock().taps.iter().any(|tap| tap.points.contains(&point))
    }

    /// Whether anybody taps the leg.
    pub(super) fn is_open(&self, leg: LegId) -> bool {
        self.lock().taps.iter().any(|tap| tap.leg == leg)
    }

    /// Hands a frame to everybody who taps the point.
    pub(super) fn deliver(&self, point: Point, frame: &TapFrame) {
        self.lock().hand_out(frame, |tap| tap.points.contains(&point));
    }

    /// Hands a frame that came from no leg to everybody who taps the one that it left by.
    pub(super) fn deliver_own(&self, leg: LegId, frame: &TapFrame) {
        self.lock().hand_out(frame, |tap| tap.leg == leg);
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a point cannot be watched.
enum Unwatched {
    /// The lists are full.
    Full,
    Kernel(MapError),
}

impl From<MapError> for Unwatched {
    fn from(error: MapError) -> Self {
        match error {
            MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::E2BIG) => Self::Full,
            other => Self::Kernel(other),
        }
    }
}

impl std::fmt::Display for Unwatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => write!(f, "{TAPS} legs and directions are tapped already"),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl Registry {
    fn hand_out(&self, frame: &TapFrame, is_taker: impl Fn(&Open) -> bool) {
        for taker in self.taps.iter().filter(|tap| is_taker(tap)) {
            if taker.frames.try_send(frame.clone()).is_err() {
                taker.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Has packets copied at every point of a tap.
    fn watch(&mut self, number: u64) -> Result<(), Unwatched> {
        let Some(at) = self.taps.iter().position(|tap| tap.number == number) else { return Ok(()) };
        for point in self.taps[at].points.clone() {
            if !self.losses.begin(point) {
                return Err(Unwatched::Full);
            }
            if let Some(tapped) = &mut self.tapped {
                match tapped.get(&point.key(), 0) {
                    Ok(_) => {}
                    Err(MapError::KeyNotFound) => tapped.insert(point.key(), Tapped::default(), 0)?,
                    Err(error) => return Err(error.into()),
                }
            }
            let lost = self.lost_until_now(point);
            self.taps[at].before.entry(point).or_insert(lost);
        }
        Ok(())
    }

    /// The streams of a tapped leg have changed.
    fn move_to(&mut self, number: u64, points: Vec<Point>) {
        let Some(at) = self.taps.iter().position(|tap| tap.number == number) else { return };
        if self.taps[at].points == points {
            return;
        }
        let left: Vec<Point> =
            self.taps[at].points.iter().copied().filter(|point| !points.contains(point)).collect();
        for point in &left {
            let lost = self.lost_at(&self.taps[at], *point);
            self.taps[at].lost_elsewhere += lost;
            self.taps[at].before.remove(point);
        }
        self.taps[at].points = points;
        self.forget(&left);
        if let Err(error) = self.watch(number) {
            tracing::warn!(leg = %self.taps[at].leg, %error, "a tap cannot follow its leg");
        }
    }

    fn close(&mut self, number: u64) {
        let Some(at) = self.taps.iter().position(|tap| tap.number == number) else { return };
        let closed = self.taps.swap_remove(at);
        self.forget(&closed.points);
    }

    /// Takes points out of the lists that nobody taps any more.
    fn forget(&mut self, points: &[Point]) {
        for point in points {
            if !self.taps.iter().any(|tap| tap.points.contains(point)) {
                self.losses.end(*point);
                if let Some(tapped) = &mut self.tapped {
                    // Gone already is as good.
                    let _ = tapped.remove(&point.key());
                }
            }
        }
    }

    fn lost_at(&self, tap: &Open, point: Point) -> u64 {
        let before = tap.before.get(&point).copied().unwrap_or_default();
        self.lost_until_now(point).saturating_sub(before)
    }

    /// What was lost at a point since somebody taps it: by the kernel half, and by workers.
    fn lost_until_now(&self, point: Point) -> u64 {
        let tapped = self.tapped.as_ref().and_then(|tapped| tapped.get(&point.key(), 0).ok());
        tapped.map_or(0, |tapped| tapped.lost) + self.losses.at(point)
    }
}
