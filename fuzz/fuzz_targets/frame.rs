//! A frame is read without reaching past its end; what is forwarded keeps its payload, and a header checksum that was
//! right stays right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::Destination;
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::udp_frame::{HEADERS, Rewrite, UdpFrame};

const IPV4: std::ops::Range<usize> = 14..34;

fuzz_target!(|data: &[u8]| {
    // On the heap and no longer than it must be, so that the sanitizer sees a read past the end.
    let mut bytes = data.to_vec().into_boxed_slice();
    let packet = Packet::new(&mut bytes);
    let _ = Media::at(&packet, HEADERS);
    let Ok(mut frame) = UdpFrame::parse(&packet) else { return };
    if frame.check(packet.length()).is_err() {
        return;
    }
    frame.rewrite(&Rewrite {
        macs: [Be32::new(0x0102_0304); 3],
        origin: Be32::new(0x0a00_0001),
        destination: Destination::new(Be32::new(0x0a00_0002), Be16::new(6000), Be16::new(4000)),
    });
    assert_eq!(bytes[HEADERS..], data[HEADERS..], "the payload has changed");
    assert_eq!(bytes[22] + 1, data[22], "the time to live is one less");
    assert_eq!(sum(&data[IPV4]) == 0xffff, sum(&bytes[IPV4]) == 0xffff, "the header checksum");
});

/// One's complement sum of 16-bit words (RFC 1071); 0xffff over a header whose checksum is right.
fn sum(header: &[u8]) -> u32 {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
