//! MANSCDP (Annex A): the XML in MESSAGE and NOTIFY, by which a platform and its devices ask, answer, tell and order.
//!
//! Reading is tolerant, because devices are not: [`xml`] makes a tree of whatever is there, and what is absent or makes
//! no sense in it is absent here. It must not know SIP, nor who is registered.

mod alarm;
mod catalog;
mod control;
mod device;
mod position;
mod query;
mod record;
#[cfg(test)]
mod tests;
mod write;
pub mod xml;

pub use alarm::Alarm;
pub use catalog::{CatalogPart, Change, Item};
pub use control::Control;
pub use device::{DeviceInfo, DeviceStatus};
pub use position::Position;
pub use query::{Query, RecordKind, RecordQuery, alarm_received};
pub use record::{Record, RecordPart};

use super::id::DeviceId;
use xml::{Element, XmlError};

/// The media type, as the standard spells it. Compared without case.
pub const CONTENT_TYPE: &str = "Application/MANSCDP+xml";

/// Why a body says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManscdpError {
    /// It is no XML at all.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It names no command.
    #[error("the XML has no CmdType: expected one, such as <CmdType>Keepalive</CmdType>")]
    NoCommand,
    /// The root is none of the four.
    #[error("the XML's root is <{found}>, expected Query, Control, Notify or Response")]
    Root {
        /// The root's name.
        found: String,
    },
}

/// What a message does, by its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Asks.
    Query,
    /// Orders.
    Control,
    /// Tells.
    Notify,
    /// Answers.
    Response,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it does.
    pub direction: Direction,
    /// The command, as written: `Catalog`.
    pub command: String,
    /// Number that an answer shares with its question; 0 where none is said.
    pub number: u32,
    /// Whom it is about; `None` where it names nobody that could be.
    pub device: Option<DeviceId>,
    /// Whether the XML broke off: what came before counts.
    pub damaged: bool,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The device lives, and these of its parts do not work.
    Keepalive {
        /// Faulty parts.
        faulty: Vec<DeviceId>,
    },
    /// Channels, or changes of them.
    Catalog(CatalogPart),
    /// What a device is.
    DeviceInfo(DeviceInfo),
    /// How a device is.
    DeviceStatus(DeviceStatus),
    /// Recordings.
    RecordInfo(RecordPart),
    /// Something happened.
    Alarm(Alarm),
    /// Where devices are.
    MobilePosition(Vec<Position>),
    /// Media has ended: `NotifyType`, of which 121 says that a recording is over.
    MediaStatus(Option<u16>),
    /// Whether a command was carried out.
    Result(bool),
    /// Something else, which nobody here reads.
    Other,
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ManscdpError`] where it cannot be told what the message wants.
    pub fn parse(body: &[u8]) -> Result<Self, ManscdpError> {
        let document = xml::read(body)?;
        let root = &document.root;
        let direction = match root.name.to_ascii_lowercase().as_str() {
            "query" => Direction::Query,
            "control" => Direction::Control,
            "notify" => Direction::Notify,
            "response" => Direction::Response,
            _ => return Err(ManscdpError::Root { found: root.name.chars().take(40).collect() }),
        };
        let command = root.text("CmdType").ok_or(ManscdpError::NoCommand)?.to_owned();
        let body = Body::read(direction, &command, root);
        let (number, device) = (root.number("SN").unwrap_or_default(), root.id("DeviceID"));
        Ok(Self { direction, command, number, device, damaged: document.damaged, body })
    }
}

impl Body {
    fn read(direction: Direction, command: &str, root: &Element) -> Self {
        if !matches!(direction, Direction::Notify | Direction::Response) {
            return Self::Other;
        }
        match command.to_ascii_lowercase().as_str() {
            "keepalive" => {
                Self::Keepalive { faulty: root.child("Info").map(Element::ids).unwrap_or_default() }
            }
            "catalog" => Self::Catalog(CatalogPart::read(root)),
            "deviceinfo" => Self::DeviceInfo(DeviceInfo::read(root)),
            "devicestatus" => Self::DeviceStatus(DeviceStatus::read(root)),
            "recordinfo" => Self::RecordInfo(RecordPart::read(root)),
            "alarm" if direction == Direction::Notify => Self::Alarm(Alarm::read(root)),
            "mobileposition" => Self::MobilePosition(Position::read_all(root)),
            "mediastatus" => Self::MediaStatus(root.number("NotifyType")),
            _ => match root.text("Result") {
                Some(result) => Self::Result(result.eq_ignore_ascii_case("OK")),
                None => Self::Other,
            },
        }
    }
}

impl Element {
    /// The identifier in a child.
    fn id(&self, name: &str) -> Option<DeviceId> {
        self.text(name)?.parse().ok()
    }

    /// The identifiers in all children `DeviceID`.
    fn ids(&self) -> Vec<DeviceId> {
        self.children("DeviceID").filter_map(|child| child.text.trim_ascii().parse().ok()).collect()
    }

    /// The number in a child.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// The text in a child, or nothing; for fields of which absent and empty mean the same.
    fn words(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }
}
