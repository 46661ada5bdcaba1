//! What a receiver asks of a source goes on to it, though RTCP ends here: a picture to start from, packets again, another
//! bit rate (RFC 4585, RFC 5104). Only the relay knows what the source calls what the receiver saw.

use relay_common::rtcp::{
    Compound, Mapping, PAYLOAD_FEEDBACK, TRANSPORT_FEEDBACK, Translation, Writer, translate,
};

/// Writes the feedback of a compound for the source that it is about: an empty receiver report in front (RFC 4585 section
/// 3.1), everything under our own SSRC. `None` if there is none, or it does not fit.
///
/// `stream` is how the relay changes the stream on its way from the source to whoever asks.
pub(super) fn for_source<'b>(
    compound: &Compound<'_>,
    own_ssrc: u32,
    stream: Mapping,
    buffer: &'b mut [u8],
) -> Option<&'b [u8]> {
    let mut writer = Writer::new(buffer);
    writer.receiver_report(own_ssrc, &[]).ok()?;
    let mut any = false;
    for (packet_type, bytes) in compound.raw_packets() {
        if matches!(packet_type, TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK) {
            // One that is padded, which only the last may be, stays the last.
            writer.packet(bytes).ok()?;
            any = true;
        }
    }
    let length = writer.finish().len();
    let written = buffer.get_mut(..length).filter(|_| any)?;
    let receiver = Mapping { from: compound.sender(), to: own_ssrc, sequence: 0, timestamp: 0 };
    let (head, feedback) = written.split_at_mut_checked(8)?;
    debug_assert_eq!(head.len(), 8);
    translate(feedback, &Translation { sent: Some(receiver), received: Some(stream) }).ok()?;
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_common::rtcp::Packet;

    #[test]
    fn a_picture_is_asked_for_under_the_name_that_its_source_knows() {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(50, &[]).unwrap();
        writer.description(50, b"viewer").unwrap();
        // Picture loss indication about source 9, which the viewer knows as 99.
        writer.packet(&[0x81, 206, 0, 2, 0, 0, 0, 50, 0, 0, 0, 99]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        let stream = Mapping { from: Some(9), to: 99, sequence: 0, timestamp: 0 };
        let mut out = [0; 128];
        let bytes = for_source(&compound, 1, stream, &mut out).unwrap();
        let packets: Vec<_> = Compound::parse(bytes).unwrap().packets().collect();
        let [Packet::ReceiverReport(report), Packet::PayloadFeedback(asked)] = packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!((report.ssrc, asked.ssrc, asked.media_ssrc, asked.format), (1, 1, 9, 1));
        assert!(for_source(&compound, 1, stream, &mut [0; 8]).is_none(), "no room");
    }

    #[test]
    fn reports_alone_ask_for_nothing() {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(50, &[]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        assert!(for_source(&compound, 1, Mapping::default(), &mut [0; 64]).is_none());
    }
}
