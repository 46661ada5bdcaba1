//! Sizes that both halves rely on.

/// Buckets of the leg table. The bucket of a leg is 16 bits wide, so every index is in range.
pub const LEG_BUCKETS: u32 = 1 << 16;

/// Buckets in one record of the bucket map: the kernel spaces records by eight bytes.
pub const BUCKETS_PER_RECORD: u32 = 2;

/// Legs that one bucket may hold: the bound of the program's only loop. The user half refuses a leg beyond it.
pub const LEGS_PER_BUCKET: u32 = 16;

/// Next hops, all destinations together. Index 0 means "none".
pub const NEXT_HOPS: u32 = 1 << 16;

/// Devices that packets may leave by.
pub const DEVICES: u32 = 256;

/// Bytes of the event ring.
pub const EVENT_RING_BYTES: u32 = 1 << 18;

/// Least time between two events about the same leg on the same CPU, in nanoseconds.
pub const EVENT_INTERVAL_NS: u64 = 1_000_000_000;
