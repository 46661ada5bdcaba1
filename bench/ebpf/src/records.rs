//! The records that the bench's two halves share. The user half includes this very file, so it uses `core` only.

/// Samples of one-way delay that each processor keeps.
pub const SAMPLES_PER_CPU: u32 = 1 << 17;

/// Processors that the maps have room for.
pub const CPUS: u32 = 2;

/// Flows whose numbers are followed, each for itself: the first ones.
pub const FOLLOWED_FLOWS: u32 = 64;

/// Frames that are replayed in turn, at most.
pub const FRAMES: u32 = 512;

/// Bytes of the longest of them.
pub const LONGEST: u32 = 2044;

/// Flows that share one of the relay's addresses, each with a port of its own.
pub const FLOWS_PER_ADDRESS: u32 = 25_000;

/// The relay's address (its number) and the port (how many after the first) of a flow.
///
/// A multiplication, because BPF has no cheap division by a constant; exact for fewer than 600,000 flows.
#[inline(always)]
pub const fn place(flow: u32) -> (u32, u32) {
    const SHIFT: u32 = 32;
    const FACTOR: u64 = (1 << SHIFT) / FLOWS_PER_ADDRESS as u64 + 1;
    let address = ((flow as u64 * FACTOR) >> SHIFT) as u32;
    (address, flow - address * FLOWS_PER_ADDRESS)
}

/// The headers of flow 0, each field as it lies in the packet unless it says otherwise. Another flow at [`place`]
/// (a, p) differs in both ports (p more), in the relay's address (a steps more), in its SSRC (a in its
/// upper half, p in its lower half), in its RTP timestamp and in the IPv4 identification; the latter two keep the sum
/// of all fields, and so both checksums, the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// Destination and source MAC address.
    pub macs: [u32; 3],
    /// The 802.1Q tag, or 0: TPID and TCI.
    pub tag: u32,
    /// The first four bytes of the IP header.
    pub version: u32,
    /// IPv4: time to live, protocol and header checksum. IPv6: payload length, next header and hop limit.
    pub hops: u32,
    /// Source address; IPv4 addresses are in the last word, and that word is in the machine's byte order.
    pub source: [u32; 4],
    /// Destination address, in the same form.
    pub destination: [u32; 4],
    /// From one relay's address to the next in the source address; 0 if the source is not the relay.
    pub source_step: u32,
    /// The same in the destination address.
    pub destination_step: u32,
    /// Source and destination port of flow 0, in the machine's byte order.
    pub first_port: u32,
    /// UDP checksum; the upper half is 0.
    pub udp_checksum: u32,
    /// The first four bytes of the RTP header: version, payload type and sequence number.
    pub rtp: u32,
    /// SSRC of flow 0, in the machine's byte order.
    pub first_ssrc: u32,
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
    /// Least time between two packets of one processor, in nanoseconds; only programs that are paced obey it.
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
    /// When the first right packet arrived, CLOCK_MONOTONIC in nanoseconds; 0 before. Only some sinks note it.
    pub first: u64,
    /// When the last one did. This and what is below are only in the one record of the sink that follows numbers.
    pub last: u64,
    /// Longest time between two right packets, in nanoseconds.
    pub longest_silence: u64,
    /// Numbers that were left out, and twice as many as came again.
    pub missing: u64,
    /// The number that has to come next.
    pub expected: u64,
    /// Bit n says that the number n + 1 before that one has come.
    pub window: u64,
    /// Numbers that came after a higher one, and filled their gap.
    pub late: u64,
}

/// A frame that is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ReplayedFrame {
    /// Bytes in use.
    pub length: u32,
    /// From the Ethernet header on.
    pub bytes: [u8; LONGEST as usize],
}

/// Where the replay stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Replay {
    /// How many frames there are.
    pub count: u32,
    /// The next one.
    pub next: u32,
    /// Bytes of the one before, as it was handed over.
    pub length: u32,
}

/// Streams that have a record each, on the way out and at the sink.
pub const STREAMS: u32 = 100_000;

/// Packets of a timetable, for each processor.
pub const SLOTS_PER_CPU: u32 = 1 << 16;

/// What all streams have in common, each field as it lies in the packet unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StreamLoad {
    /// Destination and source MAC address of what is sent.
    pub macs: [u32; 3],
    /// Source address of what is sent.
    pub source: u32,
    /// Destination and source MAC address of what has to arrive.
    pub arriving_macs: [u32; 3],
    /// Number of streams that take turns.
    pub streams: u32,
    /// From one packet's stream to the next one's.
    pub step: u32,
    /// Bytes of the shortest packets: the last word of one would else stay in a frame that is used for a longer one.
    pub shortest: u32,
    /// From one packet of a processor to its next, in 256ths of a nanosecond; 0 is at once.
    pub interval: u64,
    /// How long the whole of a timetable takes, in nanoseconds; below 2^40.
    pub period: u64,
    /// When a timetable begins, CLOCK_MONOTONIC in nanoseconds; 0 is when it is first looked at.
    pub start: u64,
    /// Delays are kept of packets whose count has none of these bits.
    pub sampling: u64,
}

/// A stream on its way out, each field as it lies in the packet unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SentStream {
    /// Destination address.
    pub destination: u32,
    /// Source and destination port.
    pub ports: u32,
    /// Version, header length, type of service and length of the IP packet.
    pub version: u32,
    /// Time to live, protocol and header checksum.
    pub hops: u32,
    /// UDP length and checksum.
    pub udp: u32,
    /// Bytes of a packet from its Ethernet header on, in the machine's byte order.
    pub length: u32,
    /// The number of the next packet.
    pub next: u32,
    /// Fills the record up to half a cache line.
    pub reserved: u32,
}

/// A stream at the sink, each field as it lies in the packet unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ArrivingStream {
    /// Source address.
    pub source: u32,
    /// Source and destination port.
    pub ports: u32,
    /// UDP length and checksum.
    pub udp: u32,
    /// Bytes of a packet from its Ethernet header on, in the machine's byte order.
    pub length: u32,
    /// The number that has to come next.
    pub expected: u32,
    /// Numbers that were left out.
    pub missing: u32,
    /// Packets that came after one with a higher number.
    pub late: u32,
    /// Destination address.
    pub destination: u32,
}

/// A packet of a timetable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// When it leaves: a share of the timetable's whole time, 2^32 being all of it.
    pub at: u32,
    /// Whose it is.
    pub stream: u32,
}

/// How many packets the timetables of the processors have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slots {
    /// One number for each processor.
    pub count: [u32; CPUS as usize],
}
