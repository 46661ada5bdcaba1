//! RTCP as the wire carries it: what is written is read back, what is translated names the other side's numbers
//! everywhere, and nothing that a stranger sends does harm.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;
use relay_common::rtcp::{
    Compound, Mapping, Packet, ReportBlock, RtcpError, SenderInfo, Translated, Translation, WriteError,
    Writer, middle_of_ntp, translate,
};

const CAMERA: u32 = 0x0a0a_0a0a;
const CAMERA_OUT: u32 = 0x0b0b_0b0b;
const VIEWER: u32 = 0x0c0c_0c0c;
const VIEWER_OUT: u32 = 0x0d0d_0d0d;

/// The camera's stream as it is changed on its way to the viewer.
fn camera() -> Mapping {
    Mapping {
        from: Some(CAMERA),
        to: CAMERA_OUT,
        sequence: Mapping::extended_offset(65_000, 1_000),
        timestamp: 90_000,
    }
}

fn viewer() -> Mapping {
    Mapping { from: Some(VIEWER), to: VIEWER_OUT, sequence: 0, timestamp: 0 }
}

/// From the camera to the viewer, and from the viewer to the camera.
fn both_ways() -> [Translation; 2] {
    [
        Translation { sent: Some(camera()), received: Some(viewer()) },
        Translation { sent: Some(viewer()), received: Some(camera()) },
    ]
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 12,
        cumulative_lost: -5,
        extended_highest: 0x0001_0203,
        jitter: 77,
        last_sender_report: 0x0102_0304,
        delay: 0x0000_8000,
    }
}

fn info() -> SenderInfo {
    SenderInfo { ntp: 0xe000_0001_8000_0000, rtp_timestamp: 1_000, packets: 5, bytes: 800 }
}

/// A packet by hand: first byte's count, type, and the words behind the header.
fn packet(count: u8, packet_type: u8, words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0x80 | count, packet_type];
    bytes.extend(u16::try_from(words.len()).unwrap().to_be_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect()
}

/// What `packet` becomes on its way from the viewer to the camera.
fn back(packet: &[u8]) -> Vec<u32> {
    let mut bytes = packet.to_vec();
    translate(&mut bytes, &both_ways()[1]).unwrap();
    words(&bytes)
}

