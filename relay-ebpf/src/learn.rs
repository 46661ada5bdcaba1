//! Packets whose source is not the admitted one, out of the fast path's registers: this runs once in the life of most legs.

use aya_ebpf::programs::XdpContext;
use relay_common::decide::{self, Found};
use relay_common::frame::Datagram;
use relay_common::verdict::Drop;

use crate::forward::packet;
use crate::plane::Maps;

/// See `decide::learn`. `offset` is where the IP header starts.
#[inline(never)]
pub(crate) fn learn<'a, D: Datagram<'a>>(ctx: &'a XdpContext, index: u32, offset: usize) -> Result<(), Drop> {
    let packet = packet(ctx);
    let (Ok(datagram), Some(found)) = (D::parse(&packet, offset), Found::at(&Maps, index)) else {
        return Err(Drop::SourceMismatch);
    };
    decide::learn(&Maps, &datagram, &packet, offset + D::HEADERS, &found)
}
