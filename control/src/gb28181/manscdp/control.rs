//! Orders to devices (A.2.3.1).

use super::super::charset::Charset;
use super::super::id::DeviceId;
use super::super::ptz::PtzCommand;
use super::super::version::Version;
use super::write::Writer;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Turn, zoom, focus, go to a preset and so on. No answer comes.
    Ptz(PtzCommand),
    /// Send a key frame now. No answer comes.
    KeyFrame,
    /// Record, or stop. Answered.
    Record(bool),
    /// Guard, or do not. Answered.
    Guard(bool),
    /// Forget the alarm. Answered.
    ResetAlarm,
    /// Start anew. No answer comes.
    Reboot,
}

impl Control {
    /// Whether the device answers whether it did it (9.3.1).
    #[must_use]
    pub fn is_answered(self) -> bool {
        match self {
            Self::Record(_) | Self::Guard(_) | Self::ResetAlarm => true,
            Self::Ptz(_) | Self::KeyFrame | Self::Reboot => false,
        }
    }

    /// The body, in the words of a version.
    #[must_use]
    pub fn to_xml(self, charset: Charset, version: Version, number: u32, device: &DeviceId) -> Vec<u8> {
        let mut writer = Writer::new(charset, "Control", "DeviceControl", number, device);
        match self {
            Self::Ptz(command) => {
                writer.field("PTZCmd", command);
                writer.open("Info").field("ControlPriority", 5).close("Info");
            }
            Self::KeyFrame => {
                // Spelt so in the standard of 2016, and by every device of its time.
                let name = if version >= Version::V2022 { "IFrameCmd" } else { "IFameCmd" };
                writer.field(name, "Send");
            }
            Self::Record(on) => {
                writer.field("RecordCmd", if on { "Record" } else { "StopRecord" });
            }
            Self::Guard(on) => {
                writer.field("GuardCmd", if on { "SetGuard" } else { "ResetGuard" });
            }
            Self::ResetAlarm => {
                writer.field("AlarmCmd", "ResetAlarm");
            }
            Self::Reboot => {
                writer.field("TeleBoot", "Boot");
            }
        }
        writer.finish()
    }
}
