//! How many packets wait for the broadcast on one CPU, so that what arrives is refused, and counted, before the kernel would
//! drop packets without a word.

/// Frames that wait for the broadcast on one CPU. The kernel takes no more than this.
pub const QUEUE: u32 = 1 << 14;

/// Frames of a queue from which on what arrives is refused. The rest is kept for packets on their way to the next block, which
/// nobody could refuse any more: they were in the queue before, and are in the ring of the pair of devices now (256 places), or
/// in the hands of a program (64 of a poll). Beside them each CPU holds up to eight packets that have a place and are not in it
/// (CPU_MAP_BULK_SIZE of the kernel), which makes 704 with 48 CPUs that receive at the same time.
pub const FULL: u64 = QUEUE as u64 - 1_024;

/// Nanoseconds after which a queue that seems full, and that nothing came out of, is known to be empty: the kernel takes what
/// waits there as long as there is something.
pub const STILL: u64 = 1_000_000_000;

/// The places of a queue. A record of the `FAN_QUEUES` map, by CPU. Both counters run up for ever; between them lie the packets
/// that wait. A packet carries the number of its place, and brings [`Queue::left`] there when it comes out. So what the kernel
/// loses on the way into the queue is no longer counted as waiting once any packet comes out that was behind it.
///
/// Writers and readers have cache lines of their own: every CPU gives places, one takes packets out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Queue {
    /// The last place that was given. All CPUs add to it.
    pub entered: u64,
    /// What [`Queue::left`] was when a packet was last refused.
    pub left_then: u64,
    /// Since when it has been that, CLOCK_MONOTONIC in nanoseconds; 0 before the first refusal.
    pub still_since: u64,
    /// Fills the cache line: 0.
    pub reserved: [u64; 5],
    /// The place of the last packet that came out. Only the CPU that the queue belongs to writes it, but where
    /// [`Queue::still_since`] is long ago.
    pub left: u64,
    /// Fills the cache line: 0.
    pub reserved_left: [u64; 7],
}

impl Queue {
    /// Whether what arrives is to be refused, by [`Queue::entered`] and [`Queue::left`]. A packet may come out before one of
    /// an earlier place is in, so that fewer wait than none.
    #[inline(always)]
    pub const fn is_full(entered: u64, left: u64) -> bool {
        entered.saturating_sub(left) >= FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_full_before_the_kernel_s_is() {
        assert!(!Queue::is_full(FULL - 1, 0) && Queue::is_full(FULL, 0));
        assert!(!Queue::is_full(7, 9), "out of order");
        assert!(FULL + 256 + 64 + 48 * 8 <= u64::from(QUEUE));
    }

    #[test]
    fn giving_places_and_taking_packets_out_share_no_cache_line() {
        assert_eq!((size_of::<Queue>(), core::mem::offset_of!(Queue, left)), (128, 64));
    }
}
