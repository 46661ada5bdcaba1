//! What a report is made of, as the tables have it at one moment.

use std::net::SocketAddr;

use relay_common::rtcp::Mapping;

use crate::leg::LegId;
use crate::statistics::Quality;

/// A leg whose RTCP ends here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Account {
    /// Our address and port for its RTCP.
    pub(crate) local: SocketAddr,
    /// Where the other side's RTCP goes.
    pub(crate) remote: Option<SocketAddr>,
    /// The leg of the media that its RTCP speaks of: itself, or the one a port below.
    pub(crate) media: LegId,
    /// How well that media arrives.
    pub(crate) received: Option<Quality>,
    /// What leaves towards the other side.
    pub(crate) sends: Option<Sends>,
}

/// A stream that leaves by a leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sends {
    /// The leg that it arrives on.
    pub(crate) feeder: LegId,
    /// The leg that the RTCP of its source arrives on, if that ends here too.
    pub(crate) feeder_rtcp: Option<LegId>,
    /// The SSRC that arrives there.
    pub(crate) source: Option<u32>,
    /// The SSRC that every packet gets; `None`: it stays.
    pub(crate) ssrc: Option<u32>,
    /// What is added to timestamps.
    pub(crate) timestamp: u32,
    /// What is added to sequence numbers.
    pub(crate) sequence: u16,
    /// Rate of the RTP clock in Hz, where it is known.
    pub(crate) clock_rate: Option<u32>,
    /// Packets that left.
    pub(crate) packets: u64,
    /// Bytes of their RTP payload, as far as headers are of fixed length.
    pub(crate) bytes: u64,
}

impl Sends {
    /// How the relay changes the stream, if it is known what it is.
    pub(crate) fn mapping(&self) -> Option<Mapping> {
        let from = self.source?;
        Some(Mapping {
            from: Some(from),
            to: self.ssrc.unwrap_or(from),
            // Feedback names packets by the 16 bits that they carry.
            sequence: u32::from(self.sequence),
            timestamp: self.timestamp,
        })
    }
}
