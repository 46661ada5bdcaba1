//! Why bytes are no RTCP, and why a report cannot be written.

use core::fmt;

/// Why bytes are not a compound RTCP packet (RFC 3550 appendix A.2). Offsets count from the first byte of RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// There are no bytes.
    Empty,
    /// A header does not fit into what is left.
    Truncated {
        /// Where the header begins.
        at: usize,
        /// Bytes that are left there.
        left: usize,
    },
    /// A version other than 2.
    Version {
        /// Where the packet begins.
        at: usize,
        /// The version that was found, 0 to 3.
        found: u8,
    },
    /// The first packet is of a type that RTCP does not begin with.
    Type {
        /// The type that was found.
        found: u8,
    },
    /// A packet says that it is longer than what is left.
    Length {
        /// Where the packet begins.
        at: usize,
        /// Bytes that it says it has.
        said: usize,
        /// Bytes that are left there.
        left: usize,
    },
    /// Padding on a packet that is not the last, or of an impossible length.
    Padding {
        /// Where the packet begins.
        at: usize,
    },
    /// A packet says that it carries more reports, sources or words than fit into it.
    Count {
        /// Where the packet begins.
        at: usize,
        /// Its packet type.
        packet_type: u8,
        /// How many it says.
        said: u8,
    },
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "no bytes; RTCP has 8 at least"),
            Self::Truncated { at, left } => {
                write!(f, "{left} bytes are left at byte {at}; an RTCP packet begins with a header of 4")
            }
            Self::Version { at, found } => write!(f, "version {found} at byte {at}; RTCP has version 2"),
            Self::Type { found } => {
                write!(f, "the first packet is of type {found}; RTCP begins with one of 200 to 207")
            }
            Self::Length { at, said, left } => {
                write!(f, "the packet at byte {at} says that it has {said} bytes; {left} are left")
            }
            Self::Padding { at } => write!(
                f,
                "the packet at byte {at} is padded; only the last one may be, by a multiple of 4 bytes that it has"
            ),
            Self::Count { at, packet_type, said } => {
                write!(
                    f,
                    "the packet of type {packet_type} at byte {at} says that it has {said} parts; they do not fit"
                )
            }
        }
    }
}

impl core::error::Error for RtcpError {}

/// Why a report cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The buffer is too small.
    Full {
        /// Bytes that are needed in all.
        needed: usize,
        /// Bytes that there are.
        room: usize,
    },
    /// More than 31 report blocks, or a text of more than 255 bytes.
    TooMany {
        /// How many were given.
        found: usize,
        /// How many there may be.
        most: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Full { needed, room } => write!(f, "the report takes {needed} bytes, and there are {room}"),
            Self::TooMany { found, most } => {
                write!(f, "{found} were given; one RTCP packet carries {most} at most")
            }
        }
    }
}

impl core::error::Error for WriteError {}
