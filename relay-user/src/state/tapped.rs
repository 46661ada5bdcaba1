//! What taps need of the tables: where a leg's packets can be seen, and the marks on its routes that have them copied.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use relay_common::leg::route;
use relay_common::tap::Direction;

use super::State;
use crate::leg::LegId;
use crate::tap::Point;

/// The marks that taps set; whoever writes a route keeps them.
pub(super) const MARKS: u32 = route::TAPPED_IN | route::TAPPED_OUT;

impl State {
    /// Where the packets of a leg can be seen: those that arrive for it, and those that leave by it, which arrived for
    /// its feeders, or are copied for it as a receiver. `None` if the leg is not installed.
    pub(crate) fn tap_points(&self, leg: LegId) -> Option<Vec<Point>> {
        let installed = self.leg(leg)?;
        let mut points = vec![Point { leg, direction: Direction::In }];
        points.extend(installed.ingress.iter().map(|leg| Point { leg: *leg, direction: Direction::Out }));
        points.extend(installed.source.map(|_| Point { leg, direction: Direction::Copied }));
        Some(points)
    }

    /// Has the kernel half copy, or no longer copy, the packets of a point. A leg that is gone needs nothing.
    pub(crate) fn mark_tapped(&self, point: Point, tapped: bool) {
        if self.leg(point.leg).is_none() {
            return;
        }
        let mark = match point.direction {
            Direction::In => route::TAPPED_IN,
            Direction::Out => route::TAPPED_OUT,
            Direction::Copied => return self.fan_out.mark_tapped(point.leg.slot, tapped),
        };
        let word = self.route_word(point.leg);
        if tapped {
            word.fetch_or(mark, Ordering::Relaxed);
        } else {
            word.fetch_and(!mark, Ordering::Relaxed);
        }
    }

    /// Name of the interface that the packets of a point pass: the one of this index if they arrive, or with index 0 the one
    /// towards their sender, and the one towards who receives them if they leave. Empty where there is none.
    pub(crate) fn tap_interface(&self, point: Point, arrived_on: u32) -> Arc<str> {
        let index = match point.direction {
            Direction::In if arrived_on != 0 => Some(arrived_on),
            Direction::In | Direction::Copied => {
                let hop = self.leg(point.leg).and_then(|leg| leg.hop);
                hop.and_then(|hop| self.next_hops.via(hop)).map(|via| via.interface)
            }
            Direction::Out => self.leaves_by(point.leg),
        };
        let name = index.and_then(|index| self.next_hops.interface_name(index));
        Arc::from(name.unwrap_or_default())
    }

    fn leaves_by(&self, leg: LegId) -> Option<u32> {
        let egress = self.leg(self.leg(leg)?.egress?)?;
        Some(self.next_hops.via(egress.hop?)?.interface)
    }
}
