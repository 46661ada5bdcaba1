//! Writes compound packets into memory that the caller owns.

use super::error::WriteError;
use super::report::{ReportBlock, SenderInfo};
use super::{GOODBYE, HEADER, RECEIVER_REPORT, REPORT_BLOCK, SENDER_INFO, SENDER_REPORT, SOURCE_DESCRIPTION};

/// Most parts of one packet: its count has five bits.
const PARTS: usize = 31;
/// Longest text: its length has eight bits.
const TEXT: usize = 255;
/// Item type of a canonical name (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;

/// A compound packet that is being written. Each call adds one packet, or leaves everything as it was.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// An empty compound at the beginning of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Adds a sender report.
    ///
    /// # Errors
    /// [`WriteError`]: no room, or more than 31 blocks.
    pub fn sender_report(
        &mut self,
        ssrc: u32,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<(), WriteError> {
        let length = HEADER + 4 + SENDER_INFO + blocks.len() * REPORT_BLOCK;
        let packet = self.begin(SENDER_REPORT, blocks.len(), length)?;
        put(packet, HEADER, &ssrc.to_be_bytes());
        if let Some(place) = packet.get_mut(HEADER + 4..).and_then(<[u8]>::first_chunk_mut) {
            info.write(place);
        }
        put_blocks(packet, HEADER + 4 + SENDER_INFO, blocks);
        self.length += length;
        Ok(())
    }

    /// Adds a receiver report.
    ///
    /// # Errors
    /// [`WriteError`]: no room, or more than 31 blocks.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> Result<(), WriteError> {
        let length = HEADER + 4 + blocks.len() * REPORT_BLOCK;
        let packet = self.begin(RECEIVER_REPORT, blocks.len(), length)?;
        put(packet, HEADER, &ssrc.to_be_bytes());
        put_blocks(packet, HEADER + 4, blocks);
        self.length += length;
        Ok(())
    }

    /// Adds a source description of one source with its canonical name.
    ///
    /// # Errors
    /// [`WriteError`]: no room, or a name of more than 255 bytes.
    pub fn description(&mut self, ssrc: u32, name: &[u8]) -> Result<(), WriteError> {
        let name_length = text_length(name)?;
        // Items end with a zero, and the chunk at a multiple of four.
        let length = HEADER + (4 + 2 + name.len() + 1).next_multiple_of(4);
        let packet = self.begin(SOURCE_DESCRIPTION, 1, length)?;
        put(packet, HEADER, &ssrc.to_be_bytes());
        put(packet, HEADER + 4, &[CNAME, name_length]);
        put(packet, HEADER + 6, name);
        self.length += length;
        Ok(())
    }

    /// Adds a goodbye of sources, with a reason that may be empty.
    ///
    /// # Errors
    /// [`WriteError`]: no room, more than 31 sources, or a reason of more than 255 bytes.
    pub fn goodbye(&mut self, sources: &[u32], reason: &[u8]) -> Result<(), WriteError> {
        let reason_length = text_length(reason)?;
        let text = if reason.is_empty() { 0 } else { (1 + reason.len()).next_multiple_of(4) };
        let length = HEADER + sources.len() * 4 + text;
        let packet = self.begin(GOODBYE, sources.len(), length)?;
        for (at, source) in sources.iter().enumerate() {
            put(packet, HEADER + at * 4, &source.to_be_bytes());
        }
        if !reason.is_empty() {
            put(packet, HEADER + sources.len() * 4, &[reason_length]);
            put(packet, HEADER + sources.len() * 4 + 1, reason);
        }
        self.length += length;
        Ok(())
    }

    /// Adds a whole packet as it is; its length must be a multiple of four, as that of every packet is.
    ///
    /// # Errors
    /// [`WriteError`]: no room.
    pub fn packet(&mut self, packet: &[u8]) -> Result<(), WriteError> {
        let (start, end) = (self.length, self.length + packet.len());
        let full = WriteError::Full { needed: end, room: self.buffer.len() };
        self.buffer.get_mut(start..end).ok_or(full)?.copy_from_slice(packet);
        self.length = end;
        Ok(())
    }

    /// The compound as far as it was written.
    pub fn finish(self) -> &'a [u8] {
        let Self { buffer, length } = self;
        buffer.get(..length).unwrap_or_default()
    }

    /// Room for a packet of `length` bytes, a multiple of four, with its header written and the rest zero.
    fn begin(&mut self, packet_type: u8, count: usize, length: usize) -> Result<&mut [u8], WriteError> {
        let many = WriteError::TooMany { found: count, most: PARTS };
        let count = u8::try_from(count).ok().filter(|count| usize::from(*count) <= PARTS).ok_or(many)?;
        let words = u16::try_from(length / 4 - 1).map_err(|_| many)?;
        let full = WriteError::Full { needed: self.length + length, room: self.buffer.len() };
        let packet = self.buffer.get_mut(self.length..self.length + length).ok_or(full)?;
        packet.fill(0);
        put(packet, 0, &[0x80 | count, packet_type]);
        put(packet, 2, &words.to_be_bytes());
        Ok(packet)
    }
}

fn text_length(text: &[u8]) -> Result<u8, WriteError> {
    u8::try_from(text.len()).map_err(|_| WriteError::TooMany { found: text.len(), most: TEXT })
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn put_blocks(packet: &mut [u8], at: usize, blocks: &[ReportBlock]) {
    let places = packet.get_mut(at..).unwrap_or_default().as_chunks_mut::<REPORT_BLOCK>().0;
    for (place, block) in places.iter_mut().zip(blocks) {
        block.write(place);
    }
}
