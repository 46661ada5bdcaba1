//! Versions of the standard, as `X-GB-Ver` names them (Annex I). Both sides speak the lower of their versions.

use std::fmt;

/// The name of the header field.
pub const HEADER: &str = "X-GB-Ver";

/// A version of the standard. Orders by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// GB/T 28181-2011: `1.0`.
    V2011,
    /// Its amendment: `1.1`.
    V2011Amended,
    /// GB/T 28181-2016: `2.0`. Also what a device is taken for that says nothing, because the field is of 2022.
    V2016,
    /// GB/T 28181-2022: `3.0`.
    V2022,
}

impl Version {
    /// Ours.
    pub const OURS: Self = Self::V2022;

    /// Reads the value of the field. A number beyond ours is ours, because both sides speak the lower.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim_ascii().split_once('.')?;
        let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
        Some(match (major, minor) {
            (0, _) => return None,
            (1, 0) => Self::V2011,
            (1, _) => Self::V2011Amended,
            (2, _) => Self::V2016,
            _ => Self::V2022,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V2011 => "1.0",
            Self::V2011Amended => "1.1",
            Self::V2016 => "2.0",
            Self::V2022 => "3.0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_written_and_ordered() {
        for version in [Version::V2011, Version::V2011Amended, Version::V2016, Version::V2022] {
            assert_eq!(Version::parse(&version.to_string()), Some(version));
        }
        assert_eq!(Version::parse(" 4.1 "), Some(Version::V2022));
        assert!(Version::V2016 < Version::V2022);
        for wrong in ["", "3", "three", "0.9", "-1.0", "2.x"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
