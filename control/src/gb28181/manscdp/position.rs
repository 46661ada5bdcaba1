//! Positions (A.2.5.6): flat in 2016, a list in 2022. Who knows only one of them reads 0, 0 from the other.

use super::super::id::DeviceId;
use super::super::time::LocalTime;
use super::catalog::degrees;
use super::xml::Element;

/// Where a device is.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Which device; `None` where it does not say.
    pub device: Option<DeviceId>,
    /// When it was there.
    pub time: Option<LocalTime>,
    /// Degrees east.
    pub longitude: f64,
    /// Degrees north.
    pub latitude: f64,
    /// Kilometres an hour.
    pub speed: Option<f64>,
    /// Degrees from north, clockwise.
    pub direction: Option<f64>,
    /// Metres.
    pub altitude: Option<f64>,
}

impl Position {
    pub(super) fn read_all(root: &Element) -> Vec<Self> {
        let items: Vec<&Element> =
            root.children("DeviceList").flat_map(|list| list.children("Item")).collect();
        let time = root.text("Time");
        if items.is_empty() {
            return Self::read(root, time).into_iter().collect();
        }
        items.into_iter().filter_map(|item| Self::read(item, item.text("CaptureTime").or(time))).collect()
    }

    /// `None` where there is no position.
    fn read(element: &Element, time: Option<&str>) -> Option<Self> {
        Some(Self {
            device: element.id("DeviceID"),
            time: time.and_then(LocalTime::parse),
            longitude: degrees(element.text("Longitude"))?,
            latitude: degrees(element.text("Latitude"))?,
            speed: finite(element, "Speed"),
            direction: finite(element, "Direction"),
            altitude: finite(element, "Altitude"),
        })
    }
}

fn finite(element: &Element, name: &str) -> Option<f64> {
    element.number(name).filter(|number: &f64| number.is_finite())
}
