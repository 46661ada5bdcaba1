//! Alarms (A.2.5.3).

use super::super::time::LocalTime;
use super::catalog::degrees;
use super::xml::Element;

/// Something happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    /// 1 is the gravest, 4 the least; `None` where nothing is said.
    pub priority: Option<u8>,
    /// How it was raised: 1 telephone, 2 device, 3 short message, 4 position, 5 video, 6 fault, 7 other.
    pub method: Option<u8>,
    /// What kind of that method.
    pub kind: Option<u16>,
    /// When.
    pub time: Option<LocalTime>,
    /// In words.
    pub description: String,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Degrees north.
    pub latitude: Option<f64>,
}

impl Alarm {
    /// The device raises no other alarm until it was told to reset (A.2.5.3).
    #[must_use]
    pub fn wants_reset(&self) -> bool {
        self.method == Some(2)
    }

    pub(super) fn read(root: &Element) -> Self {
        let kind = root.child("Info").and_then(|info| info.number("AlarmType"));
        Self {
            priority: root.number("AlarmPriority"),
            method: root.number("AlarmMethod"),
            kind: kind.or_else(|| root.number("AlarmType")),
            time: root.text("AlarmTime").and_then(LocalTime::parse),
            description: root.words("AlarmDescription"),
            longitude: degrees(root.text("Longitude")),
            latitude: degrees(root.text("Latitude")),
        }
    }
}
