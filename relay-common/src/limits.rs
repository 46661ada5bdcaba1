//! Sizes that both halves rely on.

/// Fewest buckets of the leg table; there are more where there is room for more than half as many legs.
pub const LEG_BUCKETS: u32 = 1 << 16;

/// Buckets for so many legs: a power of two.
pub const fn leg_buckets(legs: u32) -> u32 {
    const MOST: u32 = 1 << 30;
    let wanted = if legs > MOST / 2 { MOST } else { (2 * legs).next_power_of_two() };
    if wanted > LEG_BUCKETS { wanted } else { LEG_BUCKETS }
}

/// Buckets in one record of the bucket map: the kernel spaces records by eight bytes.
pub const BUCKETS_PER_RECORD: u32 = 2;

/// Legs that one bucket may hold: the bound of the program's only loop. The user half refuses a leg beyond it.
pub const LEGS_PER_BUCKET: u32 = 16;

/// Next hops, all destinations together. Index 0 means "none".
pub const NEXT_HOPS: u32 = 1 << 16;

/// Shared ports, numbered from 1: a number has twelve bits.
pub const SHARED_PORTS: u16 = 4095;

/// Tables of payload types.
pub const PAYLOAD_MAPS: u32 = 1024;

/// Words of the map of ports that are ours: 65,536 bits.
pub const PORT_WORDS: u32 = 1024;

/// Our own addresses, as far as the packet path knows them.
pub const LOCAL_ADDRESSES: u32 = 1024;

/// Shortest burst of a rate limit in nanoseconds: several ticks of the coarse clock that the packet path reads.
pub const LEAST_BURST_NS: u64 = 20_000_000;

/// Least time between two reports of orphans on the same CPU, in nanoseconds.
pub const ORPHAN_INTERVAL_NS: u64 = 10_000_000;

/// Devices that packets may leave by.
pub const DEVICES: u32 = 256;

/// Bytes of the event ring.
pub const EVENT_RING_BYTES: u32 = 1 << 18;

/// Least time between two events about the same leg on the same CPU, in nanoseconds.
pub const EVENT_INTERVAL_NS: u64 = 1_000_000_000;
