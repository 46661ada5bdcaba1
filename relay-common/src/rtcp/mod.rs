//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, RFC 3611): bounds-checked views of compound packets, their translation
//! for a stream whose identity the relay changes, and a writer of reports. Nothing here allocates; everything works on
//! the bytes where they lie.
//!
//! It knows the wire and nothing of legs: what to translate, and what to report, is the caller's.

mod bytes;
mod compound;
mod error;
mod interval;
mod reception;
mod report;
mod translate;
mod write;

pub use compound::{
    Application, Compound, Description, Feedback, Goodbye, Packet, ReceiverReport, SenderReport,
};
pub use error::{RtcpError, WriteError};
pub use interval::interval;
pub use reception::{Received, Reception};
pub use report::{ReportBlock, SenderInfo, middle_of_ntp};
pub use translate::{Mapping, Translated, Translation, translate};
pub use write::Writer;

/// Packet type of a sender report (RFC 3550 section 6.4.1).
pub const SENDER_REPORT: u8 = 200;
/// Packet type of a receiver report (RFC 3550 section 6.4.2).
pub const RECEIVER_REPORT: u8 = 201;
/// Packet type of a source description (RFC 3550 section 6.5).
pub const SOURCE_DESCRIPTION: u8 = 202;
/// Packet type of a goodbye (RFC 3550 section 6.6).
pub const GOODBYE: u8 = 203;
/// Packet type of what an application defined for itself (RFC 3550 section 6.7).
pub const APPLICATION: u8 = 204;
/// Packet type of transport layer feedback (RFC 4585 section 6.2).
pub const TRANSPORT_FEEDBACK: u8 = 205;
/// Packet type of payload-specific feedback (RFC 4585 section 6.3).
pub const PAYLOAD_FEEDBACK: u8 = 206;
/// Packet type of an extended report (RFC 3611).
pub const EXTENDED_REPORT: u8 = 207;

/// Bytes of the header of each packet.
pub const HEADER: usize = 4;
/// Bytes of one report block.
pub const REPORT_BLOCK: usize = 24;
/// Bytes of the sender information of a sender report.
pub const SENDER_INFO: usize = 20;
