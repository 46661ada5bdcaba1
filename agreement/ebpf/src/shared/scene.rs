//! The surroundings of one frame: every record that the decision core may look at, small enough to be made anew for each
//! frame, and to be compared afterwards.

use core::hint::black_box;

use relay_common::address::Ipv6;
use relay_common::decide::{Plane, Subject};
use relay_common::leg::{Addresses6, Admission, Leg, LegKey};
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};

/// Places for legs; place 0 is no leg. A power of two: indexes are cut to it by a mask, so that the kernel's verifier
/// sees that they are in range.
pub const LEGS: usize = 4;

/// Words of [`Scene::answers`].
pub const ANSWERS: usize = 8;

/// Words of a whole scene, the map of payload types aside.
pub const WORDS: usize = size_of::<Scene>() / 8;

/// The records.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Scene {
    /// What the core answered; the meaning of each word is told by `examine`.
    pub answers: [u64; ANSWERS],
    /// Legs, by index.
    pub legs: [Leg; LEGS],
    /// The same for what only some packets need.
    pub admissions: [Admission; LEGS],
    /// The same for their IPv6 addresses.
    pub addresses: [Addresses6; LEGS],
    /// The one record of quality, whatever the leg.
    pub quality: Quality,
    /// The one limit.
    pub police: Police,
    /// The one way of retagging.
    pub retag: Retag,
    /// The one next hop.
    pub hop: NextHop,
    /// What time it is.
    pub now: u64,
    /// The first leg of every bucket.
    pub first: u32,
    /// 1 if every address is one of ours.
    pub local: u32,
    /// The last event that was told, 0 for none.
    pub event: u32,
    /// What it was about.
    pub subject: Subject,
    /// Zero.
    pub reserved: [u64; 4],
    /// The one table of payload types. Set once, by the user side.
    pub payload_map: PayloadMap,
}

/// A scene as the core sees it.
pub struct Stage(pub *mut Scene);

impl Stage {
    #[inline(always)]
    fn slot(index: u32) -> Option<usize> {
        // The compiler would know from the comparison that the mask changes nothing, and leave it out; the verifier does not
        // follow every comparison.
        if index as usize >= LEGS { None } else { Some(black_box(index) as usize & (LEGS - 1)) }
    }
}

// SAFETY: every pointer is to a field of the scene, which outlives the stage and is aligned to what its fields need.
unsafe impl Plane for Stage {
    #[inline(always)]
    fn guess(&self, _: LegKey) -> u32 {
        // SAFETY: as above, here and in all that follows.
        unsafe { (*self.0).first }
    }

    #[inline(always)]
    fn bucket(&self, _: LegKey) -> Option<u32> {
        // SAFETY: as in `guess`.
        Some(unsafe { (*self.0).first })
    }

    #[inline(always)]
    fn leg(&self, index: u32) -> Option<*mut Leg> {
        // SAFETY: the index was cut to the array.
        Self::slot(index).map(|slot| unsafe { (&raw mut (*self.0).legs).cast::<Leg>().add(slot) })
    }

    #[inline(always)]
    fn admission(&self, index: u32) -> Option<*const Admission> {
        // SAFETY: as in `leg`.
        Self::slot(index)
            .map(|slot| unsafe { (&raw const (*self.0).admissions).cast::<Admission>().add(slot) })
    }

    #[inline(always)]
    fn addresses6(&self, index: u32) -> Option<*mut Addresses6> {
        // SAFETY: as in `leg`.
        Self::slot(index).map(|slot| unsafe { (&raw mut (*self.0).addresses).cast::<Addresses6>().add(slot) })
    }

    #[inline(always)]
    fn next_hop(&self, _: u32) -> Option<*const NextHop> {
        // SAFETY: as in `bucket`.
        Some(unsafe { &raw const (*self.0).hop })
    }

    #[inline(always)]
    fn police(&self, _: u32) -> Option<*mut Police> {
        // SAFETY: as in `bucket`.
        Some(unsafe { &raw mut (*self.0).police })
    }

    #[inline(always)]
    fn quality(&self, _: u32) -> Option<*mut Quality> {
        // SAFETY: as in `bucket`.
        Some(unsafe { &raw mut (*self.0).quality })
    }

    #[inline(always)]
    fn retag(&self, _: u32) -> Option<*mut Retag> {
        // SAFETY: as in `bucket`.
        Some(unsafe { &raw mut (*self.0).retag })
    }

    #[inline(always)]
    fn payload_map(&self, _: u32) -> Option<*const PayloadMap> {
        // SAFETY: as in `bucket`.
        Some(unsafe { &raw const (*self.0).payload_map })
    }

    #[inline(always)]
    fn is_local(&self, _: &Ipv6) -> bool {
        // SAFETY: as in `bucket`.
        unsafe { (*self.0).local == 1 }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: as in `bucket`.
        unsafe { (*self.0).now }
    }

    #[inline(always)]
    fn coarse_now(&self) -> u64 {
        self.now()
    }

    #[inline(always)]
    unsafe fn exchange(&self, word: *mut u64, old: u64, new: u64) -> Result<(), u64> {
        // SAFETY: a word of the scene, by the caller's promise; nobody else has the scene.
        unsafe {
            if *word != old {
                return Err(*word);
            }
            *word = new;
        }
        Ok(())
    }

    #[inline(always)]
    fn notify(&self, kind: u32, leg: u32, subject: &Subject) {
        // SAFETY: as in `bucket`.
        unsafe {
            (*self.0).event = kind << 16 | leg;
            (*self.0).subject = *subject;
        }
    }
}
