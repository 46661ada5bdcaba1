//! Programs of the bench: a generator and a sink around the program under test, and programs to compare it with. All but
//! the sinks take packets in several buffers, as the relay's does: the kernel mixes no others in a map of programs or
//! devices.
#![no_std]
#![no_main]

mod follow;
mod frame;
mod generate;
mod maps;
mod mix;
mod records;
mod replay;
mod shape;
mod sink;
mod streams;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::shape::{Ipv4, Ipv6, TaggedIpv4};

/// Sends as fast as it can.
#[xdp(frags)]
pub fn generate(ctx: XdpContext) -> u32 {
    generate::at_once::<Ipv4>(&ctx)
}

/// Sends IPv6 as fast as it can.
#[xdp(frags)]
pub fn generate_ipv6(ctx: XdpContext) -> u32 {
    generate::at_once::<Ipv6>(&ctx)
}

/// Sends as fast as it can, and among the packets that must be forwarded those that must not.
#[xdp(frags)]
pub fn generate_mix(ctx: XdpContext) -> u32 {
    mix::next(&ctx)
}

/// Sends as fast as it can, each flow in bursts.
#[xdp(frags)]
pub fn generate_bursts(ctx: XdpContext) -> u32 {
    generate::in_bursts(&ctx)
}

/// Sends at a set rate, each packet with the time of its departure.
#[xdp(frags)]
pub fn generate_stamped(ctx: XdpContext) -> u32 {
    generate::stamped(&ctx)
}

/// Sends at a set rate, and numbers the packets.
#[xdp(frags)]
pub fn generate_numbered(ctx: XdpContext) -> u32 {
    generate::numbered(&ctx)
}

/// What the relay is compared with: the least that a forwarding program can do.
#[xdp(frags)]
pub fn bare(_ctx: XdpContext) -> u32 {
    maps::DEVICES.redirect(1, 0).unwrap_or(XDP_ABORTED)
}

/// What the relay's cost is compared with: the least that a program can do.
#[xdp(frags)]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Gives a program the same packet again and again, whatever it did to the last one.
#[xdp(frags)]
pub fn again(ctx: XdpContext) -> u32 {
    generate::again::<Ipv4>(&ctx)
}

/// The same with an IPv6 packet.
#[xdp(frags)]
pub fn again_ipv6(ctx: XdpContext) -> u32 {
    generate::again::<Ipv6>(&ctx)
}

/// Gives a program many frames, in turn, whatever it did to the last one.
#[xdp(frags)]
pub fn replay(ctx: XdpContext) -> u32 {
    replay::next(&ctx)
}

/// Counts.
#[xdp]
pub fn count(ctx: XdpContext) -> u32 {
    sink::count::<Ipv4>(&ctx)
}

/// Counts IPv4 packets behind an 802.1Q tag.
#[xdp]
pub fn count_tagged(ctx: XdpContext) -> u32 {
    sink::count::<TaggedIpv4>(&ctx)
}

/// Counts IPv6 packets.
#[xdp]
pub fn count_ipv6(ctx: XdpContext) -> u32 {
    sink::count::<Ipv6>(&ctx)
}

/// Counts what a network stack sent.
#[xdp]
pub fn count_addressed(ctx: XdpContext) -> u32 {
    sink::count_addressed(&ctx)
}

/// Counts what a network stack sent from one port.
#[xdp]
pub fn count_from_one(ctx: XdpContext) -> u32 {
    sink::count_from_one(&ctx)
}

/// Counts, and notes when the first packet arrived.
#[xdp]
pub fn note_first(ctx: XdpContext) -> u32 {
    sink::note_first(&ctx)
}

/// Counts, and follows numbers and times.
#[xdp]
pub fn follow(ctx: XdpContext) -> u32 {
    sink::follow(&ctx)
}

/// Counts what is addressed as expected, and follows the numbers of each of the first flows.
#[xdp]
pub fn follow_each(ctx: XdpContext) -> u32 {
    sink::follow_each(&ctx)
}

/// Counts what is addressed as expected, and measures delays.
#[xdp]
pub fn time_addressed(ctx: XdpContext) -> u32 {
    sink::time_addressed(&ctx)
}

/// Counts, and measures delays.
#[xdp]
pub fn time(ctx: XdpContext) -> u32 {
    sink::time(&ctx)
}

/// Sends the packets of streams in turn, at a set rate, each with its number and the time of its departure.
#[xdp(frags)]
pub fn send_steadily(ctx: XdpContext) -> u32 {
    streams::send_steadily(&ctx)
}

/// Sends the packets of streams as a timetable says.
#[xdp(frags)]
pub fn send_by_timetable(ctx: XdpContext) -> u32 {
    streams::send_by_timetable(&ctx)
}

/// Checks the packets of streams, and follows the numbers of each.
#[xdp]
pub fn check_streams(ctx: XdpContext) -> u32 {
    streams::check(&ctx)
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
