//! Writes captures that Wireshark and its kin read (pcapng, draft-ietf-opsawg-pcapng): one section, interfaces as they
//! appear, packets with direction and nanoseconds, and what was lost at the end. It knows the file and nothing of legs.
//!
//! Our own, because these four blocks are two hundred lines, and the crates that write them have had no release since
//! 2022 that is more than a candidate.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Direction;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
/// Time stamps count 10^-9 s.
const NANOSECONDS: u8 = 9;

const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_TIME_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 5;

/// Longest text of an option: its length has 16 bits, and nobody reads more than this.
const LONGEST_TEXT: usize = 1_024;

/// Type of the block that carries a packet, for readers of the stream.
pub const PACKET_BLOCK: u32 = PACKET;

/// A capture that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    interfaces: Vec<String>,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture with a comment that says what it is of.
    ///
    /// # Errors
    /// `out` does not take it.
    pub fn new(out: W, comment: &str) -> io::Result<Self> {
        let mut writer = Self { out, interfaces: Vec::new(), block: Vec::new() };
        writer.begin(SECTION);
        writer.u32(BYTE_ORDER);
        // Version 1.0.
        writer.u16(1);
        writer.u16(0);
        // Length of the section: not known in advance.
        writer.u64(u64::MAX);
        writer.option(COMMENT, text(comment));
        writer.option(SECTION_APPLICATION, concat!("culvert ", env!("CARGO_PKG_VERSION")).as_bytes());
        writer.end_options();
        writer.finish()?;
        Ok(writer)
    }

    /// Writes a packet: the first bytes of a frame that had `length` of them.
    ///
    /// # Errors
    /// The output does not take it.
    pub fn packet(
        &mut self,
        interface: &str,
        direction: Direction,
        time: SystemTime,
        bytes: &[u8],
        length: u32,
    ) -> io::Result<()> {
        let interface = self.interface(interface)?;
        let captured = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.begin(PACKET);
        self.u32(interface);
        self.time(time);
        self.u32(captured);
        self.u32(length);
        self.padded(bytes);
        let inbound_or_outbound: u32 = match direction {
            Direction::In => 1,
            Direction::Out | Direction::Copied => 2,
        };
        self.option(PACKET_FLAGS, &inbound_or_outbound.to_le_bytes());
        self.end_options();
        self.finish()
    }

    /// Says for each interface so far how many packets were there, and how many of them were lost to the capture.
    ///
    /// # Errors
    /// The output does not take it.
    pub fn statistics(&mut self, time: SystemTime, seen: u64, lost: u64) -> io::Result<()> {
        for interface in 0..u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX) {
            self.begin(STATISTICS);
            self.u32(interface);
            self.time(time);
            self.option(STATISTICS_RECEIVED, &seen.to_le_bytes());
            self.option(STATISTICS_DROPPED, &lost.to_le_bytes());
            self.option(COMMENT, b"both directions of the tap together");
            self.end_options();
            self.finish()?;
        }
        Ok(())
    }

    /// What was written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// The number of an interface; a new one is written first.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| known == name);
        if let Some(number) = known {
            return u32::try_from(number).map_err(io::Error::other);
        }
        self.begin(INTERFACE);
        self.u16(ETHERNET);
        self.u16(0);
        // No limit on the length of packets.
        self.u32(0);
        self.option(INTERFACE_NAME, text(name));
        self.option(INTERFACE_TIME_RESOLUTION, &[NANOSECONDS]);
        self.end_options();
        self.finish()?;
        self.interfaces.push(name.to_owned());
        u32::try_from(self.interfaces.len() - 1).map_err(io::Error::other)
    }

    /// Begins a block; its length is filled in at its end.
    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        self.u32(0);
    }

    fn finish(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4).map_err(io::Error::other)?;
        self.u32(length);
        if let Some(place) = self.block.get_mut(4..8) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.out.write_all(&self.block)
    }

    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let [a, b, c, d, e, f, g, h] = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
        self.block.extend([e, f, g, h]);
        self.block.extend([a, b, c, d]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(value.len()) else { return };
        if length == 0 {
            return;
        }
        self.u16(code);
        self.u16(length);
        self.padded(value);
    }

    fn end_options(&mut self) {
        self.u16(END_OF_OPTIONS);
        self.u16(0);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u16(&mut self, value: u16) {
        self.block.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.block.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.block.extend(value.to_le_bytes());
    }
}

/// How many packets a block of statistics says were lost; `None` for other blocks.
pub fn dropped(block: &[u8]) -> Option<u64> {
    let word = |at: usize| block.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word));
    if word(0)? != STATISTICS {
        return None;
    }
    // Type, length, interface and time.
    let mut at = 20;
    loop {
        let [a, b, c, d] = *block.get(at..)?.first_chunk()?;
        let (code, length) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        match code {
            END_OF_OPTIONS => return None,
            STATISTICS_DROPPED => {
                return block.get(at + 4..)?.first_chunk().map(|count| u64::from_le_bytes(*count));
            }
            _ => at += 4 + usize::from(length).next_multiple_of(4),
        }
    }
}

/// The beginning of a text, as long as an option may be, cut between two characters.
fn text(text: &str) -> &[u8] {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.as_bytes().get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a capture: type and content.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = usize::try_from(word(4)).unwrap();
            assert!(length.is_multiple_of(4) && word(length - 4) == word(4));
            blocks.push((word(0), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        blocks
    }

    #[test]
    fn an_interface_is_written_before_its_first_packet_and_only_then() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, "leg 1.1").unwrap();
        let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        for (interface, direction) in
            [("eth1", Direction::In), ("eth2", Direction::Out), ("eth1", Direction::In)]
        {
            writer.packet(interface, direction, time, &[1, 2, 3, 4, 5], 1_500).unwrap();
        }
        writer.statistics(time, 5, 2).unwrap();
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, INTERFACE, PACKET, PACKET, STATISTICS, STATISTICS]);
        let second = &blocks[4].1;
        let nanoseconds = 1_000_000_000_123_456_789_u64;
        assert_eq!(second[..4], 1_u32.to_le_bytes());
        assert_eq!(second[4..8], ((nanoseconds >> 32) as u32).to_le_bytes());
        assert_eq!(second[8..12], ((nanoseconds & 0xffff_ffff) as u32).to_le_bytes());
        assert_eq!(second[12..16], 5_u32.to_le_bytes(), "captured");
        assert_eq!(second[16..20], 1_500_u32.to_le_bytes(), "on the wire");
        assert_eq!(second[20..28], [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(second[28..36], [2, 0, 4, 0, 2, 0, 0, 0], "outbound");
        let last = file.len() - blocks[7].1.len() - 12;
        assert_eq!((dropped(&file[last..]), dropped(&file)), (Some(2), None));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ü".repeat(LONGEST_TEXT);
        assert_eq!(text(&long).len(), LONGEST_TEXT);
        assert_eq!(text(&format!("x{long}")).len(), LONGEST_TEXT - 1);
        assert_eq!(text("short"), b"short");
    }
}