#[test]
fn what_is_written_is_read() {
    let mut buffer = [0xff; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.sender_report(CAMERA, &info(), &[block(VIEWER), block(9)]).unwrap();
    writer.receiver_report(CAMERA, &[block(VIEWER)]).unwrap();
    writer.description(CAMERA, b"camera@example").unwrap();
    writer.goodbye(&[CAMERA, 8], b"done").unwrap();
    let bytes = writer.finish();
    assert_eq!(bytes.len() % 4, 0);

    let compound = Compound::parse(bytes).unwrap();
    assert_eq!(compound.sender(), Some(CAMERA));
    let packets: Vec<_> = compound.packets().collect();
    let [
        Packet::SenderReport(sent),
        Packet::ReceiverReport(received),
        Packet::Description(named),
        Packet::Goodbye(left),
    ] = packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((sent.ssrc, sent.info), (CAMERA, info()));
    assert_eq!(sent.blocks().collect::<Vec<_>>(), [block(VIEWER), block(9)]);
    assert_eq!((received.ssrc, received.blocks().collect::<Vec<_>>()), (CAMERA, vec![block(VIEWER)]));
    let (source, items) = named.chunks().next().unwrap();
    assert_eq!((source, items.collect::<Vec<_>>()), (CAMERA, vec![(1, &b"camera@example"[..])]));
    assert_eq!((left.sources().collect::<Vec<_>>(), left.reason), (vec![CAMERA, 8], &b"done"[..]));
}

#[test]
fn names_of_every_length_are_read() {
    for length in 0..=255 {
        let name = vec![b'n'; length];
        let mut buffer = [0; 300];
        let mut writer = Writer::new(&mut buffer);
        writer.description(1, &name).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        let Some(Packet::Description(named)) = compound.packets().next() else { panic!() };
        let (_, mut items) = named.chunks().next().unwrap();
        assert_eq!(items.next(), Some((1, &name[..])));
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut buffer = [0; 40];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(1, &[block(2)]).unwrap();
    writer.receiver_report(1, &[]).unwrap();
    assert_eq!(writer.receiver_report(1, &[]), Err(WriteError::Full { needed: 48, room: 40 }));
    assert_eq!(writer.description(1, &[0; 256]), Err(WriteError::TooMany { found: 256, most: 255 }));
    assert_eq!(writer.receiver_report(1, &[block(2); 32]), Err(WriteError::TooMany { found: 32, most: 31 }));
    assert_eq!(writer.finish().len(), 40);
}

#[test]
fn cumulative_losses_are_clamped_to_their_24_bits() {
    for (lost, written) in
        [(i32::MAX, (1 << 23) - 1), (i32::MIN, -(1 << 23)), (-1, -1), (8_388_607, 8_388_607)]
    {
        let mut buffer = [0; 32];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(1, &[ReportBlock { cumulative_lost: lost, ..block(2) }]).unwrap();
        let compound = Compound::parse(writer.finish()).unwrap();
        let Some(Packet::ReceiverReport(report)) = compound.packets().next() else { panic!() };
        assert_eq!(report.blocks().next().unwrap().cumulative_lost, written);
    }
}

#[test]
fn the_middle_of_an_ntp_timestamp() {
    assert_eq!(middle_of_ntp(0x1111_2222_3333_4444), 0x2222_3333);
}

#[test]
fn what_is_no_rtcp_is_said() {
    let good = packet(0, 201, &[1]);
    assert_eq!(Compound::parse(&[]).unwrap_err(), RtcpError::Empty);
    assert_eq!(Compound::parse(&good[..3]).unwrap_err(), RtcpError::Truncated { at: 0, left: 3 });
    assert_eq!(Compound::parse(&good[..7]).unwrap_err(), RtcpError::Length { at: 0, said: 8, left: 7 });
    assert_eq!(
        Compound::parse(&packet(1, 201, &[1])).unwrap_err(),
        RtcpError::Count { at: 0, packet_type: 201, said: 1 }
    );
    assert_eq!(Compound::parse(&packet(0, 199, &[1])).unwrap_err(), RtcpError::Type { found: 199 });
    assert_eq!(
        Compound::parse(&[0x40, 201, 0, 1, 0, 0, 0, 1]).unwrap_err(),
        RtcpError::Version { at: 0, found: 1 }
    );
    let padded = packet(0x20, 201, &[1, 4]);
    assert!(Compound::parse(&padded).is_ok(), "one word of padding");
    assert_eq!(Compound::parse(&packet(0x20, 201, &[1, 3])).unwrap_err(), RtcpError::Padding { at: 0 });
    let inside = [padded, good].concat();
    assert_eq!(
        Compound::parse(&inside).unwrap_err(),
        RtcpError::Padding { at: 0 },
        "only the last is padded"
    );
    let text = Compound::parse(&packet(1, 201, &[1])).unwrap_err().to_string();
    assert_eq!(text, "the packet of type 201 at byte 0 says that it has 1 parts; they do not fit");
}

#[test]
fn a_sender_report_takes_the_identity_of_its_stream() {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.sender_report(CAMERA, &info(), &[block(VIEWER_OUT)]).unwrap();
    writer.description(CAMERA, b"c").unwrap();
    writer.goodbye(&[CAMERA], b"").unwrap();
    let mut bytes = writer.finish().to_vec();
    let done = translate(&mut bytes, &both_ways()[0]).unwrap();
    assert_eq!(done, Translated { changes: 5, unknown: 0 });

    let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    let Packet::SenderReport(report) = packets[0] else { panic!() };
    assert_eq!((report.ssrc, report.info), (CAMERA_OUT, SenderInfo { rtp_timestamp: 91_000, ..info() }));
    assert_eq!(
        report.blocks().next(),
        Some(block(VIEWER)),
        "the viewer's own SSRC, and its numbers unchanged"
    );
    let Packet::Description(description) = packets[1] else { panic!() };
    assert_eq!(description.chunks().next().unwrap().0, CAMERA_OUT);
    let Packet::Goodbye(goodbye) = packets[2] else { panic!() };
    assert_eq!(goodbye.sources().collect::<Vec<_>>(), [CAMERA_OUT]);
}

#[test]
fn a_receiver_report_speaks_of_what_the_far_side_sent() {
    // Sequence 65,000 left as 464: a whole cycle lies between what the two sides count.
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    let highest = ReportBlock { extended_highest: 600, ..block(CAMERA_OUT) };
    writer.receiver_report(VIEWER, &[highest, block(9)]).unwrap();
    let mut bytes = writer.finish().to_vec();
    let done = translate(&mut bytes, &both_ways()[1]).unwrap();
    assert_eq!(done, Translated { changes: 3, unknown: 1 });
    let Some(Packet::ReceiverReport(report)) = Compound::parse(&bytes).unwrap().packets().next() else {
        panic!()
    };
    assert_eq!(report.ssrc, VIEWER_OUT);
    let blocks: Vec<_> = report.blocks().collect();
    assert_eq!(blocks, [ReportBlock { ssrc: CAMERA, extended_highest: 65_136, ..highest }, block(9)]);
}

#[test]
fn feedback_asks_for_the_numbers_that_the_far_side_used() {
    // Generic NACK: packet 464, and of the 16 behind it those in the mask.
    assert_eq!(
        back(&packet(1, 205, &[VIEWER, CAMERA_OUT, 464 << 16 | 0x8001]))[1..],
        [VIEWER_OUT, CAMERA, 65_000 << 16 | 0x8001]
    );
    // TMMBR: the source is in the control information.
    assert_eq!(
        back(&packet(3, 205, &[VIEWER, 0, CAMERA_OUT, 7, 9, 8]))[1..],
        [VIEWER_OUT, 0, CAMERA, 7, 9, 8]
    );
    // PLI, FIR.
    assert_eq!(back(&packet(1, 206, &[VIEWER, CAMERA_OUT]))[1..], [VIEWER_OUT, CAMERA]);
    assert_eq!(
        back(&packet(4, 206, &[VIEWER, 0, CAMERA_OUT, 1 << 24]))[1..],
        [VIEWER_OUT, 0, CAMERA, 1 << 24]
    );
    // The receiver's estimate of the bandwidth, for two sources.
    let remb = u32::from_be_bytes(*b"REMB");
    assert_eq!(
        back(&packet(15, 206, &[VIEWER, 0, remb, 2 << 24 | 5, CAMERA_OUT, 9]))[1..],
        [VIEWER_OUT, 0, remb, 2 << 24 | 5, CAMERA, 9]
    );
    // Application-defined.
    assert_eq!(back(&packet(0, 204, &[VIEWER, remb, CAMERA_OUT]))[1..], [VIEWER_OUT, remb, CAMERA_OUT]);
    // Transport-wide congestion control has numbers of its own.
    assert_eq!(
        back(&packet(15, 205, &[VIEWER, CAMERA_OUT, 464 << 16]))[1..],
        [VIEWER_OUT, CAMERA, 464 << 16]
    );
}

#[test]
fn extended_reports_are_translated_where_they_name_a_source() {
    let loss_rle = [1 << 24 | 2, CAMERA_OUT, 464 << 16 | 500];
    let dlrr = [5 << 24 | 3, CAMERA_OUT, 1, 2];
    let reference_time = [4 << 24 | 2, 3, 4];
    let voip = [7 << 24 | 1, CAMERA_OUT];
    let report = packet(0, 207, &[&[VIEWER][..], &loss_rle, &dlrr, &reference_time, &voip].concat());
    let expected = [
        &[VIEWER_OUT][..],
        &[1 << 24 | 2, CAMERA, 65_000 << 16 | 65_036],
        &[5 << 24 | 3, CAMERA, 1, 2],
        &reference_time,
        &[7 << 24 | 1, CAMERA],
    ];
    assert_eq!(back(&report)[1..], expected.concat());
}

#[test]
fn a_sender_that_is_not_known_yet_is_who_sent_the_compound() {
    let unknown =
        Translation { sent: Some(Mapping { from: None, to: 5, ..Mapping::default() }), received: None };
    let mut bytes = [packet(0, 201, &[77]), packet(2, 203, &[77, 78])].concat();
    assert_eq!(translate(&mut bytes, &unknown).unwrap(), Translated { changes: 2, unknown: 1 });
    assert_eq!(words(&bytes)[1..], [5, words(&bytes)[2], 5, 78]);
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let any_type = prop_oneof![200_u8..=207, any::<u8>()];
    let ssrc = prop_oneof![Just(CAMERA), Just(CAMERA_OUT), Just(VIEWER), any::<u32>()];
    (0_u8..64, any_type, prop::collection::vec(ssrc, 0..16))
        .prop_map(|(count, kind, words)| packet(count, kind, &words))
}

fn compound() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::collection::vec(chunk(), 1..5).prop_map(|chunks| chunks.concat());
    prop_oneof![whole, prop::collection::vec(any::<u8>(), 0..128)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever comes: no panic, and what is refused is left alone.
    #[test]
    fn any_bytes_are_translated_or_left(bytes in compound()) {
        let mut changed = bytes.clone();
        match translate(&mut changed, &both_ways()[0]) {
            Ok(done) => {
                let compound = Compound::parse(&changed);
                prop_assert!(compound.is_ok(), "a translation makes no RTCP invalid: {compound:?}");
                prop_assert!(done.changes > 0 || changed == bytes);
            }
            Err(error) => {
                prop_assert_eq!(&changed, &bytes);
                prop_assert_eq!(Compound::parse(&bytes).unwrap_err(), error);
            }
        }
        if let Ok(compound) = Compound::parse(&bytes) {
            let parts = compound.packets().map(|packet| match packet {
                Packet::SenderReport(report) => report.blocks().count(),
                Packet::ReceiverReport(report) => report.blocks().count(),
                Packet::Description(description) => description.chunks().map(|(_, items)| items.count()).sum(),
                Packet::Goodbye(goodbye) => goodbye.sources().count(),
                _ => 0,
            });
            prop_assert!(parts.sum::<usize>() <= bytes.len());
        }
    }

    /// A translation and the one with both identities exchanged cancel each other out, whatever the offsets.
    #[test]
    fn translations_can_be_undone(
        first in any::<u16>(), offset in any::<u16>(), timestamp in any::<u32>(), highest in any::<u32>(), pid in any::<u16>(),
    ) {
        let sequence = Mapping::extended_offset(first, offset);
        let to = Mapping { from: Some(1), to: 2, sequence, timestamp };
        let other = Mapping { from: Some(3), to: 4, sequence: 0, timestamp: 0 };
        let mirrored = |mapping: Mapping| Mapping {
            from: Some(mapping.to),
            to: mapping.from.unwrap(),
            sequence: mapping.sequence.wrapping_neg(),
            timestamp: mapping.timestamp.wrapping_neg(),
        };
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(3, &info(), &[ReportBlock { extended_highest: highest, ..block(2) }]).unwrap();
        let mut bytes = [writer.finish(), &packet(1, 205, &[3, 2, u32::from(pid) << 16])].concat();
        let before = bytes.clone();
        translate(&mut bytes, &Translation { sent: Some(other), received: Some(to) }).unwrap();
        prop_assert_ne!(&bytes, &before);
        translate(&mut bytes, &Translation { sent: Some(mirrored(other)), received: Some(mirrored(to)) }).unwrap();
        prop_assert_eq!(&bytes, &before);
    }

    /// Extended numbers stay in step with the packets they count, over any number of wraps.
    #[test]
    fn extended_numbers_follow_the_packets(first in any::<u16>(), offset in any::<u16>(), later in 0_u32..1 << 24) {
        let out = u32::from(first.wrapping_add(offset)) + later;
        let back = out.wrapping_sub(Mapping::extended_offset(first, offset));
        prop_assert_eq!(back, u32::from(first) + later);
    }
}
