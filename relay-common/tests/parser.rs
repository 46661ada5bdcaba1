//! The packet core against another library, and against anything at all.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use etherparse::{LinkExtHeader, NetHeaders, PacketBuilder, PacketHeaders, TransportHeader, VlanId};
use proptest::prelude::*;
use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::checksum::Change;
use relay_common::frame::ethernet::{ETHERNET, Payload, TAG};
use relay_common::frame::{Datagram, Essence, Ethernet, Ipv4Udp, Ipv6Udp, rebuild};
use relay_common::leg::{Addresses6, LegKey, Source};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::verdict::{Drop, Pass};

/// Both ends of a datagram, of the same version of IP.
#[derive(Clone, Copy, Debug)]
enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

/// What is put on the wire.
#[derive(Clone, Debug)]
struct Sent {
    tags: Vec<u16>,
    ends: Ends,
    ports: (u16, u16),
    hops: u8,
    payload: Vec<u8>,
}

impl Sent {
    /// The whole frame, made by the other library.
    fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([4; 6], [2; 6]);
        macro_rules! finish {
            ($builder:expr) => {
                match self.ends {
                    Ends::V4(source, destination) => $builder.ipv4(source, destination, self.hops),
                    Ends::V6(source, destination) => $builder.ipv6(source, destination, self.hops),
                }
                .udp(self.ports.0, self.ports.1)
                .write(&mut frame, &self.payload)
                .unwrap()
            };
        }
        let id = |at: usize| VlanId::try_new(self.tags[at]).unwrap();
        match self.tags.len() {
            0 => finish!(builder),
            1 => finish!(builder.single_vlan(id(0))),
            _ => finish!(builder.double_vlan(id(0), id(1))),
        }
        frame
    }

    fn is_v6(&self) -> bool {
        matches!(self.ends, Ends::V6(..))
    }

    /// The tags as the relay's records have them.
    fn tag_words(&self) -> [Be32; 2] {
        let word = |protocol: u32, id: u16| Be32::new(protocol << 16 | u32::from(id));
        match self.tags[..] {
            [] => [Be32::new(0); 2],
            [id] => [word(0x8100, id), Be32::new(0)],
            [outer, inner, ..] => [word(0x88a8, outer), word(0x8100, inner)],
        }
    }
}

fn ends() -> impl Strategy<Value = Ends> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(source, destination)| Ends::V4(source, destination)),
        any::<([u8; 16], [u8; 16])>().prop_map(|(source, destination)| Ends::V6(source, destination)),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let tags = prop::collection::vec(1_u16..4095, 0..3);
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (tags, ends(), any::<(u16, u16)>(), 2_u8.., payload).prop_map(|(tags, ends, ports, hops, payload)| Sent {
        tags,
        ends,
        ports,
        hops,
        payload,
    })
}

fn v4(octets: [u8; 4]) -> Be32 {
    Be32::from_wire(u32::from_ne_bytes(octets))
}

/// Both ports, as the first word of the UDP header.
fn ports((source, destination): (u16, u16)) -> Be32 {
    Be32::new(u32::from(source) << 16 | u32::from(destination))
}

/// What is read of a frame.
struct Reading {
    /// Where the payload starts.
    payload: usize,
    key: LegKey,
    source: Source,
    essence: Essence,
    checked: Result<(), Drop>,
}

impl Reading {
    fn of<'a>(datagram: &impl Datagram<'a>, payload: usize, available: usize) -> Self {
        Self {
            payload,
            key: datagram.leg_key(),
            source: datagram.source(),
            essence: datagram.essence(),
            checked: datagram.check(available),
        }
    }
}

/// Whether a frame may be sent on.
fn is_forwardable(bytes: &mut [u8]) -> bool {
    read(bytes).is_ok_and(|reading| reading.checked.is_ok())
}

/// Reads a frame whatever its version of IP.
fn read(bytes: &mut [u8]) -> Result<Reading, Pass> {
    let packet = Packet::new(bytes);
    let (_, payload, offset) = Ethernet::parse(&packet)?;
    let available = packet.length() - offset;
    Ok(match payload {
        Payload::Ipv4 => Reading::of(&Ipv4Udp::parse(&packet, offset)?, offset + Ipv4Udp::HEADERS, available),
        Payload::Ipv6 => Reading::of(&Ipv6Udp::parse(&packet, offset)?, offset + Ipv6Udp::HEADERS, available),
    })
}

/// Sends a frame on as `to` says: its headers in place where their length stays, else built anew.
fn rewritten(from: &Sent, to: &Sent) -> Vec<u8> {
    let mut bytes = from.frame();
    let Reading { payload: headers, essence, checked, .. } = read(&mut bytes).unwrap();
    checked.unwrap();
    let macs = [Be32::from_wire(0x0707_0707); 3];
    let offset = if from.tags.is_empty() { ETHERNET } else { 0 };
    if offset == ETHERNET && to.tags.is_empty() && from.is_v6() == to.is_v6() {
        let packet = Packet::new(&mut bytes);
        Ethernet::parse(&packet).unwrap().0.set_macs(&macs);
        match to.ends {
            Ends::V4(origin, destination) => {
                let mut datagram = Ipv4Udp::parse(&packet, offset).unwrap();
                datagram.readdress(v4(origin), v4(destination), ports(to.ports), Change::none());
            }
            Ends::V6(origin, destination) => {
                let mut datagram = Ipv6Udp::parse(&packet, offset).unwrap();
                let (origin, destination) = (Ipv6::from_octets(origin), Ipv6::from_octets(destination));
                datagram.readdress(&origin, &destination, ports(to.ports), Change::none());
            }
        }
        return bytes;
    }
    let tags = to.tag_words();
    bytes.splice(..headers, vec![0xee; rebuild::length(&tags, to.is_v6())]);
    let link = rebuild::Link { macs: &macs, tags: &tags };
    let packet = Packet::new(&mut bytes);
    match to.ends {
        Ends::V4(origin, destination) => {
            rebuild::write_v4(&packet, link, &essence, (v4(origin), v4(destination)), ports(to.ports))
        }
        Ends::V6(origin, destination) => {
            let addresses = Addresses6 {
                origin: Ipv6::from_octets(origin),
                destination: Ipv6::from_octets(destination),
                ..Addresses6::default()
            };
            rebuild::write_v6(&packet, link, &essence, &addresses, ports(to.ports))
        }
    }
    .unwrap();
    bytes
}

