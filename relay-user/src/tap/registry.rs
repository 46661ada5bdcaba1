//! Who taps what: the open taps, and the kernel's list of the legs and directions whose packets it copies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, MapError};
use relay_common::tap::{Direction, TAPS, Tapped, tap_key};
use tokio::sync::mpsc;

use super::{MOST_TAPS, TapError, TapFrame};
use crate::leg::LegId;
use crate::state::State;

/// Packets that arrive for one leg, as they arrive or as they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    /// The leg that the packets arrive for.
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
    /// What the kernel had lost at a point when the tap came to it, and at points that it has left since.
    before: HashMap<Point, u64>,
    lost_elsewhere: u64,
}

/// All open taps. Where the tables are locked too, they are locked first.
pub(crate) struct Taps {
    open: Mutex<Registry>,
}

struct Registry {
    tapped: aya::maps::HashMap<MapData, u32, Tapped>,
    taps: Vec<Open>,
    next: u64,
    /// Points whose routes say that they are copied.
    marked: Vec<Point>,
}

impl Taps {
    /// No taps yet. What an earlier process left in the kernel's list is taken out.
    pub(crate) fn new(mut tapped: aya::maps::HashMap<MapData, u32, Tapped>) -> Self {
        let left: Vec<u32> = tapped.keys().filter_map(Result::ok).collect();
        for key in left {
            // Gone already is as good.
            let _ = tapped.remove(&key);
        }
        let registry = Registry { tapped, taps: Vec::new(), next: 1, marked: Vec::new() };
        Self { open: Mutex::new(registry) }
    }

    /// Registers a tap at these points and has the kernel copy there. The routes are still to be marked.
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
                MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::E2BIG) => {
                    TapError::TooWide { leg, points: width, most: TAPS }
                }
                other => TapError::Kernel(other.to_string()),
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

    /// What the kernel could not copy since the tap was opened.
    pub(super) fn lost_in_kernel(&self, number: u64) -> u64 {
        let registry = self.lock();
        let Some(tap) = registry.taps.iter().find(|tap| tap.number == number) else { return 0 };
        tap.points.iter().map(|point| registry.lost_at(tap, *point)).sum::<u64>() + tap.lost_elsewhere
    }

    /// Whether anybody taps the point.
    pub(super) fn has(&self, point: Point) -> bool {
        self.lock().taps.iter().any(|tap| tap.points.contains(&point))
    }

    /// Hands a frame to everybody who taps the point.
    pub(super) fn deliver(&self, point: Point, frame: &TapFrame) {
        for taker in self.lock().taps.iter().filter(|tap| tap.points.contains(&point)) {
            if taker.frames.try_send(frame.clone()).is_err() {
                taker.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Has the kernel copy at every point of a tap.
    fn watch(&mut self, number: u64) -> Result<(), MapError> {
        let Some(at) = self.taps.iter().position(|tap| tap.number == number) else { return Ok(()) };
        for point in self.taps[at].points.clone() {
            let lost = match self.tapped.get(&point.key(), 0) {
                Ok(tapped) => tapped.lost,
                Err(MapError::KeyNotFound) => {
                    self.tapped.insert(point.key(), Tapped::default(), 0)?;
                    0
                }
                Err(error) => return Err(error),
            };
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

    /// Takes points out of the kernel's list that nobody taps any more.
    fn forget(&mut self, points: &[Point]) {
        for point in points {
            if !self.taps.iter().any(|tap| tap.points.contains(point)) {
                // Gone already is as good.
                let _ = self.tapped.remove(&point.key());
            }
        }
    }

    fn lost_at(&self, tap: &Open, point: Point) -> u64 {
        let now = self.tapped.get(&point.key(), 0).map_or(0, |tapped| tapped.lost);
        now.saturating_sub(tap.before.get(&point).copied().unwrap_or_default())
    }
}
