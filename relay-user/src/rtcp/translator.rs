//! RTCP that is relayed beside a stream that is retagged: each side is told of the stream as it knows it. Works on the
//! records that the packets of the stream are retagged and measured by, on the thread that carries the RTCP.

use std::io;
use std::mem::offset_of;
use std::sync::atomic::Ordering;

use relay_common::checksum::{Change, fold};
use relay_common::leg::{Admission, SSRC_TOLD, traffic_index};
use relay_common::quality::Quality;
use relay_common::retag::{self, Offsets, Retag};
use relay_common::rtcp::{Compound, Mapping, Packet, ReportBlock, Translation, translate};
use relay_common::verdict::Drop;

use crate::kernel::SharedArray;

/// The streams that RTCP of one leg speaks of: each by the slot of the leg that it arrives on, 0 where it is not retagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subjects {
    /// What the sender of the RTCP sends.
    pub(crate) sent: u32,
    /// What it receives.
    pub(crate) received: u32,
}

/// One record of the translator, by the slot of the leg that RTCP arrives on.
#[derive(Clone, Copy)]
#[repr(C)]
struct Record {
    /// Both halves of [`Subjects`], in one word that changes as a whole.
    subjects: u64,
    /// The source that was told last which packets arrived, and the extended number of the highest, so that its number
    /// never jumps by a cycle.
    told: u64,
}

// SAFETY: two integers, for which any bits are a value, and no padding.
unsafe impl aya::Pod for Record {}

/// Bytes of one record.
pub(crate) const RECORD: usize = size_of::<Record>();

/// Translates RTCP. A clone works on the same records.
#[derive(Clone)]
pub(crate) struct Translator {
    records: SharedArray<Record>,
    retags: SharedArray<Retag>,
    quality: SharedArray<Quality>,
    admissions: SharedArray<Admission>,
}

/// How a stream is retagged now.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// The SSRC that arrives, if it is known.
    source: Option<u32>,
    /// The SSRC that every packet gets.
    ssrc: Option<u32>,
    /// What is added to numbers; `None` while the first packet has not decided it.
    offsets: Option<Offsets>,
    /// The highest sequence number that arrived, extended by the wraps that were seen.
    highest: u32,
}

