//! Questions to devices (A.2.4), and the answer that an alarm wants (A.2.6.3).

use super::super::charset::Charset;
use super::super::id::DeviceId;
use super::super::time::LocalTime;
use super::write::Writer;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Which channels there are.
    Catalog,
    /// What the device is.
    DeviceInfo,
    /// How it is.
    DeviceStatus,
    /// What was recorded.
    RecordInfo(RecordQuery),
    /// To be told of alarms, in a SUBSCRIBE.
    Alarms,
    /// To be told of positions, in a SUBSCRIBE.
    Positions {
        /// Seconds between them.
        interval: u32,
    },
}

/// Which recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordQuery {
    /// That end after this.
    pub start: LocalTime,
    /// That begin before this.
    pub end: LocalTime,
    /// Why they were made.
    pub kind: RecordKind,
}

/// Why a recording was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// Whatever the reason.
    #[default]
    All,
    /// By plan.
    Time,
    /// By alarm.
    Alarm,
    /// By hand.
    Manual,
}

impl RecordKind {
    /// As the standard writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Time => "time",
            Self::Alarm => "alarm",
            Self::Manual => "manual",
        }
    }
}

impl Query {
    /// The command.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::Catalog => "Catalog",
            Self::DeviceInfo => "DeviceInfo",
            Self::DeviceStatus => "DeviceStatus",
            Self::RecordInfo(_) => "RecordInfo",
            Self::Alarms => "Alarm",
            Self::Positions { .. } => "MobilePosition",
        }
    }

    /// The body. Answers carry the number.
    #[must_use]
    pub fn to_xml(&self, charset: Charset, number: u32, device: &DeviceId) -> Vec<u8> {
        let mut writer = Writer::new(charset, "Query", self.command(), number, device);
        match self {
            Self::Catalog | Self::DeviceInfo | Self::DeviceStatus => {}
            Self::RecordInfo(query) => {
                writer.field("StartTime", query.start).field("EndTime", query.end);
                writer.field("Secrecy", 0).field("Type", query.kind.name()).field("IndistinctQuery", 0);
            }
            Self::Alarms => {
                // From the gravest to the least, of every method.
                writer.field("StartAlarmPriority", 0).field("EndAlarmPriority", 0).field("AlarmMethod", 0);
            }
            Self::Positions { interval } => {
                writer.field("Interval", interval);
            }
        }
        writer.finish()
    }
}

/// The answer to an alarm with this number.
#[must_use]
pub fn alarm_received(charset: Charset, number: u32, device: &DeviceId) -> Vec<u8> {
    let mut writer = Writer::new(charset, "Response", "Alarm", number, device);
    writer.field("Result", "OK");
    writer.finish()
}
