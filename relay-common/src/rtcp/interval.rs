//! When the next report is due.

use core::time::Duration;

/// The time to the next report: `base`, more or less by up to a half, as `random` decides, so that reports of many legs
/// do not fall into step (RFC 3550 section 6.3.1).
pub fn interval(base: Duration, random: u32) -> Duration {
    base / 2 + base.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_half_to_one_and_a_half() {
        let base = Duration::from_secs(5);
        assert_eq!(interval(base, 0), Duration::from_millis(2_500));
        assert_eq!(interval(base, 1 << 31), base);
        assert!(interval(base, u32::MAX) < Duration::from_millis(7_501));
    }
}
