//! One number that stands for an examined frame: equal answers and equal bytes give equal digests.

use super::frame::{Examined, Frame, ROOM};

/// The digest of the answers and of the frame as it is now; never 0, which stands for "not run".
#[inline(always)]
pub fn digest(examined: &Examined, frame: &Frame) -> u64 {
    let mut state = step(0x2545_f491_4f6c_dd1d, frame.length as u64);
    for answer in examined.answers {
        state = step(state, answer);
    }
    // Whole words, and so a few bytes behind the frame: both sides have the same there.
    let words = frame.length as usize / 8 + 1;
    for word in 0..ROOM / 8 {
        if word >= words {
            break;
        }
        let at = word * 8;
        let b = &frame.bytes;
        let bytes = [b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6], b[at + 7]];
        state = step(state, u64::from_ne_bytes(bytes));
    }
    state | 1
}

/// Mixes in one word; each step is a bijection of the state, so no earlier difference is lost.
#[inline(always)]
fn step(state: u64, word: u64) -> u64 {
    let state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^ (state >> 29)
}
