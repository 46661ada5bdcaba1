//! Limits on the rate of one leg: a token bucket in the form of a virtual schedule (GCRA, ITU-T I.371 annex A), so that
//! one camera cannot flood the rest. Two CPUs that write at the same time lose one packet's charge at worst.

use crate::verdict::Drop;

/// [`Police::byte_cost`] counts parts of a nanosecond: so many to one.
pub const BYTE_COST_UNIT: u64 = 256;

/// The limits of one leg and how far its schedules have run. A record of the `POLICE` map, by the index of the leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Police {
    /// Nanoseconds that one packet takes; 0 for no limit.
    pub packet_cost: u32,
    /// Parts of a nanosecond ([`BYTE_COST_UNIT`]) that one byte of an IP packet takes; 0 for no limit.
    pub byte_cost: u32,
    /// How far a schedule may run ahead, in nanoseconds: the burst. The clock is coarse, so less than
    /// [`crate::limits::LEAST_BURST_NS`] would drop packets of an even stream.
    pub burst: u64,
    /// Until when the packets that went on have used up their limit, CLOCK_MONOTONIC in nanoseconds.
    pub packets_until: u64,
    /// The same for bytes.
    pub bytes_until: u64,
}

impl Police {
    /// Charges a packet of `length` bytes that arrives at `now`, CLOCK_MONOTONIC in nanoseconds.
    ///
    /// # Errors
    /// It is one too many; nothing is charged then.
    #[inline(always)]
    pub fn charge(&mut self, length: u32, now: u64) -> Result<(), Drop> {
        let packets_until = if self.packets_until > now { self.packets_until } else { now };
        let bytes_until = if self.bytes_until > now { self.bytes_until } else { now };
        if packets_until - now > self.burst || bytes_until - now > self.burst {
            return Err(Drop::RateExceeded);
        }
        if self.packet_cost != 0 {
            self.packets_until = packets_until + self.packet_cost as u64;
        }
        if self.byte_cost != 0 {
            self.bytes_until = bytes_until + self.byte_cost as u64 * length as u64 / BYTE_COST_UNIT;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of `packets` go on that arrive evenly over one second.
    fn admitted(mut police: Police, packets: u64, length: u32) -> u64 {
        let step = SECOND / packets;
        (0..packets).filter(|at| police.charge(length, SECOND + at * step).is_ok()).count() as u64
    }

    #[test]
    fn packets_are_limited_to_their_rate() {
        // 1,000 packets/s, burst of 20 ms: 20 packets more in the first second.
        let police = Police { packet_cost: 1_000_000, burst: 20_000_000, ..Police::default() };
        assert_eq!(admitted(police, 500, 200), 500);
        let through = admitted(police, 100_000, 200);
        assert!((1_000..=1_022).contains(&through), "{through}");
    }

    #[test]
    fn bytes_are_limited_to_their_rate() {
        // 8 Mbit/s: a byte takes a microsecond.
        let police = Police { byte_cost: 256_000, burst: 20_000_000, ..Police::default() };
        assert_eq!(admitted(police, 900, 1_000), 900);
        let through = admitted(police, 10_000, 1_000);
        assert!((1_000..=1_022).contains(&through), "{through}");
    }

    #[test]
    fn no_limit_limits_nothing() {
        assert_eq!(admitted(Police::default(), 100_000, 1_500), 100_000);
    }

    #[test]
    fn what_is_refused_is_not_charged() {
        let mut police = Police { packet_cost: 1_000_000, burst: 20_000_000, ..Police::default() };
        while police.charge(100, SECOND).is_ok() {}
        let full = police;
        assert_eq!(police.charge(100, SECOND), Err(Drop::RateExceeded));
        assert_eq!(police, full);
    }
}
