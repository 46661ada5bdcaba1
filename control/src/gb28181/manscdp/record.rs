//! Recordings (A.2.1.10, A.2.6.7): a list in parts.

use super::super::id::DeviceId;
use super::super::time::LocalTime;
use super::xml::Element;

/// A part of a list of recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPart {
    /// How many recordings all parts have together; `None` where it is not said.
    pub total: Option<usize>,
    /// The recordings of this part.
    pub records: Vec<Record>,
}

/// A recording. Two of them are the same if device, times and path are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// When it begins.
    pub start: LocalTime,
    /// When it ends.
    pub end: LocalTime,
    /// The channel that was recorded.
    pub channel: Option<DeviceId>,
    /// Where the device keeps it.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Why it was made: `time`, `alarm`, `manual`.
    pub kind: String,
    /// Bytes; `None` where nothing is said.
    pub size: Option<u64>,
}

impl RecordPart {
    pub(super) fn read(root: &Element) -> Self {
        let lists = root.children("RecordList");
        let records = lists.flat_map(|list| list.children("Item")).filter_map(Record::read);
        Self { total: root.number("SumNum"), records: records.collect() }
    }
}

impl Record {
    /// `None` where it does not say when it was.
    fn read(element: &Element) -> Option<Self> {
        Some(Self {
            start: LocalTime::parse(element.text("StartTime")?)?,
            end: LocalTime::parse(element.text("EndTime")?)?,
            channel: element.id("DeviceID"),
            path: element.words("FilePath"),
            name: element.words("Name"),
            kind: element.words("Type"),
            size: element.number("FileSize"),
        })
    }
}
