//! How workers of this process reach the records of legs when they decide about packets: the memory that is shared with
//! the kernel half, or, where there is none, this process's own.

use std::io;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_common::address::Ipv6;
use relay_common::byte_order::Be16;
use relay_common::decide::{Plane, Subject};
use relay_common::event::{Event, SOURCE_LEARNED};
use relay_common::ledger::Ledger;
use relay_common::leg::{Addresses6, Admission, Leg, LegDrops, LegKey, Traffic, traffic_index};
use relay_common::limits::{BUCKETS_PER_RECORD, EVENT_INTERVAL_NS, NEXT_HOPS, PAYLOAD_MAPS, leg_buckets};
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::Drop;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::kernel::{BucketRecord, SharedArray};
use crate::leg::LegId;
use crate::local_addresses::LocalAddresses;
use crate::tap::{Direction, Inlet, Point};

/// The records that a worker decides by and counts in.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) buckets: SharedArray<BucketRecord>,
    pub(crate) legs: SharedArray<Leg>,
    pub(crate) admissions: SharedArray<Admission>,
    pub(crate) addresses6: SharedArray<Addresses6>,
    pub(crate) next_hops: SharedArray<NextHop>,
    pub(crate) police: SharedArray<Police>,
    pub(crate) quality: SharedArray<Quality>,
    pub(crate) retags: SharedArray<Retag>,
    pub(crate) payload_maps: SharedArray<PayloadMap>,
    pub(crate) drops: SharedArray<LegDrops>,
    pub(crate) user_traffic: SharedArray<UserTraffic>,
}

/// Everything that the kernel's maps hold of legs, in this process's own memory.
pub(crate) struct Memory {
    pub(crate) records: Records,
    pub(crate) traffic: SharedArray<Traffic>,
    pub(crate) ledger: SharedArray<Ledger>,
}

impl Memory {
    /// Room for so many legs, with a stretch of the records that are counted by CPU for each of `workers`, and one more, as
    /// the maps have it.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(crate) fn for_legs(legs: u32, workers: u32) -> io::Result<Self> {
        // Index 0 means "none".
        let slots = legs.saturating_add(1);
        let stretches = slots.saturating_mul(workers.saturating_add(1));
        let records = Records {
            buckets: SharedArray::anonymous(leg_buckets(legs) / BUCKETS_PER_RECORD)?,
            legs: SharedArray::anonymous(slots)?,
            admissions: SharedArray::anonymous(slots)?,
            addresses6: SharedArray::anonymous(slots)?,
            next_hops: SharedArray::anonymous(NEXT_HOPS)?,
            police: SharedArray::anonymous(slots)?,
            quality: SharedArray::anonymous(stretches)?,
            retags: SharedArray::anonymous(slots)?,
            payload_maps: SharedArray::anonymous(PAYLOAD_MAPS)?,
            drops: SharedArray::anonymous(slots)?,
            user_traffic: SharedArray::anonymous(slots)?,
        };
        let traffic = SharedArray::anonymous(stretches)?;
        Ok(Self { records, traffic, ledger: SharedArray::anonymous(slots)? })
    }
}

/// What one worker decides with.
#[derive(Clone)]
pub(crate) struct UserPlane {
    pub(crate) records: Records,
    /// The stretch of the quality records that this worker alone writes, as a CPU's number.
    pub(crate) stretch: u32,
    pub(crate) local_addresses: LocalAddresses,
    /// Where events go; one that finds no room is lost, like one of the kernel half.
    pub(crate) events: mpsc::Sender<Event>,
    /// Where copies of tapped packets go.
    pub(crate) taps: Inlet,
}

impl UserPlane {
    /// Where packets of a leg are tapped; `None` if its slot is not there.
    pub(crate) fn tap_point(&self, slot: u32, direction: Direction) -> Option<Point> {
        Some(Point { leg: LegId { slot, generation: self.generation(slot)? }, direction })
    }

    /// Counts packets that were sent on for a leg; `offset` is that of the path's member of [`UserTraffic`].
    pub(crate) fn count_sent(&self, leg: u32, offset: usize, packets: u64, bytes: u64) {
        if self.records.user_traffic.pointer(leg).is_none() {
            return;
        }
        let word = |member| self.records.user_traffic.word64(leg, offset + member);
        word(offset_of!(Traffic, packets)).fetch_add(packets, Ordering::Relaxed);
        word(offset_of!(Traffic, bytes)).fetch_add(bytes, Ordering::Relaxed);
    }

    /// The life that a slot is in; `None` for a slot that is not there.
    pub(crate) fn generation(&self, leg: u32) -> Option<u32> {
        self.records.admissions.pointer(leg)?;
        let word = self.records.admissions.word32(leg, offset_of!(Admission, generation));
        Some(word.load(Ordering::Relaxed))
    }

