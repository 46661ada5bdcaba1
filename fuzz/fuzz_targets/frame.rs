//! A frame is read without reaching past its end; what is forwarded keeps its payload, and a header checksum that was
//! right stays right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_common::address::Ipv6;
use relay_common::byte_order::Be32;
use relay_common::checksum::Change;
use relay_common::frame::ethernet::Payload;
use relay_common::frame::{Datagram, Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::verdict::Drop;

const PORTS: Be32 = Be32::new(4000 << 16 | 6000);

fuzz_target!(|data: &[u8]| {
    // On the heap and no longer than it must be, so that the sanitizer sees a read past the end.
    let mut bytes = data.to_vec().into_boxed_slice();
    let packet = Packet::new(&mut bytes);
    let Ok((_, payload, offset)) = Ethernet::parse(&packet) else { return };
    let available = packet.length() - offset;
    let (headers, hops) = match payload {
        Payload::Ipv4 => {
            let Ok(mut datagram) = Ipv4Udp::parse(&packet, offset) else { return };
            if datagram.check(available).is_err() {
                return;
            }
            datagram.readdress(Be32::new(0x0a00_0001), Be32::new(0x0a00_0002), PORTS, Change::none());
            assert_eq!(datagram.check(available).err().map(Drop::name), expired(data[offset + 8]));
            (offset + Ipv4Udp::HEADERS, offset + 8)
        }
        Payload::Ipv6 => {
            let Ok(mut datagram) = Ipv6Udp::parse(&packet, offset) else { return };
            if datagram.check(available).is_err() {
                return;
            }
            datagram.readdress(
                &Ipv6::from_octets([1; 16]),
                &Ipv6::from_octets([2; 16]),
                PORTS,
                Change::none(),
            );
            assert_eq!(datagram.check(available).err().map(Drop::name), expired(data[offset + 7]));
            (offset + Ipv6Udp::HEADERS, offset + 7)
        }
    };
    let _ = Media::at(&packet, headers);
    assert_eq!(bytes[headers..], data[headers..], "the payload has changed");
    assert_eq!(bytes[hops] + 1, data[hops], "the time to live is one less");
});

/// Why a packet that was checked and sent on with a time to live of `hops` cannot be sent on again.
fn expired(hops: u8) -> Option<&'static str> {
    (hops == 2).then_some("ttl_expired")
}
