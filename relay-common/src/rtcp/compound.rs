//! Compound packets: a walk over them that checks every length once, and views of the packets inside.

use super::bytes::u32_at;
use super::error::RtcpError;
use super::report::{ReportBlock, SenderInfo};
use super::{
    APPLICATION, EXTENDED_REPORT, GOODBYE, HEADER, PAYLOAD_FEEDBACK, RECEIVER_REPORT, REPORT_BLOCK,
    SENDER_INFO, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_FEEDBACK,
};

/// A compound packet whose structure was checked: every packet in it is as long as it says, and carries what it says.
/// One packet alone, of any type, passes too (RFC 5506).
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A sender report.
    SenderReport(SenderReport<'a>),
    /// A receiver report.
    ReceiverReport(ReceiverReport<'a>),
    /// A source description.
    Description(Description<'a>),
    /// A goodbye.
    Goodbye(Goodbye<'a>),
    /// What an application defined for itself.
    Application(Application<'a>),
    /// Transport layer feedback.
    TransportFeedback(Feedback<'a>),
    /// Payload-specific feedback.
    PayloadFeedback(Feedback<'a>),
    /// A type without a view here.
    Other {
        /// Its packet type.
        packet_type: u8,
        /// The SSRC that every type of packet so far begins with.
        ssrc: u32,
    },
}

/// A sender report (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// Its sender.
    pub ssrc: u32,
    /// What it says of its own stream.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

/// A receiver report (RFC 3550 section 6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Its sender.
    pub ssrc: u32,
    blocks: &'a [u8],
}

/// A source description (RFC 3550 section 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description<'a> {
    chunks: &'a [u8],
    count: u8,
}

/// A goodbye (RFC 3550 section 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye<'a> {
    sources: &'a [u8],
    /// Why, in the sender's words; empty where it gives none.
    pub reason: &'a [u8],
}

/// A packet that an application defined for itself (RFC 3550 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application<'a> {
    /// Its sender.
    pub ssrc: u32,
    /// 0 to 31, as the application defines it.
    pub subtype: u8,
    /// Four ASCII characters.
    pub name: [u8; 4],
    /// As the application defines it.
    pub data: &'a [u8],
}

/// Feedback (RFC 4585 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Its sender.
    pub ssrc: u32,
    /// The source that it is about; 0 where the feedback itself names its sources.
    pub media_ssrc: u32,
    /// Which feedback: the number means another thing for each packet type.
    pub format: u8,
    /// Feedback control information, as the format defines it.
    pub control: &'a [u8],
}

/// One packet as it lies in the compound: where it begins, and its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    /// Offset of its header.
    pub(super) at: usize,
    /// Offset behind its last byte.
    pub(super) end: usize,
    /// The same without padding.
    pub(super) content_end: usize,
    pub(super) count: u8,
    pub(super) packet_type: u8,
}

impl Raw {
    /// Offset behind the header.
    pub(super) const fn body(&self) -> usize {
        self.at + HEADER
    }

    /// Bytes of the content behind the header.
    pub(super) const fn content(&self) -> usize {
        self.content_end - self.body()
    }

    fn is_long_enough(&self, bytes: &[u8]) -> bool {
        let count = usize::from(self.count);
        match self.packet_type {
            SENDER_REPORT => self.content() >= 4 + SENDER_INFO + count * REPORT_BLOCK,
            RECEIVER_REPORT => self.content() >= 4 + count * REPORT_BLOCK,
            GOODBYE => {
                let reason = self.body() + count * 4;
                self.content() >= count * 4
                    && bytes
                        .get(reason..self.content_end)
                        .and_then(<[u8]>::first)
                        .is_none_or(|length| reason + 1 + usize::from(*length) <= self.content_end)
            }
            SOURCE_DESCRIPTION => {
                let content = bytes.get(self.body()..self.content_end).unwrap_or_default();
                Chunks::new(content).take(count).count() == count
            }
            APPLICATION | TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => self.content() >= 8,
            EXTENDED_REPORT => self.content() >= 4,
            _ => true,
        }
    }
}

/// Reads the packet at `at`, which must be below the length of `bytes`.
pub(super) fn raw(bytes: &[u8], at: usize) -> Result<Raw, RtcpError> {
    let left = bytes.len().saturating_sub(at);
    let Some([first, packet_type, long @ ..]) =
        bytes.get(at..).and_then(<[u8]>::first_chunk::<HEADER>).copied()
    else {
        return Err(RtcpError::Truncated { at, left });
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version { at, found: first >> 6 });
    }
    let said = (usize::from(u16::from_be_bytes(long)) + 1) * 4;
    if said > left {
        return Err(RtcpError::Length { at, said, left });
    }
    let (end, count) = (at + said, first & 0x1f);
    let mut content_end = end;
    if first & 0x20 != 0 {
        let padding = bytes.get(end - 1).map_or(0, |last| usize::from(*last));
        let fits = padding != 0 && padding.is_multiple_of(4) && padding <= said - HEADER;
        if end != bytes.len() || !fits {
            return Err(RtcpError::Padding { at });
        }
        content_end = end - padding;
    }
    let raw = Raw { at, end, content_end, count, packet_type };
    if !raw.is_long_enough(bytes) {
        return Err(RtcpError::Count { at, packet_type, said: count });
    }
    Ok(raw)
}

