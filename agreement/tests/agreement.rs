//! The kernel program and the user-space parser agree: about each frame that they once did not, and about ten million new
//! ones. Takes root.
#![expect(clippy::panic, reason = "a test stops at the first surprise")]

use std::env;
use std::path::Path;

use agreement::{BATCH, Frame, Kernel, Native, Outcome, Regressions, corpus, hexadecimal};

/// Frames of one test run, unless `CULVERT_AGREEMENT_FRAMES` says otherwise.
const FRAMES: u64 = 10_000_000;

fn regressions() -> Regressions {
    Regressions::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions.txt"))
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: found `{text}`, expected a number")))
}

#[test]
fn ten_million_frames_come_out_the_same() {
    let corpus = corpus().unwrap();
    let seed = setting("CULVERT_AGREEMENT_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    let frames = setting("CULVERT_AGREEMENT_FRAMES").unwrap_or(FRAMES);
    println!("{frames} frames of seed {seed}; the same again: CULVERT_AGREEMENT_SEED={seed}");
    let mut kernel = Kernel::load().unwrap();
    let native = Native::new(&corpus, seed);

    let mut first = 0;
    while first < frames {
        let count = u32::try_from(frames - first).unwrap_or(u32::MAX).min(BATCH);
        let digests = kernel.digests(&corpus, seed, first, count).unwrap();
        assert_eq!(digests.len(), count as usize);
        for (number, digest) in (first..).zip(digests) {
            if digest != native.digest(number) {
                let frame = native.frame(number);
                regressions().keep(&frame, seed, number).unwrap();
                let in_kernel = kernel.outcome(&corpus, seed, number).unwrap();
                panic!(
                    "seed {seed}, frame {number}: {}",
                    difference(&frame, &in_kernel, &native.outcome(number))
                );
            }
        }
        first += u64::from(count);
    }
}

#[test]
fn frames_that_once_differed_come_out_the_same() {
    let mut kernel = Kernel::load().unwrap();
    // Templates too, unchanged: what is read here at all is shown to be read.
    for frame in regressions().read().unwrap().iter().chain(&corpus().unwrap()) {
        let (in_kernel, in_user_space) = (kernel.outcome_of(frame).unwrap(), Native::outcome_of(frame));
        assert!(in_kernel == in_user_space, "{}", difference(frame, &in_kernel, &in_user_space));
    }
}

/// The test can fail: a digest tells frames and answers apart.
#[test]
fn a_difference_is_seen() {
    let corpus = corpus().unwrap();
    let mut kernel = Kernel::load().unwrap();
    let digests = kernel.digests(&corpus, 1, 0, 4096).unwrap();
    let of_another_seed = Native::new(&corpus, 2);
    let same =
        (0..).zip(&digests).filter(|(number, digest)| of_another_seed.digest(*number) == **digest).count();
    // Some frames of any seed are a template as it is.
    assert!(same < digests.len() / 50, "{same} of {} digests are the same", digests.len());

    let frame = corpus[0];
    let mut other = frame;
    other.bytes[frame.length as usize - 1] ^= 1;
    assert_ne!(Native::outcome_of(&frame), kernel.outcome_of(&other).unwrap());
}

/// The frames are worth it: every answer that the core has occurs among them, many times.
#[test]
fn the_frames_reach_every_answer() {
    let corpus = corpus().unwrap();
    let native = Native::new(&corpus, 7);
    let mut seen = std::collections::BTreeMap::<_, u32>::new();
    for number in 0..200_000 {
        let frame = native.frame(number);
        let before = frame.bytes[..frame.length as usize].to_vec();
        let outcome = native.outcome(number);
        let changed = outcome.frame != before;
        *seen.entry((outcome.examined.answers[1], outcome.examined.answers[5], changed)).or_default() += 1;
    }
    println!("{seen:#x?}");
    assert!(seen.values().all(|count| *count > 10), "{seen:x?}");
    // Five reasons to pass, two to drop, and to send on.
    assert_eq!(seen.len(), 8, "{seen:x?}");
}

fn difference(frame: &Frame, in_kernel: &Outcome, in_user_space: &Outcome) -> String {
    let bytes = hexadecimal(&frame.bytes[..frame.length as usize]);
    let told = |outcome: &Outcome| format!("{:x?} {}", outcome.examined.answers, hexadecimal(&outcome.frame));
    format!("{bytes}\n  in the kernel: {}\n  in user space: {}", told(in_kernel), told(in_user_space))
}
