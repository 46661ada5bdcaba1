//! The kernel side of the agreement test: on each repeat of one test run, makes the next frame and its scene, decides about
//! it and rewrites it with the relay's packet core, and leaves a digest of what came out.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod maps;
mod shared;
mod step;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// One frame.
#[xdp]
pub fn agreement(ctx: XdpContext) -> u32 {
    match step::next(&ctx) {
        Some(()) => XDP_PASS,
        None => XDP_ABORTED,
    }
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
