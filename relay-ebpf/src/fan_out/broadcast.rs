//! Copies a packet for the receivers of one block. Runs behind the queue of a CPU (`BPF_XDP_CPUMAP`), eight packets at a time
//! with bottom halves off, so that no other frame comes between the copies.

use aya_ebpf::bindings::BPF_F_BROADCAST;
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use relay_common::fan_out::{Block, Group, Metadata, fan_index};
use relay_common::limits::DEVICES;
use relay_common::verdict::Loss;

use super::{losses, metadata, places};
use crate::maps;
use crate::plane::cpu;

/// The action for one packet.
#[inline(always)]
pub(crate) fn broadcast(ctx: &XdpContext) -> u32 {
    copy(ctx).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn copy(ctx: &XdpContext) -> Option<u32> {
    let waiting = metadata::read(ctx)?;
    places::leave(cpu(), waiting.number);
    let (index, block) = find(&waiting)?;
    // SAFETY: a pointer that the map gave stays valid while the program runs; volatile, because the user half writes.
    let (seats, next, device, generation) = unsafe {
        (
            (&raw const (*block).seats).read_volatile(),
            (&raw const (*block).next).read_volatile(),
            (&raw const (*block).device).read_volatile(),
            (&raw const (*block).generation).read_volatile(),
        )
    };
    if device >= DEVICES {
        return None;
    }
    let copies = match obstacle(ctx, device) {
        None => seats,
        Some(loss) => {
            losses::charge_seats(index, 0, seats, loss);
            0
        }
    };
    let has_next = next != 0;
    if copies == 0 && !has_next {
        return None;
    }
    let Some(fan) = maps::FANS.get(fan_index(device, copies, has_next)) else {
        losses::charge_seats(index, 0, copies, Loss::NoDevice);
        return None;
    };
    let number = maps::BROADCASTS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own counter, and only this program writes it.
    let number = unsafe {
        *number += 1;
        *number
    };
    metadata::overwrite(
        ctx,
        Metadata { number, block: index, generation, seats: copies, source: waiting.source },
    )?;
    fan.redirect(0, u64::from(BPF_F_BROADCAST)).ok()
}

/// The block that a packet waits for.
#[inline(always)]
fn find(waiting: &Metadata) -> Option<(u32, *mut Block)> {
    if waiting.block != 0 {
        let block = maps::BLOCKS.get_ptr_mut(waiting.block)?;
        // SAFETY: as in `copy`.
        let generation = unsafe { (&raw const (*block).generation).read_volatile() };
        return if generation == waiting.generation { Some((waiting.block, block)) } else { stale() };
    }
    let group = maps::GROUPS.get_ptr_mut(waiting.source)?;
    // SAFETY: as in `copy`.
    let (head, generation) = unsafe {
        ((&raw const (*group).head).read_volatile(), (&raw const (*group).generation).read_volatile())
    };
    if generation != waiting.generation {
        return stale();
    }
    // SAFETY: the map's own aligned word; every writer adds atomically.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*group).entered, 1) };
    if head == 0 {
        return None;
    }
    Some((head, maps::BLOCKS.get_ptr_mut(head)?))
}

/// What it waited for is gone. Counted for leg 0, which is none.
#[inline(never)]
fn stale() -> Option<(u32, *mut Block)> {
    if let Some(group) = maps::GROUPS.get_ptr_mut(0) {
        let counter = group.cast::<u8>();
        // SAFETY: the map's own aligned word; every writer adds atomically.
        unsafe {
            let counter = counter.add(core::mem::offset_of!(Group, stale)).cast::<u64>();
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
        }
    }
    None
}

/// Why the kernel would make no copies for this device: it would leave them out without a word.
#[inline(always)]
fn obstacle(ctx: &XdpContext, device: u32) -> Option<Loss> {
    let Some(taken) = maps::FAN_DEVICES.get(device) else { return Some(Loss::NoDevice) };
    // SAFETY: an aligned word that the user half writes.
    let largest = unsafe { (&raw const taken.largest).read_volatile() };
    if largest == 0 {
        return Some(Loss::NoDevice);
    }
    // SAFETY: takes the kernel's context and only reads a length.
    let whole = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize;
    // The kernel copies the first buffer only.
    if whole > largest as usize || whole != ctx.data_end() - ctx.data() { Some(Loss::TooBig) } else { None }
}
