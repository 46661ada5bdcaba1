//! Names of the interfaces that copied packets pass.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::Point;
use crate::shared::Shared;

/// Names that were looked up for one batch of copies, so that the tables are not locked for each.
#[derive(Default)]
pub(super) struct Names(HashMap<(Point, u32), Arc<str>>);

impl Names {
    /// The interface that the packets of a point pass; `arrived_on` is its index, or 0 where it is not known. Not to be
    /// called under the lock of the taps, which is taken before that of the tables.
    pub(super) fn of(&mut self, shared: &Shared, point: Point, arrived_on: u32) -> Arc<str> {
        let name = self.0.entry((point, arrived_on));
        Arc::clone(name.or_insert_with(|| shared.state().tap_interface(point, arrived_on)))
    }
}
