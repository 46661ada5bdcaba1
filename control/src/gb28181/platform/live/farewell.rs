//! Dialogues that are over, as long as the camera may not know it: BYEs get lost, and then media comes to a port that nobody has.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::sip::dialog::Dialog;

/// Least time between two BYEs of one dialogue.
const INTERVAL: Duration = Duration::from_secs(5);

/// Dialogues that are remembered; beyond, the oldest is forgotten.
const MOST: usize = 10_000;

/// Our port, and where the camera is.
type Place = (u16, IpAddr);

/// A dialogue that is over.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) dialog: Dialog,
    told: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Farewells {
    by_place: HashMap<Place, Farewell>,
    order: VecDeque<Place>,
}

impl Farewell {
    /// A dialogue that ends now.
    pub(super) fn new(dialog: Dialog, now: Instant) -> Self {
        Self { dialog, told: now }
    }
}

impl Farewells {
    /// Remembers a dialogue whose BYE was sent now.
    pub(super) fn keep(&mut self, port: u16, source: IpAddr, farewell: Farewell, now: Instant) {
        let place = (port, source);
        if self.by_place.insert(place, Farewell { told: now, ..farewell }).is_none() {
            self.order.push_back(place);
        }
        while self.by_place.len() > MOST {
            let Some(oldest) = self.order.pop_front() else { return };
            self.by_place.remove(&oldest);
        }
    }

    /// The dialogue whose camera sends to a port that nobody has, if it was not told a moment ago.
    pub(super) fn take_due(&mut self, port: u16, source: IpAddr, now: Instant) -> Option<Farewell> {
        let place = (port, source);
        let due = self.by_place.get(&place).is_some_and(|known| now.duration_since(known.told) >= INTERVAL);
        let farewell = due.then(|| self.by_place.remove(&place))??;
        self.order.retain(|known| *known != place);
        Some(farewell)
    }
}
