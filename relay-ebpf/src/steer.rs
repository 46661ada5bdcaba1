//! The kernel path: what the network stack has to work on first (fragments, options, extension headers) is steered to
//! the relay's own socket, one for each address family, whichever leg it is addressed to.

use aya_ebpf::{bindings::bpf_sk_lookup, programs::SkLookupContext};
use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::decide;
use relay_common::kernel_path::{SOCKET_V4, SOCKET_V6};
use relay_common::leg::LegKey;

use crate::maps;
use crate::plane::Maps;

/// `AF_INET` of the kernel.
const AF_INET: u32 = 2;
/// `IPPROTO_UDP`.
const UDP: u32 = 17;

/// Chooses the relay's socket for a datagram that is addressed to a leg. Nothing else is touched: the stack looks for a
/// socket as it always does.
#[inline(always)]
pub(crate) fn choose(ctx: &SkLookupContext) {
    // SAFETY: the kernel gives the program a valid context for as long as it runs.
    let lookup = unsafe { &*ctx.lookup };
    if lookup.protocol != UDP {
        return;
    }
    let slot = if lookup.family == AF_INET { SOCKET_V4 } else { SOCKET_V6 };
    if has_leg(lookup, slot) {
        // Without a socket in the map the stack goes on as if there were no leg.
        let _ = maps::KERNEL_PATH.redirect_sk_lookup(ctx, slot, 0);
    }
}

/// Whether the datagram is addressed to a leg.
#[inline(always)]
fn has_leg(lookup: &bpf_sk_lookup, slot: u32) -> bool {
    // The kernel keeps the port in 32 bits here, in the machine's byte order.
    let port = Be16::new(lookup.local_port as u16);
    if slot == SOCKET_V4 {
        let key = LegKey::new(Be32::from_wire(lookup.local_ip4), port);
        return decide::find_local(&Maps, key, None).is_some();
    }
    // Word by word: the kernel translates each access to its own structure.
    let words = [lookup.local_ip6[0], lookup.local_ip6[1], lookup.local_ip6[2], lookup.local_ip6[3]];
    let address = Ipv6(words.map(Be32::from_wire));
    decide::find_local(&Maps, LegKey::v6(&address, port), Some(&address)).is_some()
}
