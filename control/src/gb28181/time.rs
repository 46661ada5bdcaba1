//! Times as the standard writes them: Beijing local time without a zone (9.10.3, A.2.1.10). It must not know any clock.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Beijing is eight hours ahead of UTC, all year.
const BEIJING_SECONDS: i64 = 8 * 3_600;

const DAY_SECONDS: i64 = 86_400;

/// A second, counted from 1970-01-01T00:00:00 UTC. Written and read as Beijing local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime(pub i64);

impl LocalTime {
    /// Reads `2026-11-20T20:15:30`, perhaps with a space for the T, a fraction, or a zone of its own (`Z`, `+08:00`), which
    /// some devices add.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (date, time) = text.split_at_checked(10)?;
        let time = time.strip_prefix(['T', 't', ' '])?;
        let (time, rest) = time.split_at_checked(8)?;
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(time, ':')?;
        if !(1..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // 24:00:00 ends a day, and second 60 is a leap second.
        if hour > 24 || minute > 59 || second > 60 {
            return None;
        }
        let zone = zone(rest.trim_start_matches(|letter: char| letter == '.' || letter.is_ascii_digit()))?;
        let seconds = days(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
        Some(Self(seconds - zone))
    }

    /// This time by the system's clock, and its milliseconds.
    #[must_use]
    pub fn of(time: SystemTime) -> (Self, u32) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        (Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2)), since.subsec_millis())
    }
}

/// The value of a Date field (9.10.3), which is not that of RFC 3261: `2026-11-20T20:15:30.123`.
#[must_use]
pub fn date(time: SystemTime) -> String {
    let (seconds, milliseconds) = LocalTime::of(time);
    format!("{seconds}.{milliseconds:03}")
}

impl fmt::Display for LocalTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.0.saturating_add(BEIJING_SECONDS);
        let (day, second) = (local.div_euclid(DAY_SECONDS), local.rem_euclid(DAY_SECONDS));
        let (year, month, date) = civil(day);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(formatter, "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Three numbers of digits.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = || {
        let part = parts.next()?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    Some([next()?, next()?, next()?])
}

/// Seconds ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    match text {
        "" => Some(BEIJING_SECONDS),
        "Z" | "z" => Some(0),
        _ => {
            let sign = match text.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = text.get(1..)?.split_once(':')?;
            let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
            Some(sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
        }
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March, so that the leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day.saturating_add(719_468);
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    (year + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn date_field_is_beijing_time_with_milliseconds() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_177_330_123);
        assert_eq!(date(time), "2026-11-20T20:22:10.123");
        assert_eq!(date(UNIX_EPOCH), "1970-01-01T08:00:00.000");
    }

    #[test]
    fn times_of_devices_are_read_with_what_they_add() {
        let plain = LocalTime::parse("2026-11-20T20:22:10").unwrap();
        assert_eq!(plain, LocalTime(1_795_177_330));
        for same in [
            "2026-11-20 20:22:10",
            " 2026-11-20T20:22:10.5 ",
            "2026-11-20T12:22:10Z",
            "2026-11-20T20:22:10+08:00",
            "2026-11-20T05:22:10.000-07:00",
        ] {
            assert_eq!(LocalTime::parse(same), Some(plain), "{same}");
        }
        assert_eq!(LocalTime::parse("2024-02-29T24:00:00"), LocalTime::parse("2024-03-01T00:00:00"));
        for wrong in [
            "",
            "2026-11-20",
            "20:22:10",
            "2026-13-20T20:22:10",
            "2026-11-20T20:61:10",
            "2026-11-20Tx0:22:10",
        ] {
            assert_eq!(LocalTime::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_time_of_four_digit_years_is_read_as_it_is_written(seconds in -62_135_596_800_i64..253_402_300_000) {
            let time = LocalTime(seconds - BEIJING_SECONDS);
            prop_assert_eq!(LocalTime::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn no_text_makes_it_stumble(text in "\\PC{0,40}") {
            let _ = LocalTime::parse(&text);
        }
    }
}
