//! What a device is and how it is (A.2.6.4, A.2.6.5).

use super::super::time::LocalTime;
use super::xml::Element;

/// What a device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// How many channels it says that it has.
    pub channels: Option<u32>,
}

/// How a device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Whether it calls itself online; `None` where nothing is said.
    pub online: Option<bool>,
    /// Whether it works.
    pub works: Option<bool>,
    /// Whether it encodes.
    pub encodes: Option<bool>,
    /// Whether it records.
    pub records: Option<bool>,
    /// Its clock.
    pub time: Option<LocalTime>,
    /// How many of its alarm inputs are on duty.
    pub guarded: usize,
    /// How many of them raise an alarm now.
    pub alarmed: usize,
}

impl DeviceInfo {
    pub(super) fn read(root: &Element) -> Self {
        Self {
            name: root.words("DeviceName"),
            manufacturer: root.words("Manufacturer"),
            model: root.words("Model"),
            firmware: root.words("Firmware"),
            channels: root.number("Channel"),
        }
    }
}

impl DeviceStatus {
    pub(super) fn read(root: &Element) -> Self {
        let says = |name, yes: &str| root.text(name).map(|text| text.eq_ignore_ascii_case(yes));
        let duties = root.child("Alarmstatus").into_iter().flat_map(|list| list.children("Item"));
        let duties: Vec<&str> = duties.filter_map(|item| item.text("DutyStatus")).collect();
        let count = |duty: &str| duties.iter().filter(|found| found.eq_ignore_ascii_case(duty)).count();
        Self {
            online: says("Online", "ONLINE"),
            works: says("Status", "OK"),
            encodes: says("Encode", "ON"),
            records: says("Record", "ON"),
            time: root.text("DeviceTime").and_then(LocalTime::parse),
            guarded: count("ONDUTY") + count("ALARM"),
            alarmed: count("ALARM"),
        }
    }
}
