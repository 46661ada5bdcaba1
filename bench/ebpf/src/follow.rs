//! Which of the packets that one processor numbered did not arrive.

use crate::records::Arrivals;

impl Arrivals {
    /// The packet with this number has come. One that is late, because the processor that works off a queue has changed, fills
    /// its gap; one that comes again costs more than it could hide.
    #[inline(always)]
    pub(crate) fn follow(&mut self, number: u64) {
        const WINDOW: u64 = u64::BITS as u64;
        if number >= self.expected {
            let skipped = number - self.expected;
            self.missing += skipped;
            self.window = if skipped + 1 < WINDOW { self.window << (skipped + 1) | 1 } else { 1 };
            self.expected = number + 1;
            return;
        }
        let late = self.expected - number - 1;
        let bit = 1 << (late & (WINDOW - 1));
        if late < WINDOW && self.window & bit == 0 {
            self.window |= bit;
            self.missing = self.missing.wrapping_sub(1);
            self.late += 1;
        } else {
            self.missing += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(numbers: impl IntoIterator<Item = u64>) -> Arrivals {
        let mut arrivals = Arrivals::default();
        numbers.into_iter().for_each(|number| arrivals.follow(number));
        arrivals
    }

    fn missing(numbers: impl IntoIterator<Item = u64>) -> u64 {
        followed(numbers).missing
    }

    #[test]
    fn what_is_left_out_is_missing() {
        assert_eq!(missing(0..100), 0);
        assert_eq!(missing((0..100).chain(103..200)), 3);
        assert_eq!(missing((0..100).chain(300..400)), 200);
    }

    #[test]
    fn what_comes_late_is_not() {
        let arrivals = followed((0..100).chain(108..116).chain(100..108).chain(116..200));
        assert_eq!((arrivals.missing, arrivals.late), (0, 8));
        assert_eq!(followed(0..100).late, 0);
    }

    #[test]
    fn what_comes_again_does_not_hide_a_loss() {
        assert_eq!(missing((0..100).chain(99..110)), 2);
        assert_eq!(missing((0..100).chain(101..110).chain([109, 110])), 3);
    }
}
