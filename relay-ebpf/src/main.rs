//! Culvert's XDP program: this file maps results to XDP actions and nothing else.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "compare-and-exchange: see plane.rs")]
#![feature(core_intrinsics, asm_experimental_arch)]

mod count;
mod express;
mod fan_out;
mod forward;
mod learn;
mod maps;
mod notify;
mod plane;
mod punt;
mod rebuild;
mod refused;
mod steer;
mod stray;
mod tap;
mod too_big;

use aya_ebpf::{
    bindings::{sk_action, xdp_action},
    macros::{raw_tracepoint, sk_lookup, xdp},
    programs::{RawTracePointContext, SkLookupContext, XdpContext},
};
use relay_common::fan_out::BROADCAST;
use relay_common::verdict::{Drop, Pass};

/// What is to be done with a frame.
pub(crate) enum Verdict {
    /// It was rewritten, and leaves by this action.
    Forward(u32),
    /// It belongs to the kernel's network stack.
    Pass(Pass),
    /// It was addressed to this leg, and must not go on.
    Drop(u32, Drop),
    /// It was turned into an answer to its sender, which leaves by this action; it counts as dropped for this reason and
    /// leg, with so many bytes.
    Answer(u32, Drop, u32, usize),
}

/// Forwards media of installed legs; everything else goes to the kernel untouched.
// Without this the program is a call of this function, once it has grown: a few nanoseconds for each packet.
#[inline(always)]
#[xdp(frags)]
pub fn relay(ctx: XdpContext) -> u32 {
    if let Some(action) = express::forward(&forward::packet(&ctx)) {
        return action;
    }
    match forward::handle(&ctx) {
        Verdict::Forward(action) => action,
        Verdict::Pass(reason) => {
            count::passed(reason);
            xdp_action::XDP_PASS
        }
        Verdict::Drop(leg, reason) => {
            count::dropped(leg, reason, ctx.data_end() - ctx.data());
            xdp_action::XDP_DROP
        }
        Verdict::Answer(action, reason, leg, bytes) => {
            count::dropped(leg, reason, bytes);
            action
        }
    }
}

/// Runs behind the queue of a CPU, and hands over to the program that copies. It stays as long as the queue, from one build to
/// the next, and so does no more than this.
#[xdp(frags, map = "cpumap")]
pub fn fan_out_queue(ctx: XdpContext) -> u32 {
    // SAFETY: nothing of this program is to be tidied up. The call comes back only if there is no program.
    unsafe { maps::FAN_PROGRAMS.tail_call(&ctx, BROADCAST) };
    xdp_action::XDP_DROP
}

/// Copies packets of a group, behind the queue of a CPU.
#[xdp(frags, map = "cpumap")]
pub fn fan_out_broadcast(ctx: XdpContext) -> u32 {
    fan_out::broadcast::broadcast(&ctx)
}

/// Gives each copy the headers of its receiver.
#[xdp(frags, map = "devmap")]
pub fn fan_out_deliver(ctx: XdpContext) -> u32 {
    fan_out::deliver::deliver(&ctx)
}

/// Sends a packet to the next block of its group.
#[xdp(frags)]
pub fn fan_out_further(ctx: XdpContext) -> u32 {
    fan_out::further::further(&ctx)
}

/// Tells which copies the kernel makes, while it is tried.
#[xdp(frags)]
pub fn fan_out_witness(ctx: XdpContext) -> u32 {
    fan_out::witness::witness(&ctx)
}

/// Counts frames that were sent on and that the ring of their device did not take.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn refused_by_ring(ctx: RawTracePointContext) -> i32 {
    refused::by_ring(&ctx);
    0
}

/// Counts frames that were sent on and that did not reach the ring of their device.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn refused_before_ring(ctx: RawTracePointContext) -> i32 {
    refused::before_ring(&ctx);
    0
}

/// Steers what the network stack received for a leg to the relay's own socket.
#[sk_lookup]
pub fn steer(ctx: SkLookupContext) -> u32 {
    steer::choose(&ctx);
    sk_action::SK_PASS
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; the linker would keep a call if something did, and the verifier refuse the endless loop.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
