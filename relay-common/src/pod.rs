//! Lets aya copy the records of the maps.

use crate::event::Event;
use crate::ledger::{Ledger, NeighbourRecord};
use crate::leg::{Admission, Leg, LegDrops, Traffic};
use crate::next_hop::NextHop;
use crate::tap::{TapHeader, Tapped};
use crate::user_traffic::UserTraffic;

// SAFETY: each is a C structure of integers without padding bytes or pointers; every bit pattern is a value of it.
unsafe impl aya::Pod for Leg {}
// SAFETY: as above.
unsafe impl aya::Pod for Admission {}
// SAFETY: as above.
unsafe impl aya::Pod for Traffic {}
// SAFETY: as above.
unsafe impl aya::Pod for LegDrops {}
// SAFETY: as above.
unsafe impl aya::Pod for NextHop {}
// SAFETY: as above.
unsafe impl aya::Pod for Event {}
// SAFETY: as above.
unsafe impl aya::Pod for TapHeader {}
// SAFETY: as above.
unsafe impl aya::Pod for Tapped {}
// SAFETY: as above.
unsafe impl aya::Pod for Ledger {}
// SAFETY: as above.
unsafe impl aya::Pod for NeighbourRecord {}
// SAFETY: as above.
unsafe impl aya::Pod for UserTraffic {}