    /// Whether the sender of a leg's packets may be told something now: at most once a second, whoever tells it.
    pub(crate) fn may_answer(&self, leg: u32) -> bool {
        if self.records.drops.pointer(leg).is_none() {
            return false;
        }
        let last = self.records.drops.word64(leg, offset_of!(LegDrops, last_answer));
        let (now, before) = (self.coarse_now(), last.load(Ordering::Relaxed));
        if before != 0 && now.saturating_sub(before) < EVENT_INTERVAL_NS {
            return false;
        }
        last.store(now, Ordering::Relaxed);
        true
    }

    /// Counts packets that were dropped for a leg.
    pub(crate) fn count_dropped(&self, leg: u32, reason: Drop, packets: u64, bytes: u64) {
        if self.records.drops.pointer(leg).is_none() {
            return;
        }
        let place = offset_of!(LegDrops, packets) + reason as usize * size_of::<u64>();
        self.records.drops.word64(leg, place).fetch_add(packets, Ordering::Relaxed);
        self.records.drops.word64(leg, offset_of!(LegDrops, bytes)).fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: the pointers lead into mapped arrays that live as long as `self.records`, each aligned by the mapping and the
// size of its record; every writer treats the aligned words of records as atomics.
unsafe impl Plane for UserPlane {
    fn bucket(&self, key: LegKey) -> Option<u32> {
        // A power of two, as the table's one writer laid it out.
        let mask = (self.records.buckets.length() * BUCKETS_PER_RECORD).checked_sub(1)?;
        let bucket = key.bucket(mask);
        self.records.buckets.pointer(bucket / BUCKETS_PER_RECORD)?;
        let lane = (bucket % BUCKETS_PER_RECORD) as usize * size_of::<u32>();
        let word = self.records.buckets.word32(bucket / BUCKETS_PER_RECORD, lane);
        Some(word.load(Ordering::Acquire))
    }

    fn leg(&self, index: u32) -> Option<*mut Leg> {
        self.records.legs.pointer(index)
    }

    fn admission(&self, index: u32) -> Option<*const Admission> {
        self.records.admissions.pointer(index).map(<*mut Admission>::cast_const)
    }

    fn addresses6(&self, index: u32) -> Option<*mut Addresses6> {
        self.records.addresses6.pointer(index)
    }

    fn next_hop(&self, index: u32) -> Option<*const NextHop> {
        self.records.next_hops.pointer(index).map(<*mut NextHop>::cast_const)
    }

    fn police(&self, index: u32) -> Option<*mut Police> {
        self.records.police.pointer(index)
    }

    fn quality(&self, index: u32) -> Option<*mut Quality> {
        self.records.quality.pointer(traffic_index(self.stretch, self.records.legs.length(), index))
    }

    fn retag(&self, index: u32) -> Option<*mut Retag> {
        self.records.retags.pointer(index)
    }

    fn payload_map(&self, index: u32) -> Option<*const PayloadMap> {
        self.records.payload_maps.pointer(index).map(<*mut PayloadMap>::cast_const)
    }

    fn is_local(&self, address: &Ipv6) -> bool {
        self.local_addresses.contains(address)
    }

    fn now(&self) -> u64 {
        nanoseconds(ClockId::Monotonic)
    }

    fn coarse_now(&self) -> u64 {
        nanoseconds(ClockId::MonotonicCoarse)
    }

    unsafe fn exchange(&self, word: *mut u64, old: u64, new: u64) -> Result<(), u64> {
        // SAFETY: an aligned word of a record by the caller's promise, and every writer treats it as an atomic.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).map(|_| ())
    }

    /// As the kernel half does it: at most one a second for each leg, but for sources that were learned.
    fn notify(&self, kind: u32, leg: u32, subject: &Subject) {
        let Some(generation) = self.generation(leg) else { return };
        if self.records.drops.pointer(leg).is_none() {
            return;
        }
        if kind != SOURCE_LEARNED {
            let now = self.coarse_now();
            let last = self.records.drops.word64(leg, offset_of!(LegDrops, last_event));
            let before = last.load(Ordering::Relaxed);
            if before != 0 && now.saturating_sub(before) < EVENT_INTERVAL_NS {
                return;
            }
            last.store(now, Ordering::Relaxed);
        }
        let [a, b, c, d] = subject.ports.wire().to_ne_bytes();
        let event = Event {
            kind,
            leg,
            generation,
            next_hop: subject.next_hop,
            source: subject.source,
            local: subject.local,
            source_port: Be16::from_wire(u16::from_ne_bytes([a, b])),
            local_port: Be16::from_wire(u16::from_ne_bytes([c, d])),
            ssrc: subject.ssrc,
        };
        // A full queue loses it: the control side also looks for itself.
        let _ = self.events.try_send(event);
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // CLOCK_MONOTONIC counts from the start of the machine.
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
