//! The parser against another library, and against anything at all.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::prelude::*;
use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::{Destination, LegKey, Source};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::udp_frame::{HEADERS, Rewrite, UdpFrame};
use relay_common::verdict::Pass;

type Endpoint = ([u8; 4], u16);

/// A whole UDP frame, made by the other library.
fn frame(source: Endpoint, destination: Endpoint, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4(source.0, destination.0, ttl)
        .udp(source.1, destination.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn address(octets: [u8; 4]) -> Be32 {
    Be32::from_wire(u32::from_ne_bytes(octets))
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<[u8; 4]>(), any::<u16>())
}

/// Whether the other library, too, sees an unfragmented UDP datagram over IPv4 without options in whole headers.
fn is_plain_udp(frame: &[u8]) -> bool {
    let Ok(parsed) = PacketHeaders::from_ethernet_slice(frame) else { return false };
    let Some(NetHeaders::Ipv4(ip, extensions)) = parsed.net else { return false };
    let plain = ip.options.is_empty() && extensions.is_empty() && !ip.is_fragmenting_payload();
    plain && parsed.link_exts.is_empty() && matches!(parsed.transport, Some(TransportHeader::Udp(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_another_library_wrote(
        source in endpoint(), destination in endpoint(), ttl in 2_u8.., payload in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut bytes = frame(source, destination, ttl, &payload);
        let packet = Packet::new(&mut bytes);
        let parsed = UdpFrame::parse(&packet).unwrap();
        prop_assert_eq!(parsed.source(), Source::new(address(source.0), Be16::new(source.1)));
        prop_assert_eq!(parsed.leg_key(), LegKey::new(address(destination.0), Be16::new(destination.1)));
        prop_assert!(parsed.check(packet.length()).is_ok());
    }

    #[test]
    fn rewrites_to_what_another_library_would_have_written(
        old in (endpoint(), endpoint()), new in (endpoint(), endpoint()), ttl in 2_u8..,
        payload in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut bytes = frame(old.0, old.1, ttl, &payload);
        let mut expected = frame(new.0, new.1, ttl - 1, &payload);
        expected[..12].copy_from_slice(&[7; 12]);
        let (origin, destination) = new;
        UdpFrame::parse(&Packet::new(&mut bytes)).unwrap().rewrite(&Rewrite {
            macs: [Be32::from_wire(0x0707_0707); 3],
            origin: address(origin.0),
            destination: Destination::new(address(destination.0), Be16::new(destination.1), Be16::new(origin.1)),
        });
        prop_assert_eq!(bytes, expected);
    }

    #[test]
    fn agrees_with_another_library_about_mutated_frames(
        payload in prop::collection::vec(any::<u8>(), 0..40),
        mutations in prop::collection::vec((0_usize..60, any::<u8>()), 0..4),
        cut in 0_usize..90,
    ) {
        let mut bytes = frame(([10, 0, 0, 1], 4000), ([10, 0, 0, 2], 5000), 64, &payload);
        for (at, value) in mutations {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        let copy = bytes.clone();
        let packet = Packet::new(&mut bytes);
        let forwardable = UdpFrame::parse(&packet).is_ok_and(|frame| frame.check(packet.length()).is_ok());
        // The other library leaves lengths to its caller where ours drops; it must never refuse what we forward.
        prop_assert!(!forwardable || is_plain_udp(&copy), "{:02x?}", copy);
    }

    #[test]
    fn reads_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..100), offset in 0_usize..120) {
        let length = bytes.len();
        let packet = Packet::new(&mut bytes);
        match UdpFrame::parse(&packet) {
            Ok(frame) => { let _ = frame.check(length); }
            Err(reason) => prop_assert_eq!(reason == Pass::TooShort, length < HEADERS),
        }
        let media = Media::at(&packet, offset);
        prop_assert!(media.is_none() || offset + 8 <= length);
    }
}
