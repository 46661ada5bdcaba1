//! Pseudo-random numbers that are the same in both halves: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

/// A sequence of numbers that its seed and its stream determine.
pub struct Random(u64);

impl Random {
    /// The sequence number `stream` of a seed. Each stream stands alone: no other needs to be drawn first.
    #[inline(always)]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    /// The same for the scene of that frame: it does not depend on how many numbers the frame took.
    #[inline(always)]
    pub fn of_scene(seed: u64, stream: u64) -> Self {
        Self::new(!seed, stream)
    }

    /// The next number, all 64 bits of it random.
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number below `limit`, which is not 0. Its bias does not matter here.
    #[inline(always)]
    pub fn below(&mut self, limit: u32) -> u32 {
        (((self.next() & 0xffff_ffff) * limit as u64) >> 32) as u32
    }
}

#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
