//! The catalogue (A.2.1.9, A.2.6.2, N.4.3.2): channels in parts, and changes of them.

use super::super::id::DeviceId;
use super::xml::Element;

/// A part of a catalogue, or a notification of changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogPart {
    /// How many items all parts have together; in a notification, how many this one has. `None` where it is not said.
    pub total: Option<usize>,
    /// The items of this part.
    pub items: Vec<Item>,
}

/// A channel, or a directory of channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Its identifier; items without one are left out.
    pub id: Option<DeviceId>,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// The directory that it is in; of several, separated by `/`, the last.
    pub parent: Option<DeviceId>,
    /// The administrative region.
    pub civil_code: String,
    /// Where it is, in words.
    pub address: String,
    /// Whether it is on; `None` where nothing is said.
    pub on: Option<bool>,
    /// Whether it has parts of its own: a directory.
    pub parental: bool,
    /// What it can turn (A.2.1.9, `PTZType`): 1 ball, 2 half ball, 3 fixed, 4 remote; `None` where nothing is said.
    pub ptz: Option<u8>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// What happened to it, in a notification.
    pub change: Option<Change>,
}

/// What happened to a channel (N.4.3.2). For the first five only the identifier is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is on again.
    On,
    /// It is off.
    Off,
    /// Its picture is lost.
    VideoLost,
    /// It is defective.
    Defect,
    /// It is no more.
    Deleted,
    /// It is new.
    Added,
    /// It is another than before.
    Updated,
}

impl CatalogPart {
    pub(super) fn read(root: &Element) -> Self {
        let lists = root.children("DeviceList");
        let items = lists.flat_map(|list| list.children("Item")).map(Item::read);
        Self { total: root.number("SumNum"), items: items.filter(|item| item.id.is_some()).collect() }
    }
}

impl Item {
    fn read(element: &Element) -> Self {
        // The standard of 2016 has some of these in <Info>.
        let info = element.child("Info");
        let either = |name| element.text(name).or_else(|| info?.text(name));
        let parent = element.text("ParentID").and_then(|ids| ids.rsplit('/').find_map(|id| id.parse().ok()));
        Self {
            id: element.id("DeviceID"),
            name: element.words("Name"),
            manufacturer: element.words("Manufacturer"),
            model: element.words("Model"),
            parent,
            civil_code: element.words("CivilCode"),
            address: element.words("Address"),
            on: element.text("Status").map(is_on),
            parental: element.text("Parental") == Some("1"),
            ptz: either("PTZType").and_then(|text| text.parse().ok()),
            longitude: degrees(either("Longitude")),
            latitude: degrees(either("Latitude")),
            change: element.text("Event").and_then(Change::parse),
        }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "ON" => Self::On,
            "OFF" => Self::Off,
            "VLOST" => Self::VideoLost,
            "DEFECT" => Self::Defect,
            "DEL" => Self::Deleted,
            "ADD" => Self::Added,
            "UPDATE" => Self::Updated,
            _ => return None,
        })
    }
}

/// `ON`, and what devices write for it.
fn is_on(status: &str) -> bool {
    ["ON", "OK", "ONLINE", "1"].iter().any(|on| on.eq_ignore_ascii_case(status))
}

/// A coordinate; the zero that devices without a position send is none, nor is what is no number.
pub(super) fn degrees(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|degrees: &f64| degrees.is_finite() && *degrees != 0.0)
}
