//! The kernel program and the user-space parser agree: about each frame that they once did not, and about ten million new
//! ones. Takes root.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::{env, thread};

use agreement::{BATCH, Case, Frame, Kernel, Native, Outcome, Regressions, corpus, hexadecimal};
use relay_common::verdict::{Drop, Pass};

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

    // The kernel makes a batch while user space checks the one before.
    let (sender, batches) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = sender;
            let mut kernel = Kernel::load().unwrap();
            for first in (0..frames).step_by(BATCH as usize) {
                let count = u32::try_from(frames - first).unwrap_or(u32::MAX).min(BATCH);
                let digests = kernel.digests(&corpus, seed, first, count).unwrap();
                // The other side has found a difference and ended.
                if sender.send((first, digests)).is_err() {
                    return;
                }
            }
        });
        let mut native = Native::new(&corpus, seed);
        let mut compared = 0;
        for (first, digests) in batches {
            compared += digests.len() as u64;
            for (number, digest) in (first..).zip(digests) {
                if digest != native.digest(number) {
                    differ(&corpus, native.case(number));
                }
            }
        }
        assert_eq!(compared, frames);
    });
}

/// Keeps the frame and says what differs.
fn differ(corpus: &[Frame], case: Case) -> ! {
    regressions().keep(&case).unwrap();
    let in_kernel = Kernel::load().unwrap().outcome(corpus, case.seed, case.number).unwrap();
    panic!("{}", difference(&case, &in_kernel, &Native::outcome_of(&case)));
}

#[test]
fn frames_that_once_differed_come_out_the_same() {
    let mut kernel = Kernel::load().unwrap();
    // Templates too, unchanged, in scenes of their own: what is read here at all is shown to be read.
    let templates = (0..).zip(corpus().unwrap()).map(|(number, frame)| Case { frame, seed: 1, number });
    for case in regressions().read().unwrap().into_iter().chain(templates) {
        let (in_kernel, in_user_space) = (kernel.outcome_of(&case).unwrap(), Native::outcome_of(&case));
        assert!(in_kernel == in_user_space, "{}", difference(&case, &in_kernel, &in_user_space));
    }
}

/// The test can fail: a digest tells frames and scenes apart.
#[test]
fn a_difference_is_seen() {
    let corpus = corpus().unwrap();
    let mut kernel = Kernel::load().unwrap();
    let digests = kernel.digests(&corpus, 1, 0, 4096).unwrap();
    let mut of_another_seed = Native::new(&corpus, 2);
    let same = (0..).zip(&digests).filter(|(number, digest)| of_another_seed.digest(*number) == **digest);
    assert_eq!(same.count(), 0);

    let case = Case { frame: corpus[0], seed: 1, number: 1 };
    let mut other = case;
    other.frame.bytes[case.frame.length as usize - 1] ^= 1;
    assert_ne!(Native::outcome_of(&case), kernel.outcome_of(&other).unwrap());
    let other = Case { number: 2, ..case };
    assert_ne!(Native::outcome_of(&case), kernel.outcome_of(&other).unwrap());
}

/// The frames are worth it: every answer that the core has occurs among them, many times.
#[test]
fn the_frames_reach_every_answer() {
    let corpus = corpus().unwrap();
    let native = Native::new(&corpus, 7);
    let (mut passed, mut dropped, mut done) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for number in 0..200_000 {
        let outcome = native.outcome(number);
        *passed.entry(outcome.answers()[1]).or_insert(0) += 1;
        *dropped.entry(outcome.answers()[3]).or_insert(0) += 1;
        *done.entry(outcome.answers()[6]).or_insert(0) += 1;
    }
    let seen = |answers: &BTreeMap<u64, u32>, reason: u64| {
        answers.get(&(1 << 32 | reason)).is_some_and(|count| *count >= 20)
    };
    let elsewhere = [Pass::NoWorker];
    let passes = Pass::ALL.into_iter().filter(|reason| !elsewhere.contains(reason));
    let missing: Vec<_> = passes.filter(|reason| !seen(&passed, *reason as u64)).collect();
    assert!(missing.is_empty(), "no frame passed for {missing:?}; found {passed:x?}");
    // These are decided by the programs around the core.
    let elsewhere = [
        Drop::Orphan,
        Drop::NoRoom,
        Drop::EgressFull,
        Drop::IngressFull,
        Drop::CopiesFull,
        Drop::RtcpEnded,
        Drop::RtcpUntranslated,
    ];
    let drops = Drop::ALL.into_iter().filter(|reason| !elsewhere.contains(reason));
    let missing: Vec<_> = drops.filter(|reason| !seen(&dropped, *reason as u64)).collect();
    assert!(missing.is_empty(), "no frame was dropped for {missing:?}; found {dropped:x?}");
    // Sent on with headers of the same length, and with others.
    assert!(done.get(&1).is_some_and(|count| *count > 5_000), "{done:x?}");
    assert!(done.get(&2).is_some_and(|count| *count > 5_000), "{done:x?}");
}

fn difference(case: &Case, in_kernel: &Outcome, in_user_space: &Outcome) -> String {
    let bytes = hexadecimal(&case.frame.bytes[..case.frame.length as usize]);
    let Case { seed, number, .. } = case;
    format!(
        "seed {seed}, frame {number}: {bytes}\n  in the kernel: {in_kernel}\n  in user space: {in_user_space}"
    )
}
