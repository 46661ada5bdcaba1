//! The fields of a test frame: one bounds check, then loads and stores of whole words.

use core::marker::PhantomData;

use aya_ebpf::programs::XdpContext;

use crate::records::{Headers, place};
use crate::shape::Shape;

const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
const PROTOCOL_UDP: u8 = 17;
/// In the word of identification and fragment offset.
const DO_NOT_FRAGMENT: u32 = 0x4000;

/// A frame of this shape that is at least [`Shape::SHORTEST`] bytes long.
#[derive(Clone, Copy)]
pub(crate) struct Frame<S>(*mut u8, PhantomData<S>);

impl<S: Shape> Frame<S> {
    /// The frame, if it is long enough.
    #[inline(always)]
    pub(crate) fn of(ctx: &XdpContext) -> Option<Self> {
        if ctx.data() + S::SHORTEST > ctx.data_end() {
            return None;
        }
        Some(Self(ctx.data() as *mut u8, PhantomData))
    }

    /// Whether it is one of the generator's, or carries something else: address resolution, for one.
    #[inline(always)]
    pub(crate) fn is_media(self) -> bool {
        let (ethertype, protocol) =
            if S::IPV6 { (ETHERTYPE_IPV6, S::IP + 6) } else { (ETHERTYPE_IPV4, S::IP + 9) };
        self.load::<u16>(S::ETHERTYPE) == ethertype && self.load::<u8>(protocol) == PROTOCOL_UDP
    }

