//! Lets aya copy the records of the maps.

use crate::address::Ipv6;
use crate::device::{DeviceKey, DeviceOffsets, SlotKey};
use crate::event::Event;
use crate::fan_out::{Block, Bulk, FanDevice, Group, Losses, Receiver, Turn, Witnessed};
use crate::ledger::{Ledger, NeighbourRecord};
use crate::leg::{Addresses6, Admission, Leg, LegDrops, LegHint, Traffic};
use crate::next_hop::NextHop;
use crate::police::Police;
use crate::quality::Quality;
use crate::retag::Retag;
use crate::tap::{TapHeader, Tapped};
use crate::user_traffic::UserTraffic;

// SAFETY: each is a C structure of integers without padding bytes or pointers; every bit pattern is a value of it.
unsafe impl aya::Pod for Leg {}
// SAFETY: as above.
unsafe impl aya::Pod for LegHint {}
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
// SAFETY: as above.
unsafe impl aya::Pod for Addresses6 {}
// SAFETY: as above.
unsafe impl aya::Pod for Police {}
// SAFETY: as above.
unsafe impl aya::Pod for Quality {}
// SAFETY: as above.
unsafe impl aya::Pod for Retag {}
// SAFETY: as above.
unsafe impl aya::Pod for Ipv6 {}
// SAFETY: as above.
unsafe impl aya::Pod for DeviceKey {}
// SAFETY: as above.
unsafe impl aya::Pod for SlotKey {}
// SAFETY: as above.
unsafe impl aya::Pod for DeviceOffsets {}
// SAFETY: as above.
unsafe impl aya::Pod for Group {}
// SAFETY: as above.
unsafe impl aya::Pod for Block {}
// SAFETY: as above.
unsafe impl aya::Pod for Receiver {}
// SAFETY: as above.
unsafe impl aya::Pod for Losses {}
// SAFETY: as above.
unsafe impl aya::Pod for FanDevice {}
// SAFETY: as above.
unsafe impl aya::Pod for Turn {}
// SAFETY: as above.
unsafe impl aya::Pod for Bulk {}
// SAFETY: as above.
unsafe impl aya::Pod for Witnessed {}
