//! Identifiers of devices, channels, platforms and users (Annex E): 20 digits, of which the standard says what they
//! mean and devices in the field do not care. It must not know who has which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest identifier that is kept.
const LONGEST: usize = 32;

/// How long an identifier of the standard is; those of administrative regions are shorter (A.2.1.2).
const STANDARD: usize = 20;

/// An identifier: 20 digits by the standard, 2, 4, 6 or 8 for a region. Because people type them into devices, anything of up
/// to 32 letters, digits, `-` and `_` is kept; [`DeviceId::is_standard`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    text: [u8; LONGEST],
    length: u8,
}

/// A text that is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no GB/T 28181 identifier: expected 20 digits, such as 34020000001320000001")]
pub struct IdError {
    found: String,
}

impl DeviceId {
    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever put in.
        self.text
            .get(..self.length.into())
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// Whether it is as the standard has it: 20 digits. What the 14th means changed in 2022, so no value of it is wrong.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.as_str().len() == STANDARD && self.as_str().bytes().all(|byte| byte.is_ascii_digit())
    }

    /// What it identifies: digits 11 to 13 (Table E.1). `None` where it is not standard or the number says nothing.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        let number: u16 = self.is_standard().then(|| self.as_str().get(10..13)?.parse().ok())??;
        KINDS.iter().find(|(numbers, _)| numbers.contains(&number)).map(|(_, name)| *name)
    }

    /// The ten digits by which a domain is named: province to base unit, and industry. `None` where it is not standard.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.is_standard().then(|| self.as_str().get(..10))?
    }
}

/// Digits 11 to 13 and what they say (Table E.1).
const KINDS: &[(std::ops::RangeInclusive<u16>, &str)] = &[
    (111..=111, "dvr"),
    (112..=112, "video server"),
    (113..=113, "encoder"),
    (114..=114, "decoder"),
    (118..=118, "nvr"),
    (121..=121, "checkpoint"),
    (122..=122, "multi-lens camera"),
    (130..=130, "hvr"),
    (131..=131, "camera"),
    (132..=132, "network camera"),
    (133..=133, "display"),
    (134..=134, "alarm input"),
    (135..=135, "alarm output"),
    (136..=136, "voice input"),
    (137..=137, "voice output"),
    (138..=138, "mobile device"),
    (200..=200, "platform"),
    (202..=202, "media server"),
    (203..=203, "proxy"),
    (209..=209, "access gateway"),
    (210..=210, "storage"),
    (211..=211, "secure routing gateway"),
    (215..=215, "business group"),
    (216..=216, "virtual organisation"),
    (300..=343, "centre user"),
    (400..=443, "terminal user"),
    (500..=500, "application platform"),
];

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let trimmed = text.trim_ascii();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let mut id = Self { text: [0; LONGEST], length: 0 };
        match (id.text.get_mut(..trimmed.len()), u8::try_from(trimmed.len())) {
            (Some(place), Ok(length)) if length > 0 && trimmed.bytes().all(plain) => {
                place.copy_from_slice(trimmed.as_bytes());
                Ok(Self { length, ..id })
            }
            _ => Err(IdError { found: text.chars().take(40).collect() }),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceId;

    fn id(text: &str) -> DeviceId {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn identifier_of_the_standard_says_what_it_identifies_and_where() {
        let camera = id("34020000001320000001");
        assert!(camera.is_standard());
        assert_eq!((camera.kind(), camera.domain()), (Some("network camera"), Some("3402000000")));
        assert_eq!(id("34020000002000000001").kind(), Some("platform"));
        assert_eq!(id("34020000003430000001").kind(), Some("centre user"));
        assert_eq!(id("34020000009990000001").kind(), None);
    }

    #[test]
    fn fourteenth_digit_is_part_of_the_serial_in_2016_and_never_wrong() {
        for digit in 0..10 {
            assert!(id(&format!("3402000000132{digit}000001")).is_standard());
        }
    }

    #[test]
    fn regions_are_short_and_what_people_type_is_kept() {
        for region in ["34", "3402", "340200", "34020000"] {
            assert_eq!(id(region).as_str(), region);
            assert_eq!(
                (id(region).is_standard(), id(region).kind(), id(region).domain()),
                (false, None, None)
            );
        }
        assert_eq!(id(" 3402000000132000000A\n").as_str(), "3402000000132000000A");
        assert!(!id("3402000000132000000A").is_standard());
    }

    #[test]
    fn what_cannot_stand_in_a_uri_is_refused_and_named() {
        for text in
            ["", " ", "a b", "340200<", "a@b", "\u{76f8}\u{673a}", "123456789012345678901234567890123"]
        {
            let error = text.parse::<DeviceId>().unwrap_err().to_string();
            assert!(error.contains("expected 20 digits"), "{error}");
        }
    }
}
