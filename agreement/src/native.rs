//! The user side: the same frames and scenes, the same core, ordinary memory.

use relay_common::packet::Packet;

use crate::shared::arrange::arrange;
use crate::shared::digest::digest;
use crate::shared::examine::{examine, rebuild};
use crate::shared::frame::{Frame, ROOM};
use crate::shared::mutate::mutate;
use crate::shared::random::Random;
use crate::shared::scene::Scene;
use crate::{Case, Outcome};

/// The core in user space.
pub struct Native<'a> {
    corpus: &'a [Frame],
    count: u32,
    seed: u64,
    scene: Box<Scene>,
}

impl<'a> Native<'a> {
    /// The frames of this seed. `corpus` is not empty, and has no more frames than the kernel side takes.
    pub fn new(corpus: &'a [Frame], seed: u64) -> Self {
        let count = u32::try_from(corpus.len()).unwrap_or(u32::MAX);
        Self { corpus, count, seed, scene: Box::new(Scene::blank()) }
    }

    /// Frame number `number` with its scene, before the core sees it.
    pub fn case(&self, number: u64) -> Case {
        let mut random = Random::new(self.seed, number);
        let (from, other) = (random.below(self.count), random.below(self.count));
        let mut frame = self.corpus[from as usize];
        mutate(&mut frame, &self.corpus[other as usize], &mut random);
        Case { frame, seed: self.seed, number }
    }

    /// The digest of frame number `number`.
    pub fn digest(&mut self, number: u64) -> u64 {
        let mut case = self.case(number);
        run(&mut case, &mut self.scene);
        digest(&self.scene, &case.frame)
    }

    /// What became of frame number `number`.
    pub fn outcome(&self, number: u64) -> Outcome {
        Self::outcome_of(&self.case(number))
    }

    /// What becomes of this very frame.
    pub fn outcome_of(case: &Case) -> Outcome {
        let (mut case, mut scene) = (*case, Box::new(Scene::blank()));
        run(&mut case, &mut scene);
        Outcome::new(&scene, &case.frame)
    }
}

/// What becomes of any frame in a scene of this seed: decided and rewritten in memory that is no longer than the frame.
pub fn decide(frame: &[u8], seed: u64) -> Box<[u8]> {
    let mut scene = Box::new(Scene::blank());
    arrange(&mut scene, &mut Random::of_scene(seed, 0));
    let mut bytes: Box<[u8]> = frame.into();
    // SAFETY: the scene is a whole one, and ours.
    let Some(plan) = (unsafe { examine(&Packet::new(&mut bytes), &mut *scene) }) else { return bytes };
    let by = plan.change.unsigned_abs() as usize;
    let mut rebuilt: Box<[u8]> = if plan.change > 0 {
        bytes.get(by..).unwrap_or_default().into()
    } else {
        std::iter::repeat_n(0, by).chain(bytes.iter().copied()).collect()
    };
    // SAFETY: as above.
    unsafe { rebuild(&Packet::new(&mut rebuilt), &mut *scene, &plan) };
    rebuilt
}

fn run(case: &mut Case, scene: &mut Scene) {
    arrange(scene, &mut Random::of_scene(case.seed, case.number));
    let frame = &mut case.frame;
    let length = frame.length as usize;
    // SAFETY: the scene is a whole one, borrowed for us alone.
    let Some(plan) = (unsafe { examine(&Packet::new(&mut frame.bytes[..length]), scene) }) else { return };
    move_start(frame, plan.change);
    let length = frame.length as usize;
    // SAFETY: as above.
    unsafe { rebuild(&Packet::new(&mut frame.bytes[..length]), scene, &plan) };
}

/// Takes bytes away from the start of a frame, or puts some there: what the kernel does by moving the start. Which bytes
/// appear does not matter: headers are written over all of them.
fn move_start(frame: &mut Frame, change: i32) {
    let (length, by) = (frame.length as usize, change.unsigned_abs());
    if change > 0 {
        frame.bytes.copy_within(by as usize..length, 0);
        frame.length -= by;
    } else {
        let end = (length + by as usize).min(ROOM);
        frame.bytes.copy_within(..end - by as usize, by as usize);
        frame.length += by;
    }
}
