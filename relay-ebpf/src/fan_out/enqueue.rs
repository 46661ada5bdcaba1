//! The end of a packet's way through the program that it arrived at: into the queue of the CPU that copies it.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use relay_common::fan_out::Metadata;

use super::metadata;
use crate::maps;

/// Queues a packet that arrived for leg `source`, and returns the action that does so. A group has one CPU, so that its
/// packets keep their order whichever queue of the device they came by.
///
/// `None`: the driver has no room for what stands in front of the frame on its way.
///
/// Every view of the packet that was made before is void afterwards.
///
/// Kept out of the unicast path's registers.
#[inline(never)]
pub(crate) fn enqueue(ctx: &XdpContext, source: u32) -> Option<u32> {
    let group = maps::GROUPS.get(source)?;
    let action = maps::FAN_CPUS.redirect(group.cpu, u64::from(XDP_DROP)).ok()?;
    metadata::put(ctx, Metadata::first(source, group.generation))?;
    Some(action)
}