impl<'a> Compound<'a> {
    /// Checks the structure of a whole UDP payload.
    ///
    /// # Errors
    /// [`RtcpError`]: what does not fit, and where.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        if bytes.is_empty() {
            return Err(RtcpError::Empty);
        }
        let mut at = 0;
        while at < bytes.len() {
            let raw = raw(bytes, at)?;
            if at == 0 && !(SENDER_REPORT..=EXTENDED_REPORT).contains(&raw.packet_type) {
                return Err(RtcpError::Type { found: raw.packet_type });
            }
            at = raw.end;
        }
        Ok(Self { bytes })
    }

    /// The packets, in their order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> {
        let (bytes, mut at) = (self.bytes, 0);
        core::iter::from_fn(move || {
            // What is wrong was found when the compound was parsed.
            let raw = raw(bytes, at).ok()?;
            at = raw.end;
            packet(bytes, &raw)
        })
    }

    /// The bytes of each packet with its type, padding included, in their order.
    pub fn raw_packets(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let (bytes, mut at) = (self.bytes, 0);
        core::iter::from_fn(move || {
            let raw = raw(bytes, at).ok()?;
            at = raw.end;
            Some((raw.packet_type, bytes.get(raw.at..raw.end)?))
        })
    }

    /// The SSRC that the first packet names first: whoever sent the compound.
    pub fn sender(&self) -> Option<u32> {
        u32_at(self.bytes, HEADER)
    }
}

/// The view of a packet whose lengths were checked.
fn packet<'a>(bytes: &'a [u8], raw: &Raw) -> Option<Packet<'a>> {
    let content = bytes.get(raw.body()..raw.content_end)?;
    let count = usize::from(raw.count);
    let ssrc = u32_at(content, 0);
    Some(match raw.packet_type {
        SENDER_REPORT => Packet::SenderReport(SenderReport {
            ssrc: ssrc?,
            info: SenderInfo::read(content.get(4..)?)?,
            blocks: content.get(4 + SENDER_INFO..)?.get(..count * REPORT_BLOCK)?,
        }),
        RECEIVER_REPORT => Packet::ReceiverReport(ReceiverReport {
            ssrc: ssrc?,
            blocks: content.get(4..)?.get(..count * REPORT_BLOCK)?,
        }),
        SOURCE_DESCRIPTION => Packet::Description(Description { chunks: content, count: raw.count }),
        GOODBYE => {
            let (sources, rest) = content.split_at_checked(count * 4)?;
            let reason = match rest.split_first() {
                Some((length, text)) => text.get(..usize::from(*length))?,
                None => &[],
            };
            Packet::Goodbye(Goodbye { sources, reason })
        }
        APPLICATION => Packet::Application(Application {
            ssrc: ssrc?,
            subtype: raw.count,
            name: *content.get(4..)?.first_chunk()?,
            data: content.get(8..)?,
        }),
        TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => {
            let feedback = Feedback {
                ssrc: ssrc?,
                media_ssrc: u32_at(content, 4)?,
                format: raw.count,
                control: content.get(8..)?,
            };
            if raw.packet_type == TRANSPORT_FEEDBACK {
                Packet::TransportFeedback(feedback)
            } else {
                Packet::PayloadFeedback(feedback)
            }
        }
        packet_type => Packet::Other { packet_type, ssrc: ssrc.unwrap_or_default() },
    })
}

impl<'a> SenderReport<'a> {
    /// What it says of the sources that it receives.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks.chunks_exact(REPORT_BLOCK).filter_map(ReportBlock::read)
    }
}

impl<'a> ReceiverReport<'a> {
    /// What it says of the sources that it receives.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks.chunks_exact(REPORT_BLOCK).filter_map(ReportBlock::read)
    }
}

impl<'a> Description<'a> {
    /// The sources that are described, each with its items: type (1 is CNAME) and value.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, Items<'a>)> + use<'a> {
        let chunks = self.chunks;
        Chunks::new(chunks).take(usize::from(self.count)).filter_map(move |chunk| {
            Some((u32_at(chunks, chunk.at)?, Items { bytes: chunks.get(chunk.at + 4..chunk.items_end)? }))
        })
    }
}

impl Goodbye<'_> {
    /// The sources that leave.
    pub fn sources(&self) -> impl Iterator<Item = u32> {
        self.sources.chunks_exact(4).filter_map(|word| u32_at(word, 0))
    }
}

/// Items of one chunk of a source description: type and value.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, length, rest @ ..] = self.bytes else { return None };
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        self.bytes = rest;
        Some((*kind, value))
    }
}

/// Where one chunk of a source description lies: its SSRC, and the end of its items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) at: usize,
    items_end: usize,
}

/// A walk over the chunks of a source description (RFC 3550 section 6.5). Ends at the first that does not fit.
pub(super) struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes of the chunks that were walked over.
    pub(super) const fn consumed(&self) -> usize {
        self.at
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let at = self.at;
        u32_at(self.bytes, at)?;
        let mut item = at + 4;
        // Items end with a zero; the next chunk begins at a multiple of four behind it.
        while *self.bytes.get(item)? != 0 {
            item += 2 + usize::from(*self.bytes.get(item + 1)?);
        }
        let next = (item + 1).next_multiple_of(4);
        if next > self.bytes.len() {
            return None;
        }
        self.at = next;
        Some(Chunk { at, items_end: item })
    }
}
