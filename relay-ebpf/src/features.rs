//! What only legs with more than a plain rewrite pay for, each out of the fast path's registers. `offset` is where the IP
//! header starts.

use aya_ebpf::programs::XdpContext;
use relay_common::decide;
use relay_common::frame::Datagram;
use relay_common::media::Media;
use relay_common::verdict::Drop;

use crate::forward::packet;
use crate::plane::Maps;

/// See `decide::police`.
#[inline(never)]
pub(crate) fn police(index: u32, ip_length: u32) -> Result<(), Drop> {
    decide::police(&Maps, index, ip_length)
}

/// See `decide::measure`.
#[inline(never)]
pub(crate) fn measure(ctx: &XdpContext, index: u32, payload: usize) {
    decide::measure(&Maps, index, &packet(ctx), payload);
}

/// See `decide::retag`.
#[inline(never)]
pub(crate) fn retag<'a, D: Datagram<'a>>(ctx: &'a XdpContext, index: u32, offset: usize) {
    let packet = packet(ctx);
    if let Ok(mut datagram) = D::parse(&packet, offset) {
        decide::retag(&Maps, index, &mut datagram, &packet, offset + D::HEADERS);
    }
}

/// Whether the packet is RTCP.
#[inline(never)]
pub(crate) fn is_rtcp(ctx: &XdpContext, payload: usize) -> bool {
    matches!(Media::at(&packet(ctx), payload), Some(Media::Rtcp { .. }))
}
