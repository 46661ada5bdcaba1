//! Who joins and leaves when, and who decodes. Knows numbers, no packets.

use std::fmt;
use std::time::Duration;

/// The viewer that leaves and returns; it decodes nothing.
const RESTLESS: u8 = 2;
/// Parts of the demo's time: when it leaves and returns, and when the first and the last latecomer join.
const LEAVES: f64 = 0.3;
const RETURNS: f64 = 0.6;
const FIRST_LATE: f64 = 0.2;
const LAST_LATE: f64 = 0.5;

/// What a viewer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Join(u8),
    Leave(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(viewer) => write!(f, "viewer {viewer} joins"),
            Self::Leave(viewer) => write!(f, "viewer {viewer} leaves"),
        }
    }
}

/// Half of the viewers, who join before the camera sends.
pub(super) fn punctual(viewers: u8) -> impl Iterator<Item = u8> {
    1..=half(viewers)
}

/// The viewers with a real decoder: one who is there from the start, and the first and the last of the latecomers.
pub(super) fn decoding(viewers: u8) -> [u8; 3] {
    [1, half(viewers) + 1, viewers]
}

/// What happens while the camera sends, by the time since its start: the other half joins one by one, and one of the first half
/// leaves and returns.
pub(super) fn while_media_runs(viewers: u8, duration: Duration) -> Vec<(Duration, Step)> {
    let late = half(viewers) + 1..=viewers;
    let distance = (LAST_LATE - FIRST_LATE) / f64::from((viewers - half(viewers)).saturating_sub(1).max(1));
    let joins =
        late.zip(0_u8..).map(|(viewer, nth)| (FIRST_LATE + distance * f64::from(nth), Step::Join(viewer)));
    let mut steps: Vec<_> =
        joins.chain([(LEAVES, Step::Leave(RESTLESS)), (RETURNS, Step::Join(RESTLESS))]).collect();
    steps.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    steps.into_iter().map(|(part, step)| (duration.mul_f64(part), step)).collect()
}

fn half(viewers: u8) -> u8 {
    viewers.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::super::{FEWEST, MOST};
    use super::*;

    fn counts() -> impl Iterator<Item = u8> {
        (FEWEST..=MOST).map(|viewers| u8::try_from(viewers).unwrap())
    }

    #[test]
    fn whoever_joins_is_away_and_whoever_leaves_is_there() {
        for viewers in counts() {
            let mut there: Vec<u8> = punctual(viewers).collect();
            for (_, step) in while_media_runs(viewers, Duration::from_secs(10)) {
                match step {
                    Step::Join(viewer) => {
                        assert!(!there.contains(&viewer), "{viewer} of {viewers}");
                        there.push(viewer);
                    }
                    Step::Leave(viewer) => {
                        assert!(there.contains(&viewer), "{viewer} of {viewers}");
                        there.retain(|other| *other != viewer);
                    }
                }
            }
            assert_eq!(there.len(), usize::from(viewers));
        }
    }

    #[test]
    fn three_who_stay_decode() {
        for viewers in counts() {
            let [one, two, three] = decoding(viewers);
            assert!(one < two && two < three && three <= viewers, "of {viewers}");
            assert!(!decoding(viewers).contains(&RESTLESS), "of {viewers}");
        }
    }
}
