//! Events for the user half: never more than one a second for each leg, and none that blocks.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use relay_common::byte_order::Be16;
use relay_common::decide::Subject;
use relay_common::event::{Event, ORPHAN, SOURCE_LEARNED};
use relay_common::limits::{EVENT_INTERVAL_NS, ORPHAN_INTERVAL_NS};

use crate::maps;

/// Sends an event about a datagram that arrived for leg `index`. A full ring loses it: the user half also looks for itself.
///
/// Kept out of the fast path's registers.
#[inline(never)]
pub(crate) fn send(kind: u32, index: u32, subject: &Subject) {
    let Some(drops) = maps::LEG_DROPS.get_ptr_mut(index) else { return };
    let Some(admission) = maps::ADMISSIONS.get(index) else { return };
    // SAFETY: takes no argument and only reads the clock.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: an aligned word of a map record. Two CPUs that write at once send two events.
    let last = unsafe { &mut (*drops).last_event };
    // A source is learned once: the event is neither held back by others nor holds them back.
    if kind != SOURCE_LEARNED {
        let interval = if kind == ORPHAN { ORPHAN_INTERVAL_NS } else { EVENT_INTERVAL_NS };
        if *last != 0 && now - *last < interval {
            return;
        }
        *last = now;
    }
    let ports = subject.ports.get();
    let event = Event {
        kind,
        leg: index,
        generation: admission.generation,
        next_hop: subject.next_hop,
        source: subject.source,
        local: subject.local,
        source_port: Be16::new((ports >> 16) as u16),
        local_port: Be16::new(ports as u16),
        ssrc: subject.ssrc,
    };
    if let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) {
        entry.write(event);
        entry.submit(0);
    }
}