impl Translator {
    /// A translator for streams that are retagged by `retags` and measured in `quality`; no leg's RTCP is translated yet.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(
        retags: SharedArray<Retag>,
        quality: SharedArray<Quality>,
        admissions: SharedArray<Admission>,
    ) -> io::Result<Self> {
        Ok(Self { records: SharedArray::anonymous(retags.length())?, retags, quality, admissions })
    }

    /// From now on RTCP of a leg speaks of these streams.
    pub(crate) fn set(&self, leg: u32, subjects: Subjects) {
        let word = u64::from(subjects.sent) << 32 | u64::from(subjects.received);
        self.records.word64(leg, offset_of!(Record, subjects)).store(word, Ordering::Relaxed);
    }

    /// What RTCP of a leg speaks of; `None` if it is not to be translated.
    fn subjects(&self, leg: u32) -> Option<Subjects> {
        self.records.pointer(leg)?;
        let word = self.records.word64(leg, offset_of!(Record, subjects)).load(Ordering::Relaxed);
        let [sent, received] = [word >> 32, word & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(0));
        (word != 0).then_some(Subjects { sent, received })
    }

    /// Translates RTCP that arrived on a leg in place; the change of its sum, or `None` if the leg's is not translated.
    ///
    /// # Errors
    /// The reason to drop it: it is no RTCP, or it tells the time of a stream whose next packet will decide it.
    pub(crate) fn translate(&self, leg: u32, payload: &mut [u8]) -> Result<Option<Change>, Drop> {
        let Some(subjects) = self.subjects(leg) else { return Ok(None) };
        let compound = Compound::parse(payload).map_err(|_| Drop::RtcpUntranslated)?;
        let sent = match self.stream(subjects.sent) {
            Some(stream) => Some(stream.as_sent(&compound)?),
            None => None,
        };
        let received = self.stream(subjects.received).and_then(|stream| {
            let told = self.records.word64(leg, offset_of!(Record, told));
            let before = told.load(Ordering::Relaxed);
            let (mapping, now) = stream.as_received(&compound, before)?;
            told.store(now, Ordering::Relaxed);
            Some(mapping)
        });
        let before = sum(payload);
        translate(payload, &Translation { sent, received }).map_err(|_| Drop::RtcpUntranslated)?;
        Ok(Some(Change::none().half(before, sum(payload))))
    }

    /// The stream that arrives on a leg.
    fn stream(&self, leg: u32) -> Option<Stream> {
        if leg == 0 || leg >= self.retags.length() {
            return None;
        }
        let record = self.retags.read_settled(leg);
        let offsets = Offsets::from_word(record.offsets);
        let is_shifted = record.flags & retag::OFFSETS != 0;
        let newest = self.newest(leg);
        let told = || {
            let admission = self.admissions.read(leg);
            (admission.flags & SSRC_TOLD != 0).then(|| admission.ssrc.get())
        };
        Some(Stream {
            source: newest.map(|quality| quality.ssrc.get()).or_else(told),
            ssrc: (record.flags & retag::SSRC != 0).then(|| record.ssrc.get()),
            offsets: if is_shifted {
                Some(offsets).filter(|offsets| *offsets != Offsets::NONE)
            } else {
                Some(Offsets::new(0, 0))
            },
            highest: newest.map_or(0, |quality| u32::from(quality.cycles) << 16 | u32::from(quality.highest)),
        })
    }

    /// What the CPU measured that saw the leg's newest packet.
    fn newest(&self, leg: u32) -> Option<Quality> {
        let slots = self.retags.length();
        let on_cpu = |cpu| self.quality.read_settled(traffic_index(cpu, slots, leg));
        let records = (0..self.quality.length() / slots).map(on_cpu);
        records.filter(|record| record.packets != 0).max_by_key(|record| record.arrival)
    }
}

impl Stream {
    /// How a compound of its sender is translated.
    fn as_sent(&self, compound: &Compound<'_>) -> Result<Mapping, Drop> {
        let from = self.source.or(compound.sender()).ok_or(Drop::RtcpUntranslated)?;
        let tells_time = |packet| matches!(packet, Packet::SenderReport(report) if report.ssrc == from);
        let timestamp = match self.offsets {
            Some(offsets) => offsets.timestamp(),
            None if compound.packets().any(tells_time) => return Err(Drop::RtcpUntranslated),
            None => 0,
        };
        Ok(Mapping { from: Some(from), to: self.ssrc.unwrap_or(from), sequence: 0, timestamp })
    }

    /// How a compound of its receiver is translated back, and what its source is told then; `told` is what it was told
    /// before. `None` while nothing is known of the stream.
    fn as_received(&self, compound: &Compound<'_>, told: u64) -> Option<(Mapping, u64)> {
        let (from, offsets) = (self.source?, self.offsets?);
        let to = self.ssrc.unwrap_or(from);
        let mut mapping = Mapping {
            from: Some(from),
            to,
            sequence: u32::from(offsets.sequence()),
            timestamp: offsets.timestamp(),
        };
        let Some(block) = blocks(compound).find(|block| block.ssrc == to) else {
            return Some((mapping, told));
        };
        if offsets.sequence() == 0 {
            return Some((mapping, told));
        }
        // The receiver counts wraps of the numbers that it sees, over all sources that the stream had. Those of this source
        // are counted from what it was told before, or else from what has arrived of it.
        let before = if told >> 32 == u64::from(from) { low(told) } else { self.highest };
        let number = low16(block.extended_highest).wrapping_sub(offsets.sequence());
        let extended = nearest(before, number);
        mapping.sequence = block.extended_highest.wrapping_sub(extended);
        Some((mapping, u64::from(from) << 32 | u64::from(extended)))
    }
}

