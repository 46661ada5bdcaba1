//! Translation of compound packets for streams whose identity the relay changes: SSRC, timestamps and sequence numbers
//! in every place where RTCP names them. In place, without a copy.
//!
//! One compound speaks of two directions. Of the stream that its sender sends: it names itself, and the time of its
//! stream. And of the stream that it receives: it reports on it, and asks for repetitions by the numbers that it saw.
//! The first is translated as the RTP packets are that go the same way, the second back to what the far side sent.

use super::bytes::{set_u16, set_u32, u16_at, u32_at};
use super::compound::{Chunks, Raw, raw};
use super::error::RtcpError;
use super::{
    APPLICATION, Compound, EXTENDED_REPORT, GOODBYE, PAYLOAD_FEEDBACK, RECEIVER_REPORT, REPORT_BLOCK,
    SENDER_INFO, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_FEEDBACK,
};

/// How the relay changes one stream of RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The SSRC that arrives; `None` while no packet has shown it.
    pub from: Option<u32>,
    /// The SSRC that leaves.
    pub to: u32,
    /// What is added to extended sequence numbers; its lower 16 bits are what is added to those of RTP packets.
    /// See [`Mapping::extended_offset`].
    pub sequence: u32,
    /// What is added to timestamps.
    pub timestamp: u32,
}

impl Mapping {
    /// [`Mapping::sequence`] for a stream whose first packet arrived with `first` and left with `first + offset`: so
    /// much do the extended numbers of the two sides differ, however often either has wrapped since.
    pub const fn extended_offset(first: u16, offset: u16) -> u32 {
        (first.wrapping_add(offset) as u32).wrapping_sub(first as u32)
    }
}

/// How a compound packet is translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The stream that its sender sends.
    pub sent: Option<Mapping>,
    /// The stream that its sender receives: as the relay changes it on its way there.
    pub received: Option<Mapping>,
}

/// What a translation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Words that were written.
    pub changes: u32,
    /// Places that name another SSRC than the streams that are translated; they were left.
    pub unknown: u32,
}

/// Translates a compound packet in place. Lengths never change.
///
/// # Errors
/// [`RtcpError`] when it is no RTCP; nothing has changed then.
pub fn translate(bytes: &mut [u8], translation: &Translation) -> Result<Translated, RtcpError> {
    let sender = Compound::parse(bytes)?.sender();
    let mut work = Work { bytes, sender, translation, done: Translated::default() };
    let mut at = 0;
    while at < work.bytes.len() {
        let raw = raw(work.bytes, at)?;
        work.packet(&raw);
        at = raw.end;
    }
    Ok(work.done)
}

/// A translation under way. Offsets into the bytes were checked with the compound; one that is not there is left.
struct Work<'a> {
    bytes: &'a mut [u8],
    sender: Option<u32>,
    translation: &'a Translation,
    done: Translated,
}

