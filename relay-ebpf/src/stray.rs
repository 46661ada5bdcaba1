//! Datagrams that no leg wants: the network stack's, unless they come to a port of our range.

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::{bpf_sk_lookup_udp, bpf_sk_release};
use aya_ebpf::programs::XdpContext;
use relay_common::address::Ipv6;
use relay_common::byte_order::Be32;
use relay_common::decide::{Plane, Subject};
use relay_common::event;
use relay_common::frame::Datagram;
use relay_common::verdict::{Drop, Pass};

use crate::forward::packet;
use crate::plane::Maps;
use crate::{Verdict, maps, notify};

/// BPF_F_CURRENT_NETNS (linux/bpf.h): the network namespace of the device.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// Decides about a datagram without a leg. `offset` is where the IP header starts.
#[inline(never)]
pub(crate) fn decide<'a, D: Datagram<'a>>(ctx: &'a XdpContext, offset: usize) -> Verdict {
    let packet = packet(ctx);
    let Ok(datagram) = D::parse(&packet, offset) else { return Verdict::Pass(Pass::NoLeg) };
    let port = datagram.leg_key().port().get();
    let ours = maps::PORT_RANGES.get(u32::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1);
    if !ours || !Maps.is_local(&datagram.local_address()) {
        return Verdict::Pass(Pass::NoLeg);
    }
    let subject = Subject::of(&datagram, &packet, offset + D::HEADERS);
    if belongs_to_socket::<D>(ctx, &subject) {
        return Verdict::Pass(Pass::NoLeg);
    }
    notify::send(event::ORPHAN, 0, &subject);
    Verdict::Drop(0, Drop::Orphan)
}

/// Whether a program on this machine has a socket for it: a port of our range that the kernel has lent to somebody.
#[inline(always)]
fn belongs_to_socket<'a, D: Datagram<'a>>(ctx: &XdpContext, subject: &Subject) -> bool {
    let mut tuple = Tuple { source: Ipv6::default(), destination: Ipv6::default(), ports: Be32::new(0) };
    let size = if D::V6 {
        tuple.source = subject.source;
        tuple.destination = subject.local;
        tuple.ports = subject.ports;
        size_of::<Tuple>()
    } else {
        // The kernel's IPv4 tuple is both addresses, then both ports: the first three words.
        tuple.source.0[0] = subject.source.0[3];
        tuple.source.0[1] = subject.local.0[3];
        tuple.source.0[2] = subject.ports;
        3 * size_of::<Be32>()
    };
    // SAFETY: the tuple has the kernel's layout for its size (struct bpf_sock_tuple), and outlives the call.
    let socket = unsafe {
        bpf_sk_lookup_udp(
            ctx.ctx.cast(),
            (&raw mut tuple).cast::<bpf_sock_tuple>(),
            size as u32,
            CURRENT_NAMESPACE,
            0,
        )
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the reference that the lookup gave is given back, once.
    unsafe { bpf_sk_release(socket.cast()) };
    true
}

/// `struct bpf_sock_tuple` of linux/bpf.h, its IPv6 half.
#[repr(C)]
struct Tuple {
    source: Ipv6,
    destination: Ipv6,
    ports: Be32,
}
