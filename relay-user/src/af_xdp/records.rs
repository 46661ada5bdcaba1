//! The records of legs as a worker reaches them: the very memory that the XDP program uses.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_common::address::Ipv6;
use relay_common::byte_order::Be16;
use relay_common::decide::{Plane, Subject};
use relay_common::event::Event;
use relay_common::leg::{Addresses6, Admission, Leg, LegDrops, LegKey, Traffic, traffic_index};
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::Drop;
use tokio::sync::mpsc;

use crate::kernel::SharedArray;
use crate::rtcp::Inbox;

/// Everything that a packet needs that the program has admitted, and charged to its leg's limits, before it punted it.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) legs: SharedArray<Leg>,
    pub(crate) admissions: SharedArray<Admission>,
    pub(crate) addresses6: SharedArray<Addresses6>,
    pub(crate) next_hops: SharedArray<NextHop>,
    pub(crate) quality: SharedArray<Quality>,
    pub(crate) retags: SharedArray<Retag>,
    pub(crate) payload_maps: SharedArray<PayloadMap>,
    pub(crate) drops: SharedArray<LegDrops>,
    pub(crate) user_traffic: SharedArray<UserTraffic>,
    /// Where events go; one that finds it full is lost, as one that finds the program's ring full.
    pub(crate) events: mpsc::Sender<Event>,
    /// Where RTCP goes that ends here.
    pub(crate) rtcp: Inbox,
    /// Measures in the place of this CPU. The program does not measure what it punts, so it is nobody else's.
    pub(crate) cpu: u32,
}

impl Records {
    /// The generation of a leg, if its slot exists.
    pub(crate) fn generation(&self, leg: u32) -> Option<u32> {
        let admission = self.admissions.pointer(leg)?;
        // SAFETY: the pointer is valid for as long as `self`; volatile, because others write to it.
        Some(unsafe { (&raw const (*admission).generation).read_volatile() })
    }

    /// Counts a packet that was sent on for a leg.
    pub(crate) fn sent(&self, leg: u32, bytes: usize) {
        if leg < self.user_traffic.length() {
            let at = offset_of!(UserTraffic, af_xdp);
            let add =
                |field, more| self.user_traffic.word64(leg, at + field).fetch_add(more, Ordering::Relaxed);
            add(offset_of!(Traffic, packets), 1);
            add(offset_of!(Traffic, bytes), bytes as u64);
        }
    }

    /// Counts a packet that was dropped.
    pub(crate) fn dropped(&self, leg: u32, reason: Drop, bytes: usize) {
        if leg < self.drops.length() {
            let add = |field, more| self.drops.word64(leg, field).fetch_add(more, Ordering::Relaxed);
            add(offset_of!(LegDrops, packets) + reason as usize * size_of::<u64>(), 1);
            add(offset_of!(LegDrops, bytes), bytes as u64);
        }
    }
}

fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the structure, which outlives the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

// SAFETY: every pointer comes from a mapping that lives as long as `self`, and is aligned as the mapping's elements are.
unsafe impl Plane for Records {
    /// The program has found the leg.
    fn bucket(&self, _: LegKey) -> Option<u32> {
        None
    }

    fn leg(&self, index: u32) -> Option<*mut Leg> {
        self.legs.pointer(index)
    }

    fn admission(&self, index: u32) -> Option<*const Admission> {
        self.admissions.pointer(index).map(<*mut _>::cast_const)
    }

    fn addresses6(&self, index: u32) -> Option<*mut Addresses6> {
        self.addresses6.pointer(index)
    }

    fn next_hop(&self, index: u32) -> Option<*const NextHop> {
        self.next_hops.pointer(index).map(<*mut _>::cast_const)
    }

    /// The program has charged the packet.
    fn police(&self, _: u32) -> Option<*mut Police> {
        None
    }

    fn quality(&self, index: u32) -> Option<*mut Quality> {
        if index >= self.legs.length() {
            return None;
        }
        self.quality.pointer(traffic_index(self.cpu, self.legs.length(), index))
    }

    fn retag(&self, index: u32) -> Option<*mut Retag> {
        self.retags.pointer(index)
    }

    fn payload_map(&self, index: u32) -> Option<*const PayloadMap> {
        self.payload_maps.pointer(index).map(<*mut _>::cast_const)
    }

    /// The program has looked at the source.
    fn is_local(&self, _: &Ipv6) -> bool {
        false
    }

    fn now(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC)
    }

    fn coarse_now(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC_COARSE)
    }

    unsafe fn exchange(&self, word: *mut u64, old: u64, new: u64) -> Result<(), u64> {
        // SAFETY: an aligned word of a record by the caller's promise, and every writer treats it as an atomic.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).map(|_| ())
    }

    fn notify(&self, kind: u32, leg: u32, subject: &Subject) {
        let Some(generation) = self.generation(leg) else { return };
        let ports = subject.ports.get();
        let [source_port, local_port] = [ports >> 16, ports & 0xffff].map(|port| {
            // Both halves have sixteen bits.
            Be16::new(u16::try_from(port).unwrap_or_default())
        });
        let event = Event {
            kind,
            leg,
            generation,
            next_hop: subject.next_hop,
            source: subject.source,
            local: subject.local,
            source_port,
            local_port,
            ssrc: subject.ssrc,
        };
        // Full: lost, as the kernel half's are; the user half also looks for itself.
        let _ = self.events.try_send(event);
    }
}
