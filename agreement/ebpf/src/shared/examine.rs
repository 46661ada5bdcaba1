//! The core under test, asked everything that it answers about a frame, and told to rewrite it.

use relay_common::byte_order::{Be16, Be32};
use relay_common::leg::Destination;
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::udp_frame::{HEADERS, Rewrite, UdpFrame};

use super::frame::Examined;

/// Asks, rewrites the frame if it is one that is sent on, and returns the answers.
#[inline(always)]
pub fn examine(packet: &Packet<'_>) -> Examined {
    let mut answers = [0; 8];
    answers[0] = match Media::at(packet, HEADERS) {
        None => 0,
        Some(Media::Rtp { payload_type, ssrc, .. }) => {
            1 << 48 | (payload_type as u64) << 32 | ssrc.get() as u64
        }
        Some(Media::Rtcp { ssrc }) => 2 << 48 | ssrc.get() as u64,
    };
    let mut frame = match UdpFrame::parse(packet) {
        Ok(frame) => frame,
        Err(reason) => {
            answers[1] = 1 << 32 | reason as u64;
            return Examined { answers };
        }
    };
    let key = frame.leg_key();
    answers[2] = (key.port().get() as u64) << 32 | key.address().get() as u64;
    answers[6] = key.bucket(0xffff) as u64;
    answers[3] = frame.source().word();
    answers[4] = frame.ip_length() as u64;
    answers[5] = match frame.check(packet.length()) {
        Ok(()) => {
            frame.rewrite(&REWRITE);
            0
        }
        Err(reason) => 1 << 32 | reason as u64,
    };
    Examined { answers }
}

/// Any new addresses; a rewrite is arithmetic on the differences.
const REWRITE: Rewrite = Rewrite {
    macs: [Be32::new(0x0200_0000), Be32::new(0x0102_0200), Be32::new(0x0000_0101)],
    origin: Be32::new(0x0a4e_0201),
    destination: Destination::new(Be32::new(0x0a4e_0202), Be16::new(6004), Be16::new(30002)),
};
