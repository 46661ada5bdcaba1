//! The records that the bench's two halves share. The user half includes this very file, so it uses `core` only.

/// Samples of one-way delay that each processor keeps.
pub const SAMPLES_PER_CPU: u32 = 1 << 17;

/// Processors that the maps have room for.
pub const CPUS: u32 = 2;

/// Where the generator writes its time stamp: behind the RTP header, four bytes, in nanoseconds.
pub const STAMP: usize = 54;

/// Bytes of the shortest packet: Ethernet, IPv4, UDP and RTP headers, and the time stamp.
pub const SHORTEST: usize = STAMP + 4;

/// The headers of flow 0, each field as it lies in the packet. Flow n differs in its two ports (`first_port` + n), its
/// SSRC (n) and its RTP timestamp (0xffff - 3n), which keeps the sum of all fields, and so the checksum, the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// Destination and source MAC address.
    pub macs: [u32; 3],
    /// Time to live, protocol and the checksum of the IPv4 header.
    pub hops_and_checksum: u32,
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source and destination port of flow 0, in the machine's byte order.
    pub first_port: u32,
    /// UDP checksum; the upper half is 0.
    pub udp_checksum: u32,
}

/// What the generator sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Load {
    /// The headers.
    pub headers: Headers,
    /// Number of flows.
    pub flows: u32,
    /// From one packet's flow to the next one's; has no factor in common with `flows`.
    pub step: u32,
    /// Least time between two packets of one processor, in nanoseconds; only `generate_stamped` obeys it.
    pub interval: u64,
}

/// Where the generator of one processor stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Turn {
    /// When the next packet is due, CLOCK_MONOTONIC in nanoseconds.
    pub due: u64,
    /// Packets that were sent.
    pub sent: u64,
    /// Flow of the next packet.
    pub flow: u32,
    /// Fills the record up to a multiple of its alignment.
    pub reserved: u32,
}

/// What the sink of one processor counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Arrivals {
    /// Packets whose headers were as expected.
    pub right: u64,
    /// Media packets whose headers were not.
    pub wrong: u64,
    /// Samples of delay; more than [`SAMPLES_PER_CPU`] are counted, not kept.
    pub samples: u64,
}
