//! The way from one block to the next: the last entry of a device map leads into a pair of devices of our own, and at its
//! far end the packet is queued for the next block.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use relay_common::fan_out::{Block, Metadata};

use super::{metadata, places};
use crate::maps;

/// The action for a frame at the far end.
#[inline(always)]
pub(crate) fn further(ctx: &XdpContext) -> u32 {
    queue(ctx).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn queue(ctx: &XdpContext) -> Option<u32> {
    let served = metadata::read(ctx)?;
    let block = maps::BLOCKS.get_ptr_mut(served.block)?;
    // A removed block still leads to the rest of its chain until its record is used again, which is long after.
    let (next, generation) = words(block);
    if next == 0 || generation != served.generation {
        return None;
    }
    let (_, generation) = words(maps::BLOCKS.get_ptr_mut(next)?);
    // SAFETY: as in `words`.
    let cpu = unsafe { (&raw const (*block).cpu).read_volatile() };
    metadata::overwrite(ctx, Metadata::further(served.source, next, generation, places::take(cpu)?))?;
    maps::FAN_CPUS.redirect(cpu, u64::from(XDP_DROP)).ok()
}

/// The next block, and the generation.
#[inline(always)]
fn words(block: *mut Block) -> (u32, u32) {
    // SAFETY: a pointer that the map gave stays valid while the program runs; volatile, because the user half writes.
    unsafe { ((&raw const (*block).next).read_volatile(), (&raw const (*block).generation).read_volatile()) }
}
