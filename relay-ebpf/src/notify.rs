//! Events for the user half: never more than one a second for each leg on each CPU, and none that blocks.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use relay_common::address::Ipv6;
use relay_common::byte_order::Be32;
use relay_common::event::{Event, SOURCE_LEARNED};
use relay_common::limits::EVENT_INTERVAL_NS;
use relay_common::udp_frame::UdpFrame;

use crate::maps;

/// Sends an event about the leg that `frame` arrived for. A full ring loses it: the user half also looks for itself.
#[inline(always)]
pub(crate) fn send(kind: u32, index: u32, frame: &UdpFrame<'_>, next_hop: u32) {
    let Some(drops) = maps::LEG_DROPS.get_ptr_mut(index) else { return };
    let Some(admission) = maps::ADMISSIONS.get(index) else { return };
    // SAFETY: takes no argument and only reads the clock.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: this CPU's own record; the program is not preempted by itself on one CPU.
    let last = unsafe { &mut (*drops).last_event };
    // A source is learned once: the event is neither held back by others nor holds them back.
    if kind != SOURCE_LEARNED {
        if *last != 0 && now - *last < EVENT_INTERVAL_NS {
            return;
        }
        *last = now;
    }
    let event = Event {
        kind,
        leg: index,
        generation: admission.generation,
        next_hop,
        source: Ipv6::mapped(frame.source_address()),
        local: Ipv6::mapped(frame.leg_key().address()),
        source_port: frame.source_port(),
        local_port: frame.leg_key().port(),
        ssrc: Be32::new(0),
    };
    if let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) {
        entry.write(event);
        entry.submit(0);
    }
}