impl Work<'_> {
    fn packet(&mut self, raw: &Raw) {
        let (body, end, count) = (raw.body(), raw.content_end, usize::from(raw.count));
        match raw.packet_type {
            SENDER_REPORT => {
                if self.sent(body) {
                    let offset = self.translation.sent.map_or(0, |sent| sent.timestamp);
                    self.add_u32(body + 12, offset);
                }
                self.blocks(body + 4 + SENDER_INFO, count);
            }
            RECEIVER_REPORT => {
                self.sent(body);
                self.blocks(body + 4, count);
            }
            SOURCE_DESCRIPTION => self.chunks(body, end, count),
            GOODBYE => {
                for at in 0..count {
                    self.sent(body + at * 4);
                }
            }
            APPLICATION => {
                self.sent(body);
            }
            TRANSPORT_FEEDBACK => self.transport_feedback(raw),
            PAYLOAD_FEEDBACK => self.payload_feedback(raw),
            EXTENDED_REPORT => self.extended_report(body, end),
            _ => {}
        }
    }

    fn chunks(&mut self, body: usize, end: usize, count: usize) {
        let mut at = body;
        for _ in 0..count {
            // Each walk is over one chunk, so that the SSRC can be written between two.
            let mut chunks = Chunks::new(self.bytes.get(at..end).unwrap_or_default());
            let Some(chunk) = chunks.next() else { return };
            let next = at + chunks.consumed();
            self.sent(at + chunk.at);
            at = next;
        }
    }

    fn blocks(&mut self, start: usize, count: usize) {
        for at in (0..count).map(|index| start + index * REPORT_BLOCK) {
            if let Some(received) = self.received(at) {
                self.add_u32(at + 8, received.sequence.wrapping_neg());
            }
        }
    }

    /// RFC 4585 section 6.2, RFC 5104 section 4.2.
    fn transport_feedback(&mut self, raw: &Raw) {
        const NACK: u8 = 1;
        const TMMBR: u8 = 3;
        const TMMBN: u8 = 4;
        let (body, end) = (raw.body(), raw.content_end);
        self.sent(body);
        let about = self.media(body + 4);
        match raw.count {
            NACK => {
                let Some(received) = about else { return };
                let offset = low(received.sequence.wrapping_neg());
                for at in (body + 8..end).step_by(4) {
                    self.add_u16(at, offset);
                }
            }
            TMMBR | TMMBN => self.every(8, body + 8, end),
            _ => {}
        }
    }

    /// RFC 4585 section 6.3, RFC 5104 section 4.3, and the receiver's bandwidth estimate of
    /// draft-alvestrand-rmcat-remb.
    fn payload_feedback(&mut self, raw: &Raw) {
        const FIR: u8 = 4;
        const TSTR: u8 = 5;
        const TSTN: u8 = 6;
        const VBCM: u8 = 7;
        const APPLICATION_LAYER: u8 = 15;
        let (body, end) = (raw.body(), raw.content_end);
        self.sent(body);
        self.media(body + 4);
        match raw.count {
            FIR | TSTR | TSTN => self.every(8, body + 8, end),
            VBCM => {
                let mut at = body + 8;
                while at + 8 <= end {
                    self.media(at);
                    let octets = u16_at(self.bytes, at + 6).map_or(0, usize::from);
                    at += 8 + octets.next_multiple_of(4);
                }
            }
            APPLICATION_LAYER if self.bytes.get(body + 8..body + 12) == Some(b"REMB") => {
                let sources = self.bytes.get(body + 12).map_or(0, |count| usize::from(*count));
                self.every(4, body + 16, end.min(body + 16 + sources * 4));
            }
            _ => {}
        }
    }

    /// RFC 3611 section 4. Blocks of other types name no source, or are nobody's business but the sides'.
    fn extended_report(&mut self, body: usize, end: usize) {
        const LOSS_RLE: u8 = 1;
        const DUPLICATE_RLE: u8 = 2;
        const RECEIPT_TIMES: u8 = 3;
        const DLRR: u8 = 5;
        const SUMMARY: u8 = 6;
        const VOIP: u8 = 7;
        self.sent(body);
        let mut at = body + 4;
        while at + 4 <= end {
            let kind = self.bytes.get(at).copied().unwrap_or_default();
            let words = u16_at(self.bytes, at + 2).map_or(0, usize::from);
            let next = at + 4 + words * 4;
            if next > end {
                return;
            }
            match kind {
                LOSS_RLE | DUPLICATE_RLE | RECEIPT_TIMES | SUMMARY if words >= 2 => {
                    if let Some(received) = self.received(at + 4) {
                        // First and last sequence number that the block covers.
                        let offset = low(received.sequence.wrapping_neg());
                        self.add_u16(at + 8, offset);
                        self.add_u16(at + 10, offset);
                    }
                }
                DLRR => self.every(12, at + 4, next),
                VOIP if words >= 1 => {
                    self.received(at + 4);
                }
                _ => {}
            }
            at = next;
        }
    }

    /// Translates the media SSRCs of records of `size` bytes, each of which begins with one.
    fn every(&mut self, size: usize, from: usize, end: usize) {
        let mut at = from;
        while at + size <= end {
            self.media(at);
            at += size;
        }
    }

    /// Translates the SSRC at `at` if it is that of the stream that the sender of the compound sends.
    fn sent(&mut self, at: usize) -> bool {
        let Some(sent) = self.translation.sent else { return false };
        let found = u32_at(self.bytes, at);
        if found.is_none() || found != sent.from.or(self.sender) {
            self.done.unknown += u32::from(found.is_some());
            return false;
        }
        self.write_u32(at, sent.to);
        true
    }

    /// Translates the SSRC at `at` back if it is that of the stream that the sender of the compound receives.
    fn received(&mut self, at: usize) -> Option<Mapping> {
        let received = self.translation.received?;
        let found = u32_at(self.bytes, at)?;
        let Some(from) = received.from.filter(|_| found == received.to) else {
            self.done.unknown += 1;
            return None;
        };
        self.write_u32(at, from);
        Some(received)
    }

    /// The same where 0 says that no source is meant.
    fn media(&mut self, at: usize) -> Option<Mapping> {
        if u32_at(self.bytes, at) == Some(0) { None } else { self.received(at) }
    }

    fn add_u32(&mut self, at: usize, offset: u32) {
        if let Some(value) = u32_at(self.bytes, at).filter(|_| offset != 0) {
            self.write_u32(at, value.wrapping_add(offset));
        }
    }

    fn add_u16(&mut self, at: usize, offset: u16) {
        if let Some(value) = u16_at(self.bytes, at).filter(|_| offset != 0) {
            self.done.changes += u32::from(set_u16(self.bytes, at, value.wrapping_add(offset)));
        }
    }

    fn write_u32(&mut self, at: usize, value: u32) {
        self.done.changes += u32::from(set_u32(self.bytes, at, value));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(word: u32) -> u16 {
    word as u16
}