    /// Writes everything that distinguishes a packet of this flow. Frames are recycled, so this is also everything
    /// that the program under test changes.
    #[inline(always)]
    pub(crate) fn write(self, headers: &Headers, flow: u32) {
        let (address, port) = place(flow);
        let source = headers.source[3] + address * headers.source_step;
        let destination = headers.destination[3] + address * headers.destination_step;
        let moved = address * (headers.source_step + headers.destination_step);
        self.store(0, headers.macs[0]);
        self.store(4, headers.macs[1]);
        self.store(8, headers.macs[2]);
        if S::TAGGED {
            self.store(12, headers.tag);
        }
        self.store(S::ETHERTYPE, if S::IPV6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 });
        self.store(S::IP, headers.version);
        if S::IPV6 {
            self.store(S::IP + 4, headers.hops);
            self.store(S::IP + 8, headers.source[0]);
            self.store(S::IP + 12, headers.source[1]);
            self.store(S::IP + 16, headers.source[2]);
            self.store(S::IP + 20, source.to_be());
            self.store(S::IP + 24, headers.destination[0]);
            self.store(S::IP + 28, headers.destination[1]);
            self.store(S::IP + 32, headers.destination[2]);
            self.store(S::IP + 36, destination.to_be());
        } else {
            self.store(S::IP + 4, ((0xffff - moved) << 16 | DO_NOT_FRAGMENT).to_be());
            self.store(S::IP + 8, headers.hops);
            self.store(S::IP + 12, source.to_be());
            self.store(S::IP + 16, destination.to_be());
        }
        self.store(S::UDP, ports(headers, port));
        self.store(S::UDP + 6, headers.udp_checksum as u16);
        self.store(S::RTP, headers.rtp);
        // Ports, SSRC and address.
        let more = 2 * port + address + port + moved;
        let folded = (more & 0xffff) + (more >> 16);
        self.store(S::RTP + 4, (0xffff - folded).to_be());
        self.store(S::RTP + 8, (headers.first_ssrc + (address << 16 | port)).to_be());
    }

    /// Whether all of it is as expected for the flow that its SSRC names.
    #[inline(always)]
    pub(crate) fn is(self, expected: &Headers) -> bool {
        let flow = self.flow(expected);
        let (address, port) = (flow >> 16, flow & 0xffff);
        let source = expected.source[3] + address * expected.source_step;
        let destination = expected.destination[3] + address * expected.destination_step;
        let mut difference = self.load::<u32>(0) ^ expected.macs[0];
        difference |= self.load::<u32>(4) ^ expected.macs[1];
        difference |= self.load::<u32>(8) ^ expected.macs[2];
        if S::TAGGED {
            difference |= self.load::<u32>(12) ^ expected.tag;
        }
        difference |= self.load::<u32>(S::IP) ^ expected.version;
        if S::IPV6 {
            difference |= self.load::<u32>(S::IP + 4) ^ expected.hops;
            difference |= self.load::<u32>(S::IP + 8) ^ expected.source[0];
            difference |= self.load::<u32>(S::IP + 12) ^ expected.source[1];
            difference |= self.load::<u32>(S::IP + 16) ^ expected.source[2];
            difference |= self.load::<u32>(S::IP + 20) ^ source.to_be();
            difference |= self.load::<u32>(S::IP + 24) ^ expected.destination[0];
            difference |= self.load::<u32>(S::IP + 28) ^ expected.destination[1];
            difference |= self.load::<u32>(S::IP + 32) ^ expected.destination[2];
            difference |= self.load::<u32>(S::IP + 36) ^ destination.to_be();
        } else {
            difference |= self.load::<u32>(S::IP + 8) ^ expected.hops;
            difference |= self.load::<u32>(S::IP + 12) ^ source.to_be();
            difference |= self.load::<u32>(S::IP + 16) ^ destination.to_be();
        }
        difference |= self.load::<u32>(S::UDP) ^ ports(expected, port);
        difference |= u32::from(self.load::<u16>(S::UDP + 6)) ^ expected.udp_checksum;
        difference |= self.load::<u32>(S::RTP) ^ expected.rtp;
        difference == 0
    }

    /// Whether it is addressed as expected for the flow that its SSRC names, whatever else a sender's network stack wrote.
    #[inline(always)]
    pub(crate) fn is_for(self, expected: &Headers) -> bool {
        let flow = self.flow(expected);
        let (address, port) = (flow >> 16, flow & 0xffff);
        let source = expected.source[3] + address * expected.source_step;
        self.is_between(source, ports(expected, port), expected)
    }

    /// The same, if the relay sends all flows from the address and port of flow 0.
    #[inline(always)]
    pub(crate) fn is_for_from_one(self, expected: &Headers) -> bool {
        let flow = u32::from_be(self.load(S::RTP + 8)).wrapping_sub(expected.first_ssrc);
        let ports = (expected.first_port << 16 | (expected.first_port + (flow & 0xffff))).to_be();
        self.is_between(expected.source[3], ports, expected)
    }

    /// Whether it comes from this address, by these ports, and has the expected destination and the RTP header.
    #[inline(always)]
    fn is_between(self, source: u32, ports: u32, expected: &Headers) -> bool {
        let mut difference = self.load::<u32>(S::IP + 12) ^ source.to_be();
        difference |= self.load::<u32>(S::IP + 16) ^ expected.destination[3].to_be();
        difference |= self.load::<u32>(S::UDP) ^ ports;
        difference |= self.load::<u32>(S::RTP) ^ expected.rtp;
        difference == 0
    }

    /// The flow that its SSRC names.
    #[inline(always)]
    pub(crate) fn flow(self, expected: &Headers) -> u32 {
        u32::from_be(self.load(S::RTP + 8)).wrapping_sub(expected.first_ssrc)
    }

    /// The time stamp.
    #[inline(always)]
    pub(crate) fn stamp(self) -> u32 {
        self.load(S::STAMP)
    }

    /// Writes the time stamp. It is no part of what the UDP checksum was computed for; nothing on the way looks.
    #[inline(always)]
    pub(crate) fn set_stamp(self, stamp: u32) {
        self.store(S::STAMP, stamp);
    }

    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, at: usize) -> T {
        // SAFETY: every `at` that this crate uses plus `size_of::<T>()` is within SHORTEST bytes, which `of` checked.
        // BPF has no alignment to keep on the machines that this runs on; unaligned reads would be compiled to single
        // bytes.
        unsafe { *self.0.add(at).cast() }
    }

    #[inline(always)]
    pub(crate) fn store<T: Copy>(self, at: usize, value: T) {
        // SAFETY: as in `load`.
        unsafe { *self.0.add(at).cast() = value }
    }
}

/// Both ports of a flow, as they lie in the packet.
#[inline(always)]
fn ports(headers: &Headers, more: u32) -> u32 {
    let port = headers.first_port + more;
    (port << 16 | port).to_be()
}
