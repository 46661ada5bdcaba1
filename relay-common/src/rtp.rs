//! The fixed header of an RTP packet (RFC 3550 section 5.1), read and rewritten in place.

use crate::byte_order::{Be16, Be32};
use crate::checksum::Change;
use crate::media::RTP_HEADER;
use crate::packet::{Packet, View};
use crate::retag::NewHeader;

/// Such a header.
#[derive(Debug)]
pub struct RtpHeader<'a> {
    view: View<'a, RTP_HEADER>,
}

impl<'a> RtpHeader<'a> {
    /// The header at `offset`; `None` if that is not RTP of version 2, RTCP for one.
    #[inline(always)]
    pub fn at(packet: &Packet<'a>, offset: usize) -> Option<Self> {
        let view = packet.view::<RTP_HEADER>(offset)?;
        // RFC 5761 section 4: RTCP packet types, 192 to 223, lie where marked payload types 64 to 95 would.
        if view.u8::<0>() >> 6 != 2 || view.u8::<1>() >> 5 == 6 {
            return None;
        }
        Some(Self { view })
    }

    /// Payload type, 0 to 127.
    #[inline(always)]
    pub fn payload_type(&self) -> u8 {
        self.view.u8::<1>() & 0x7f
    }

    /// Sequence number.
    #[inline(always)]
    pub fn sequence(&self) -> Be16 {
        self.view.be16::<2>()
    }

    /// Timestamp, in ticks of the payload type's clock.
    #[inline(always)]
    pub fn timestamp(&self) -> Be32 {
        self.view.be32::<4>()
    }

    /// Synchronisation source.
    #[inline(always)]
    pub fn ssrc(&self) -> Be32 {
        self.view.be32::<8>()
    }

    /// Gives the header new values; returns what that changes in the sum of the UDP checksum.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the word is the sequence number")]
    pub fn rewrite(&mut self, new: NewHeader) -> Change {
        let view = &mut self.view;
        let mut change = Change::none();
        let old = view.be32::<0>();
        let mut first = old.get();
        if let Some(payload_type) = new.payload_type {
            first = first & !(0x7f << 16) | (payload_type as u32 & 0x7f) << 16;
        }
        if let Some(offsets) = new.offsets {
            first = first & 0xffff_0000 | (first as u16).wrapping_add(offsets.sequence()) as u32;
            let old = view.be32::<4>();
            let shifted = Be32::new(old.get().wrapping_add(offsets.timestamp()));
            change = change.word(old.wire(), shifted.wire());
            view.set_be32::<4>(shifted);
        }
        let first = Be32::new(first);
        change = change.word(old.wire(), first.wire());
        view.set_be32::<0>(first);
        if let Some(ssrc) = new.ssrc {
            change = change.word(view.be32::<8>().wire(), ssrc.wire());
            view.set_be32::<8>(ssrc);
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Media;
    use crate::retag::Offsets;
    use proptest::prelude::*;

    fn folded(bytes: &[u8]) -> u64 {
        let words = bytes.chunks_exact(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]])));
        words.sum::<u64>() % 0xffff
    }

    fn new_header() -> impl Strategy<Value = NewHeader> {
        let offsets = prop::option::of(any::<(u16, u32)>());
        (prop::option::of(0_u8..128), offsets, prop::option::of(any::<u32>())).prop_map(
            |(payload_type, offsets, ssrc)| NewHeader {
                payload_type,
                offsets: offsets.map(|(sequence, timestamp)| Offsets::new(sequence, timestamp)),
                ssrc: ssrc.map(Be32::new),
            },
        )
    }

    proptest! {
        #[test]
        fn only_what_is_told_changes_and_the_checksum_follows(mut bytes in any::<[u8; 12]>(), new in new_header()) {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] &= 0x7f;
            let before = bytes;
            let packet = Packet::new(&mut bytes);
            let change = RtpHeader::at(&packet, 0).unwrap().rewrite(new);
            // HC' follows HC as the sum of the new bytes follows that of the old (RFC 1624).
            let checksum = !u16::try_from(folded(&before)).unwrap();
            prop_assert_eq!(u64::from(!change.apply(checksum)) % 0xffff, folded(&bytes));

            let number = |bytes: &[u8; 12], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            prop_assert_eq!((bytes[0], bytes[1] & 0x80), (before[0], before[1] & 0x80), "the marker stays");
            prop_assert_eq!(bytes[1] & 0x7f, new.payload_type.unwrap_or(before[1] & 0x7f));
            let (sequence, timestamp) =
                new.offsets.map_or((0, 0), |offsets| (offsets.sequence(), offsets.timestamp()));
            let expected = u16::from_be_bytes([before[2], before[3]]).wrapping_add(sequence);
            prop_assert_eq!(u16::from_be_bytes([bytes[2], bytes[3]]), expected);
            prop_assert_eq!(number(&bytes, 4), number(&before, 4).wrapping_add(timestamp));
            prop_assert_eq!(number(&bytes, 8), new.ssrc.map_or(number(&before, 8), Be32::get));
        }

        #[test]
        fn says_what_media_says(mut bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let packet = Packet::new(&mut bytes);
            let header = RtpHeader::at(&packet, 0).map(|header| Media::Rtp {
                payload_type: header.payload_type(),
                sequence: header.sequence(),
                timestamp: header.timestamp(),
                ssrc: header.ssrc(),
            });
            let media = Media::at(&packet, 0).filter(|media| matches!(media, Media::Rtp { .. }));
            prop_assert_eq!(header, media);
        }
    }
}
