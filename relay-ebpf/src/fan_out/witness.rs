//! Tells the user half which copies came out of a device, and in which order: the far end of the devices that the kernel is
//! tried on before it copies anything for a receiver.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use relay_common::byte_order::Be32;
use relay_common::fan_out::Witnessed;
use relay_common::frame::UDP;
use relay_common::frame::ethernet::ETHERNET;
use relay_common::frame::ipv4::IPV4;
use relay_common::packet::View;

use super::metadata;
use crate::forward::packet;
use crate::maps;

/// The action for one copy: its way ends here.
#[inline(always)]
pub(crate) fn witness(ctx: &XdpContext) -> u32 {
    let copy = metadata::read(ctx);
    let ports: Option<Be32> =
        packet(ctx).view::<UDP>(ETHERNET + IPV4).map(|udp: View<'_, UDP>| udp.be32::<0>());
    if let Some((copy, ports)) = copy.zip(ports)
        && let Some(mut entry) = maps::EVENTS.reserve::<Witnessed>(0)
    {
        entry.write(Witnessed { number: copy.number, block: copy.block, ports });
        entry.submit(0);
    }
    XDP_DROP
}
