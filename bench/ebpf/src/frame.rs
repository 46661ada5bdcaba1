//! The fields of a test frame: one bounds check, then loads and stores of whole words.

use aya_ebpf::programs::XdpContext;

use crate::records::{Headers, SHORTEST, STAMP};

const ETHERTYPE: usize = 12;
const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const HOPS_AND_CHECKSUM: usize = 22;
const PROTOCOL: usize = 23;
const PROTOCOL_UDP: u8 = 17;
const SOURCE: usize = 26;
const DESTINATION: usize = 30;
const PORTS: usize = 34;
const UDP_CHECKSUM: usize = 40;
const TIMESTAMP_LOW: usize = 48;
const SSRC: usize = 50;

/// A frame that is at least [`SHORTEST`] bytes long.
#[derive(Clone, Copy)]
pub(crate) struct Frame(*mut u8);

impl Frame {
    /// The frame, if it is long enough.
    #[inline(always)]
    pub(crate) fn of(ctx: &XdpContext) -> Option<Self> {
        if ctx.data() + SHORTEST > ctx.data_end() {
            return None;
        }
        Some(Self(ctx.data() as *mut u8))
    }

    /// Whether it is one of the generator's, or carries something else: address resolution, for one.
    #[inline(always)]
    pub(crate) fn is_media(self) -> bool {
        self.load::<u16>(ETHERTYPE) == ETHERTYPE_IPV4 && self.load::<u8>(PROTOCOL) == PROTOCOL_UDP
    }

    /// Writes everything that distinguishes a packet of this flow. Frames are recycled, so this is also everything
    /// that the program under test changes.
    #[inline(always)]
    pub(crate) fn write(self, headers: &Headers, flow: u32) {
        self.store(0, headers.macs[0]);
        self.store(4, headers.macs[1]);
        self.store(8, headers.macs[2]);
        self.store(HOPS_AND_CHECKSUM, headers.hops_and_checksum);
        self.store(SOURCE, headers.source);
        self.store(DESTINATION, headers.destination);
        self.store(PORTS, ports(headers, flow));
        self.store(UDP_CHECKSUM, headers.udp_checksum as u16);
        self.store(TIMESTAMP_LOW, ((0xffff - 3 * flow) as u16).to_be());
        self.store(SSRC, flow.to_be());
    }

    /// Whether all of it is as expected for the flow that its SSRC names.
    #[inline(always)]
    pub(crate) fn is(self, expected: &Headers) -> bool {
        let flow = u32::from_be(self.load(SSRC));
        let mut difference = self.load::<u32>(0) ^ expected.macs[0];
        difference |= self.load::<u32>(4) ^ expected.macs[1];
        difference |= self.load::<u32>(8) ^ expected.macs[2];
        difference |= self.load::<u32>(HOPS_AND_CHECKSUM) ^ expected.hops_and_checksum;
        difference |= self.load::<u32>(SOURCE) ^ expected.source;
        difference |= self.load::<u32>(DESTINATION) ^ expected.destination;
        difference |= self.load::<u32>(PORTS) ^ ports(expected, flow);
        difference |= u32::from(self.load::<u16>(UDP_CHECKSUM)) ^ expected.udp_checksum;
        difference == 0
    }

    /// The time stamp.
    #[inline(always)]
    pub(crate) fn stamp(self) -> u32 {
        self.load(STAMP)
    }

    /// Writes the time stamp. It is no part of what the UDP checksum was computed for; nothing on the way looks.
    #[inline(always)]
    pub(crate) fn set_stamp(self, stamp: u32) {
        self.store(STAMP, stamp);
    }

    #[inline(always)]
    fn load<T: Copy>(self, at: usize) -> T {
        // SAFETY: every `at` of this file plus `size_of::<T>()` is within SHORTEST bytes, which `of` checked. BPF has no
        // alignment to keep on the machines that this runs on; unaligned reads would be compiled to single bytes.
        unsafe { *self.0.add(at).cast() }
    }

    #[inline(always)]
    fn store<T: Copy>(self, at: usize, value: T) {
        // SAFETY: as in `load`.
        unsafe { *self.0.add(at).cast() = value }
    }
}

/// Both ports of a flow, as they lie in the packet.
#[inline(always)]
fn ports(headers: &Headers, flow: u32) -> u32 {
    let port = headers.first_port + flow;
    (port << 16 | port).to_be()
}
