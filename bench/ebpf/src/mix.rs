//! Packets that a relay must not forward, among those that it must.

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::programs::XdpContext;

use crate::frame::Frame;
use crate::generate;
use crate::shape::{Ipv4, Shape};

const IP: usize = Ipv4::IP;
const UDP: usize = Ipv4::UDP;
/// Identification and the fragment field: the former makes up for other changes of the header, whose checksum stays.
const IDENTIFICATION: usize = IP + 4;
const FRAGMENT: usize = IP + 6;
const TIME_TO_LIVE: usize = IP + 8;
const SOURCE: usize = IP + 12;
const DESTINATION_PORT: usize = UDP + 2;
const UDP_LENGTH: usize = UDP + 4;

const MORE_FRAGMENTS: u16 = 0x2000;
const LAST_HOP: u8 = 1;
/// The port of discard (RFC 863), which no leg has.
const UNKNOWN_PORT: u16 = 9;

/// The next packet, of which some in 64 are as they should not be.
#[inline(always)]
pub(crate) fn next(ctx: &XdpContext) -> u32 {
    let Some((load, turn, frame)) = generate::next::<Ipv4>(ctx) else { return XDP_ABORTED };
    let kind = turn.sent % 64;
    generate::write(load, turn, frame);
    frame.store(UDP_LENGTH, ((ctx.data_end() - ctx.data() - UDP) as u16).to_be());
    match kind {
        59 => set(frame, FRAGMENT, MORE_FRAGMENTS),
        60 => frame.store(IP + 10, !frame.load::<u16>(IP + 10)),
        61 => set(frame, SOURCE + 2, u16::from_be(frame.load(SOURCE + 2)) + 1),
        62 => {
            let hops = u16::from_be(frame.load(TIME_TO_LIVE));
            set(frame, TIME_TO_LIVE, u16::from(LAST_HOP) << 8 | hops & 0xff);
        }
        63 => frame.store(DESTINATION_PORT, UNKNOWN_PORT.to_be()),
        // A length beyond the packet.
        0 => frame.store(UDP_LENGTH, u16::MAX),
        _ => {}
    }
    generate::depart()
}

/// Changes a field of the IPv4 header, and the identification so that the sum of all fields stays.
#[inline(always)]
fn set(frame: Frame<Ipv4>, at: usize, value: u16) {
    let old = u32::from(u16::from_be(frame.load(at)));
    let identification = u32::from(u16::from_be(frame.load(IDENTIFICATION)));
    // One's complement: what is subtracted is added inverted.
    let sum = identification + old + u32::from(!value);
    let folded = (sum & 0xffff) + (sum >> 16);
    frame.store(IDENTIFICATION, (((folded & 0xffff) + (folded >> 16)) as u16).to_be());
    frame.store(at, value.to_be());
}
