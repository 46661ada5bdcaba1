//! Copies of packets that workers of this process carry, and no program copies: how they come from the workers, which never
//! wait, to the taps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use relay_common::tap::{LONGEST, TAPS, tap_key};
use tokio::sync::mpsc;

use super::datagram::Datagram;
use super::registry::Point;

/// Copies that may wait, of all taps together; those beyond are lost, and counted for their tap.
const WAITING: usize = 4_096;

/// A copy on its way.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) point: Point,
    pub(super) time: SystemTime,
    pub(super) what: What,
}

/// What was copied.
#[derive(Debug)]
pub(super) enum What {
    /// A frame of so many bytes, of which the first were copied.
    Frame { length: usize, bytes: Box<[u8]> },
    /// What a socket has of a packet.
    Datagram(Datagram),
}

/// Where workers put copies. Cheap to clone. Only packets whose route says that they are tapped come here: a copy takes an
/// allocation, and the reading of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    copies: mpsc::Sender<Copied>,
    losses: Arc<Losses>,
}

/// An inlet, and what comes out of it.
pub(crate) fn inlet() -> (Inlet, Outlet) {
    let (copies, outlet) = mpsc::channel(WAITING);
    (Inlet { copies, losses: Arc::default() }, Outlet(outlet))
}

/// The other end of an inlet.
#[derive(Debug)]
pub(crate) struct Outlet(pub(super) mpsc::Receiver<Copied>);

impl Inlet {
    /// Copies a frame.
    pub(crate) fn frame(&self, point: Point, frame: &[u8]) {
        self.put(point, || What::Frame { length: frame.len(), bytes: beginning(frame) });
    }

    /// Copies what a socket received or sends.
    pub(crate) fn datagram(
        &self,
        point: Point,
        ends: (SocketAddr, SocketAddr),
        traffic_class: u8,
        hops: Option<u8>,
        payload: &[u8],
    ) {
        let (from, to) = ends;
        let (length, payload) = (payload.len(), || beginning(payload));
        self.put(point, || {
            What::Datagram(Datagram { from, to, traffic_class, hops, length, payload: payload() })
        });
    }

    /// What could not be copied.
    pub(super) fn losses(&self) -> &Arc<Losses> {
        &self.losses
    }

    fn put(&self, point: Point, what: impl FnOnce() -> What) {
        match self.copies.try_reserve() {
            Ok(place) => place.send(Copied { point, time: SystemTime::now(), what: what() }),
            Err(_) => self.losses.count(point),
        }
    }
}

/// As many bytes as a copy has at most.
fn beginning(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..LONGEST).unwrap_or(bytes).into()
}

/// Copies that found no place, for each point that is tapped. Workers count, the registry of taps says which points there
/// are.
#[derive(Debug)]
pub(super) struct Losses {
    places: [Place; TAPS as usize],
}

impl Default for Losses {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| Place::default()) }
    }
}

#[derive(Debug, Default)]
struct Place {
    /// 0 while it is free.
    point: AtomicU64,
    lost: AtomicU64,
}

impl Losses {
    /// Counts for a point from now on; whether there is a place for it.
    pub(super) fn begin(&self, point: Point) -> bool {
        if self.place(point).is_some() {
            return true;
        }
        let Some(free) = self.places.iter().find(|place| place.point.load(Ordering::Relaxed) == 0) else {
            return false;
        };
        free.lost.store(0, Ordering::Relaxed);
        free.point.store(word(point), Ordering::Release);
        true
    }

    /// Counts for a point no longer.
    pub(super) fn end(&self, point: Point) {
        if let Some(place) = self.place(point) {
            place.point.store(0, Ordering::Release);
        }
    }

    /// What was lost at a point.
    pub(super) fn at(&self, point: Point) -> u64 {
        self.place(point).map_or(0, |place| place.lost.load(Ordering::Relaxed))
    }

    fn count(&self, point: Point) {
        if let Some(place) = self.place(point) {
            place.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn place(&self, point: Point) -> Option<&Place> {
        let wanted = word(point);
        self.places.iter().find(|place| place.point.load(Ordering::Acquire) == wanted)
    }
}

/// A point in one word, which is never 0: no leg has slot 0.
fn word(point: Point) -> u64 {
    u64::from(point.leg.generation) << 32 | u64::from(tap_key(point.leg.slot, point.direction))
}

#[cfg(test)]
mod tests {
    use super::super::Direction;
    use super::*;
    use crate::leg::LegId;

    fn point(slot: u32, direction: Direction) -> Point {
        Point { leg: LegId { slot, generation: 1 }, direction }
    }

    #[test]
    fn copies_that_find_no_place_are_counted_for_their_point() {
        let (inlet, mut outlet) = inlet();
        let (tapped, other) = (point(1, Direction::In), point(1, Direction::Out));
        assert!(inlet.losses().begin(tapped) && inlet.losses().begin(other) && inlet.losses().begin(tapped));
        for _ in 0..WAITING + 3 {
            inlet.frame(tapped, &[7; 3_000]);
        }
        inlet.frame(other, &[]);
        inlet.frame(point(2, Direction::In), &[]);
        assert_eq!((inlet.losses().at(tapped), inlet.losses().at(other)), (3, 1));
        inlet.losses().end(tapped);
        assert!(inlet.losses().begin(tapped));
        assert_eq!(inlet.losses().at(tapped), 0, "each tap counts its own");
        let Copied { what: What::Frame { length, bytes }, .. } = outlet.0.try_recv().unwrap() else {
            unreachable!()
        };
        assert_eq!((length, bytes.len()), (3_000, LONGEST));
    }

    #[test]
    fn there_are_as_many_places_as_taps() {
        let losses = Losses::default();
        assert!((1..=TAPS).all(|slot| losses.begin(point(slot, Direction::In))));
        assert!(!losses.begin(point(TAPS + 1, Direction::In)));
        losses.end(point(1, Direction::In));
        assert!(losses.begin(point(TAPS + 1, Direction::In)));
    }
}