/// The report blocks of a compound.
fn blocks(compound: &Compound<'_>) -> impl Iterator<Item = ReportBlock> {
    compound.packets().flat_map(|packet| {
        let (sender, receiver) = match packet {
            Packet::SenderReport(report) => (Some(report.blocks()), None),
            Packet::ReceiverReport(report) => (None, Some(report.blocks())),
            _ => (None, None),
        };
        sender.into_iter().flatten().chain(receiver.into_iter().flatten())
    })
}

/// The extended number nearest to `to` that ends in `number`.
fn nearest(to: u32, number: u16) -> u32 {
    to.wrapping_add_signed(i32::from(number.wrapping_sub(low16(to)).cast_signed()))
}

/// The one's complement sum of RTCP, which is whole words.
fn sum(payload: &[u8]) -> u16 {
    let words = payload.as_chunks::<2>().0.iter();
    fold(words.map(|word| u64::from(u16::from_ne_bytes(*word))).sum())
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(word: u64) -> u32 {
    word as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low16(word: u32) -> u16 {
    word as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_common::rtcp::Writer;

    const SOURCE: u32 = 7;
    const OUT: u32 = 99;

    fn stream(sequence: u16, highest: u32) -> Stream {
        Stream { source: Some(SOURCE), ssrc: Some(OUT), offsets: Some(Offsets::new(sequence, 5)), highest }
    }

    /// What the source is told when the receiver has seen `extended`, and what is remembered.
    fn told(stream: &Stream, extended: u32, before: u64) -> (u32, u64) {
        let block = ReportBlock { ssrc: OUT, extended_highest: extended, ..ReportBlock::default() };
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(1, &[block]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        let (mapping, now) = stream.as_received(&compound, before).unwrap();
        (extended.wrapping_sub(mapping.sequence), now)
    }

    #[test]
    fn numbers_of_the_source_wrap_when_its_own_do() {
        let offset = 1_000;
        let (first, before) = told(&stream(offset, 64_000), 65_000, 0);
        assert_eq!(first, 64_000);
        // The receiver's wrapped, the source's not yet.
        let (second, before) = told(&stream(offset, 64_999), (1 << 16) + 463, before);
        assert_eq!(second, 64_999);
        // The one that measures knows nothing of wraps before it came.
        let (third, before) = told(&stream(offset, 10), (1 << 16) + 1_010, before);
        assert_eq!(third, (1 << 16) + 10);
        // Another source; the receiver's count of wraps is none of its business.
        let other = Stream { source: Some(8), ..stream(offset, 20) };
        assert_eq!(told(&other, (5 << 16) + 1_019, before).0, 19);
    }

    #[test]
    fn a_time_that_is_not_decided_is_not_told() {
        let undecided = Stream { offsets: None, ..stream(0, 0) };
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(SOURCE, &[]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        let mapping = undecided.as_sent(&compound).unwrap();
        assert_eq!((mapping.from, mapping.to, mapping.timestamp), (Some(SOURCE), OUT, 0));
        assert!(undecided.as_received(&compound, 0).is_none());

        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(SOURCE, &relay_common::rtcp::SenderInfo::default(), &[]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        assert_eq!(undecided.as_sent(&compound).unwrap_err(), Drop::RtcpUntranslated);
        assert_eq!(stream(0, 0).as_sent(&compound).unwrap().timestamp, 5);
    }

    #[test]
    fn a_sum_changes_by_what_was_written() {
        let (mut bytes, old) = ([1, 2, 3, 4, 0xff, 0xff, 9, 9], [1, 2, 3, 4, 0xff, 0xff, 9, 9]);
        bytes[2..6].copy_from_slice(&[0xab, 0xcd, 0, 1]);
        let checksum = !sum(&old);
        let changed = Change::none().half(sum(&old), sum(&bytes)).apply(checksum);
        assert_eq!(fold(u64::from(changed) + u64::from(sum(&bytes))), 0xffff);
    }
}
