//! The parts of reports: sender information and report blocks (RFC 3550 section 6.4).

use super::bytes::{set_u32, u32_at};
use super::{REPORT_BLOCK, SENDER_INFO};

/// What a sender says of its own stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was made: seconds since 1900 in the upper half, fractions of 2^-32 s in the lower.
    pub ntp: u64,
    /// The same instant in units of the RTP timestamp.
    pub rtp_timestamp: u32,
    /// RTP packets sent, modulo 2^32.
    pub packets: u32,
    /// Bytes of RTP payload sent, modulo 2^32.
    pub bytes: u32,
}

impl SenderInfo {
    /// From the bytes that follow the sender's SSRC.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            ntp: u64::from(u32_at(bytes, 0)?) << 32 | u64::from(u32_at(bytes, 4)?),
            rtp_timestamp: u32_at(bytes, 8)?,
            packets: u32_at(bytes, 12)?,
            bytes: u32_at(bytes, 16)?,
        })
    }

    /// Into the bytes that follow the sender's SSRC.
    pub(super) fn write(&self, into: &mut [u8; SENDER_INFO]) {
        let words = [upper(self.ntp), lower(self.ntp), self.rtp_timestamp, self.packets, self.bytes];
        for (at, word) in words.into_iter().enumerate() {
            set_u32(into, at * 4, word);
        }
    }
}

/// The middle 32 bits of an NTP timestamp, in units of 2^-16 s: what a receiver repeats as "last SR".
pub const fn middle_of_ntp(ntp: u64) -> u32 {
    lower(ntp >> 16)
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// Part of the packets that were lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, -2^23 to 2^23-1; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the number of its cycles in the upper half.
    pub extended_highest: u32,
    /// Interarrival jitter, in units of the RTP timestamp.
    pub jitter: u32,
    /// [`middle_of_ntp`] of the last sender report from this source; 0 for none.
    pub last_sender_report: u32,
    /// Time between its arrival and this report, in units of 2^-16 s; 0 without one.
    pub delay: u32,
}

/// Smallest and largest value of a signed number of 24 bits.
const LOST: (i32, i32) = (-(1 << 23), (1 << 23) - 1);

impl ReportBlock {
    /// From 24 bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let lost = u32_at(bytes, 4)?;
        let [fraction_lost, a, b, c] = lost.to_be_bytes();
        Some(Self {
            ssrc: u32_at(bytes, 0)?,
            fraction_lost,
            // The sign of 24 bits becomes that of 32.
            cumulative_lost: i32::from_be_bytes([a, b, c, 0]) >> 8,
            extended_highest: u32_at(bytes, 8)?,
            jitter: u32_at(bytes, 12)?,
            last_sender_report: u32_at(bytes, 16)?,
            delay: u32_at(bytes, 20)?,
        })
    }

    /// Into 24 bytes. A number of lost packets that 24 bits do not hold is clamped, as RFC 3550 appendix A.3 demands.
    pub(super) fn write(&self, into: &mut [u8; REPORT_BLOCK]) {
        let [_, a, b, c] = self.cumulative_lost.clamp(LOST.0, LOST.1).to_be_bytes();
        let words = [
            self.ssrc,
            u32::from_be_bytes([self.fraction_lost, a, b, c]),
            self.extended_highest,
            self.jitter,
            self.last_sender_report,
            self.delay,
        ];
        for (at, word) in words.into_iter().enumerate() {
            set_u32(into, at * 4, word);
        }
    }
}

const fn upper(word: u64) -> u32 {
    lower(word >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn lower(word: u64) -> u32 {
    word as u32
}
