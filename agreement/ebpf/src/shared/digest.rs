//! One number that stands for an examined frame: equal scenes and equal bytes give equal digests.

use super::frame::{Frame, ROOM};
use super::scene::{Scene, WORDS};

/// The digest of the scene and of the frame as they are now; never 0, which stands for "not run".
#[inline(always)]
pub fn digest(scene: &Scene, frame: &Frame) -> u64 {
    let mut state = step(0x2545_f491_4f6c_dd1d, frame.length as u64);
    let scene = (&raw const *scene).cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: within the scene, which has so many words, and no padding (see the test of the user side).
        state = step(state, unsafe { *scene.add(word) });
    }
    let words = frame.length as usize / 8;
    for word in 0..ROOM / 8 {
        if word >= words {
            break;
        }
        let at = word * 8;
        let b = &frame.bytes;
        let bytes = [b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6], b[at + 7]];
        state = step(state, u64::from_ne_bytes(bytes));
    }
    // The two sides have different bytes behind the frame.
    let rest = frame.length as usize & 7;
    for index in 0..7 {
        if index < rest {
            state = step(state, frame.bytes[(words * 8 + index) & (ROOM - 1)] as u64);
        }
    }
    state | 1
}

/// Mixes in one word; each step is a bijection of the state, so no earlier difference is lost.
#[inline(always)]
fn step(state: u64, word: u64) -> u64 {
    let state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^ (state >> 29)
}
