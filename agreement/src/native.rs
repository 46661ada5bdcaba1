//! The user side: the same frames, the same core, ordinary memory.

use relay_common::packet::Packet;

use crate::Outcome;
use crate::shared::digest::digest;
use crate::shared::examine::examine;
use crate::shared::frame::{Examined, Frame};
use crate::shared::mutate::mutate;
use crate::shared::random::Random;

/// The core in user space.
pub struct Native<'a> {
    corpus: &'a [Frame],
    count: u32,
    seed: u64,
}

impl<'a> Native<'a> {
    /// The frames of this seed. `corpus` is not empty, and has no more frames than the kernel side takes.
    pub fn new(corpus: &'a [Frame], seed: u64) -> Self {
        Self { corpus, count: u32::try_from(corpus.len()).unwrap_or(u32::MAX), seed }
    }

    /// Frame number `number`, before the core sees it.
    pub fn frame(&self, number: u64) -> Frame {
        let mut random = Random::new(self.seed, number);
        let (from, other) = (random.below(self.count), random.below(self.count));
        let mut frame = self.corpus[from as usize];
        mutate(&mut frame, &self.corpus[other as usize], &mut random);
        frame
    }

    /// The digest of frame number `number`.
    pub fn digest(&self, number: u64) -> u64 {
        let mut frame = self.frame(number);
        let examined = run(&mut frame);
        digest(&examined, &frame)
    }

    /// What became of frame number `number`.
    pub fn outcome(&self, number: u64) -> Outcome {
        Self::outcome_of(&self.frame(number))
    }

    /// What becomes of this very frame.
    pub fn outcome_of(frame: &Frame) -> Outcome {
        let mut frame = *frame;
        let examined = run(&mut frame);
        Outcome::new(examined, &frame)
    }
}

fn run(frame: &mut Frame) -> Examined {
    let length = frame.length as usize;
    examine(&Packet::new(&mut frame.bytes[..length]))
}