/// Whether the other library, too, sees an unfragmented UDP datagram over plain IP in whole headers.
fn is_plain_udp(frame: &[u8]) -> bool {
    let Ok(parsed) = PacketHeaders::from_ethernet_slice(frame) else { return false };
    let plain = match parsed.net {
        Some(NetHeaders::Ipv4(ip, extensions)) => {
            ip.options.is_empty() && extensions.is_empty() && !ip.is_fragmenting_payload()
        }
        Some(NetHeaders::Ipv6(_, extensions)) => extensions.is_empty(),
        _ => false,
    };
    let tagged = parsed.link_exts.iter().all(|header| matches!(header, LinkExtHeader::Vlan(_)));
    plain
        && tagged
        && parsed.link_exts.len() <= 2
        && matches!(parsed.transport, Some(TransportHeader::Udp(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_another_library_wrote(sent in sent()) {
        let mut bytes = sent.frame();
        let Reading { payload: headers, key, source, essence, checked } = read(&mut bytes).unwrap();
        let (from, to) = (Be16::new(sent.ports.0), Be16::new(sent.ports.1));
        let (expected_key, expected_source) = match sent.ends {
            Ends::V4(source, destination) => (LegKey::new(v4(destination), to), Source::new(v4(source), from)),
            Ends::V6(source, destination) => (
                LegKey::v6(&Ipv6::from_octets(destination), to),
                Source::v6(&Ipv6::from_octets(source), from),
            ),
        };
        prop_assert_eq!((key, source), (expected_key, expected_source));
        prop_assert_eq!(headers, bytes.len() - sent.payload.len());
        prop_assert_eq!((essence.hops, usize::from(essence.udp_length.get())), (sent.hops, sent.payload.len() + 8));
        prop_assert_eq!(checked, Ok(()));
    }

    #[test]
    fn rewrites_to_what_another_library_would_have_written(from in sent(), tags in prop::collection::vec(1_u16..4095, 0..3),
        ends in ends(), ports in any::<(u16, u16)>()) {
        let to = Sent { tags, ends, ports, hops: from.hops - 1, payload: from.payload.clone() };
        let mut expected = to.frame();
        expected[..12].copy_from_slice(&[7; 12]);
        let mut bytes = rewritten(&from, &to);
        if from.is_v6() != to.is_v6() && !to.is_v6() {
            // What comes from IPv6 must not be fragmented, and has no identification.
            let ip = ETHERNET + TAG * to.tags.len();
            prop_assert_eq!(&bytes[ip + 4..ip + 8], &[0, 0, 0x40, 0]);
        }
        prop_assert_eq!(std::mem::take(&mut bytes), expected);
    }

    #[test]
    fn agrees_with_another_library_about_mutated_frames(
        sent in sent(),
        mutations in prop::collection::vec((0_usize..80, any::<u8>()), 0..4),
        cut in 0_usize..120,
    ) {
        let mut bytes = sent.frame();
        for (at, value) in mutations {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        let copy = bytes.clone();
        let forwardable = is_forwardable(&mut bytes);
        // The other library leaves lengths to its caller where ours drops; it must never refuse what we forward.
        prop_assert!(!forwardable || is_plain_udp(&copy), "{:02x?}", copy);
    }

    #[test]
    fn reads_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..100), offset in 0_usize..120) {
        let length = bytes.len();
        if let Err(reason) = read(&mut bytes) {
            prop_assert_eq!(reason == Pass::TooShort && length >= 70, false);
        }
        let media = Media::at(&Packet::new(&mut bytes), offset);
        prop_assert!(media.is_none() || offset + 8 <= length);
    }

    #[test]
    fn a_wrong_header_checksum_is_found(
        sent in sent(), ends in any::<([u8; 4], [u8; 4])>(), at in 0_usize..20, bit in 0_u8..8
    ) {
        let sent = Sent { ends: Ends::V4(ends.0, ends.1), ..sent };
        let mut bytes = sent.frame();
        bytes[ETHERNET + TAG * sent.tags.len() + at] ^= 1 << bit;
        // Whatever else is wrong is found first; nothing is forwarded.
        prop_assert!(!is_forwardable(&mut bytes));
    }

    #[test]
    fn a_new_dscp_leaves_the_rest(sent in sent(), dscp in 0_u8..64) {
        let mut bytes = sent.frame();
        let packet = Packet::new(&mut bytes);
        let (_, payload, offset) = Ethernet::parse(&packet).unwrap();
        let before = read(&mut sent.frame()).unwrap().essence;
        match payload {
            Payload::Ipv4 => Ipv4Udp::parse(&packet, offset).unwrap().set_dscp(dscp),
            Payload::Ipv6 => Ipv6Udp::parse(&packet, offset).unwrap().set_dscp(dscp),
        }
        let Reading { essence: after, checked, .. } = read(&mut bytes).unwrap();
        prop_assert_eq!(checked, Ok(()));
        let class = dscp << 2 | before.traffic_class & 3;
        prop_assert_eq!(after, Essence { traffic_class: class, ..before });
    }
}
