//! The end of a packet's way through the program that it arrived at: into the queue of the CPU that copies it.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use relay_common::fan_out::Metadata;
use relay_common::verdict::Drop;

use super::{metadata, places};
use crate::maps;

/// Queues a packet that arrived for leg `source`, and returns the action that does so. A group has one CPU, so that its
/// packets keep their order whichever queue of the device they came by.
///
/// # Errors
/// The queue is full, or the driver has no room for what stands in front of the frame on its way.
///
/// Every view of the packet that was made before is void afterwards.
///
/// Kept out of the unicast path's registers.
#[inline(never)]
pub(crate) fn enqueue(ctx: &XdpContext, source: u32) -> Result<u32, Drop> {
    let group = maps::GROUPS.get(source).ok_or(Drop::NoStream)?;
    let cpu = group.cpu;
    let action = maps::FAN_CPUS.redirect(cpu, u64::from(XDP_DROP)).map_err(|_| Drop::NoDevice)?;
    let place = places::ask(cpu).ok_or(Drop::CopiesFull)?;
    metadata::put(ctx, Metadata::first(source, group.generation, place)).ok_or(Drop::NoRoom)?;
    Ok(action)
}
