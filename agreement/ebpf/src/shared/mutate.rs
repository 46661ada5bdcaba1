//! From a template to a frame that somebody might send: bits flipped, values set, lengths that lie, cut, extended, and
//! pieces of other frames put in.

use super::frame::{Frame, LONGEST, ROOM, SHORTEST};
use super::random::Random;

const MASK: usize = ROOM - 1;

/// Bytes of the longest piece that is taken from another frame.
const PIECE: usize = 40;

/// One more than the most mutations of one frame.
const MUTATIONS: u32 = 5;

/// Values at the edges of what headers compare with: lengths, flags, types and ports.
const EDGES: [u16; 32] = [
    0, 1, 2, 7, 8, 9, 11, 12, 13, 19, 20, 21, 27, 28, 29, 40, 48, 0x45, 0x60, 0x7f, 0x80, 0xc8, 0x0800,
    0x2000, 0x4000, 0x8100, 0x86dd, 0x88a8, 0x7530, 0x7fff, 0xfffe, 0xffff,
];

/// Where lengths, types, flags and checksums lie in the frames of the templates: most of what decides.
const PLACES: [u8; 32] = [
    12, 14, 15, 16, 18, 20, 22, 23, 24, 26, 30, 34, 36, 38, 40, 42, 43, 44, 46, 50, 54, 56, 58, 60, 62, 63,
    64, 66, 70, 74, 76, 80,
];

/// Changes a frame that is a copy of a template; `other` is another template.
#[inline(always)]
pub fn mutate(frame: &mut Frame, other: &Frame, random: &mut Random) {
    // Half of them stay as they are: they get furthest.
    let rounds = random.below(MUTATIONS * 2);
    for round in 0..MUTATIONS {
        if MUTATIONS + round < rounds {
            once(frame, other, random);
        }
    }
}

#[inline(always)]
fn once(frame: &mut Frame, other: &Frame, random: &mut Random) {
    let kind = random.below(16);
    let value = random.next();
    let near = PLACES[(value >> 32) as usize & 31] as usize;
    let far = random.below(LONGEST) as usize;
    let at = if value & 3 << 40 == 0 { far } else { near };
    match kind {
        0..4 => {
            let edge = EDGES[(value >> 48) as usize & 31].to_be_bytes();
            frame.bytes[at & MASK] = edge[0];
            frame.bytes[(at + 1) & MASK] = edge[1];
        }
        4..6 => frame.bytes[at & MASK] = value as u8,
        6..8 => frame.bytes[at & MASK] ^= 1 << (value & 7),
        8..10 => {
            // A length, a port or a counter that is off by a little.
            let number = u16::from_be_bytes([frame.bytes[at & MASK], frame.bytes[(at + 1) & MASK]]);
            let moved = number.wrapping_add((value & 15) as u16).wrapping_sub(7).to_be_bytes();
            frame.bytes[at & MASK] = moved[0];
            frame.bytes[(at + 1) & MASK] = moved[1];
        }
        10..12 => {
            for index in 0..PIECE {
                let to = (at + index) & MASK;
                frame.bytes[to] = other.bytes[(far + index) & MASK];
            }
        }
        12..14 => resize(frame, random.below(frame.length + 1)),
        14 => resize(frame, frame.length + (value & 63) as u32),
        _ => {
            // Cut within the headers.
            resize(frame, SHORTEST + (value & 63) as u32);
        }
    }
}

#[inline(always)]
fn resize(frame: &mut Frame, length: u32) {
    frame.length = length.clamp(SHORTEST, LONGEST);
}
