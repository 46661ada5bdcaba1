//! What a captured frame holds: a UDP datagram, and in it SIP, RTP or RTCP. Knows formats, not sockets.

use std::net::{Ipv4Addr, SocketAddrV4};

/// A UDP datagram inside an Ethernet frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) source: SocketAddrV4,
    pub(super) destination: SocketAddrV4,
    pub(super) payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads an untagged, unfragmented IPv4 frame; anything else is not what the demo's terminals send.
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        const ETHERNET: usize = 14;
        const UDP: usize = 8;
        const PROTOCOL_UDP: u8 = 17;
        let packet = frame.get(ETHERNET..)?;
        let is_ipv4 = frame.get(12..14)? == [0x08, 0x00] && packet.first()? >> 4 == 4;
        let is_fragment = be16(packet, 6)? & 0x3fff != 0;
        if !is_ipv4 || is_fragment || *packet.get(9)? != PROTOCOL_UDP {
            return None;
        }
        let udp = packet.get(usize::from(packet.first()? & 0x0f) * 4..)?;
        // The frame may be padded: the UDP length says where the payload ends.
        let payload = udp.get(UDP..usize::from(be16(udp, 4)?))?;
        let source = SocketAddrV4::new(address(packet, 12)?, be16(udp, 0)?);
        let destination = SocketAddrV4::new(address(packet, 16)?, be16(udp, 2)?);
        Some(Self { source, destination, payload })
    }
}

/// What RTP says of itself (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rtp {
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

impl Rtp {
    /// Reads the header; RTCP on a port of its own or shared (RFC 5761 section 4) is not RTP.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let second = *payload.get(1)?;
        if payload.first()? >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        Some(Self {
            payload_type: second & 0x7f,
            sequence: be16(payload, 2)?,
            timestamp: be32(payload, 4)?,
            ssrc: be32(payload, 8)?,
        })
    }
}

/// A payload type as SDP names it: `a=rtpmap:99 H264/90000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayloadFormat {
    pub(super) payload_type: u8,
    /// `audio` or `video`.
    pub(super) medium: String,
    /// `H264`.
    pub(super) encoding: String,
    /// Ticks of the RTP timestamp in a second.
    pub(super) clock_rate: u32,
}

/// A SIP message as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sip(String);

impl Sip {
    /// Takes any text that starts like SIP.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let first = text.lines().next()?;
        (first.starts_with("SIP/2.0 ") || first.ends_with(" SIP/2.0")).then(|| Self(text.to_owned()))
    }

    /// Whether this is a request of that method.
    pub(super) fn is_request(&self, method: &str) -> bool {
        self.0.strip_prefix(method).is_some_and(|rest| rest.starts_with(' '))
    }

    /// The status code, if this is a response to that method.
    pub(super) fn status_for(&self, method: &str) -> Option<u16> {
        let status = self.0.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
        let mut headers = self.0.lines().filter_map(|line| line.split_once(':'));
        let sequence = headers.find(|(name, _)| name.trim().eq_ignore_ascii_case("cseq"))?.1;
        (sequence.split_whitespace().nth(1)? == method).then_some(status)
    }

    /// The payload types that the message's SDP names.
    pub(super) fn payload_formats(&self) -> Vec<PayloadFormat> {
        let mut medium = String::new();
        let mut formats = Vec::new();
        for line in self.0.lines() {
            if let Some(rest) = line.strip_prefix("m=") {
                medium = rest.split(' ').next().unwrap_or_default().to_owned();
            } else if let Some(rest) = line.strip_prefix("a=rtpmap:") {
                formats.extend(payload_format(rest, &medium));
            }
        }
        formats
    }
}

fn payload_format(attribute: &str, medium: &str) -> Option<PayloadFormat> {
    let (payload_type, description) = attribute.trim().split_once(' ')?;
    let mut parts = description.split('/');
    Some(PayloadFormat {
        payload_type: payload_type.parse().ok()?,
        medium: medium.to_owned(),
        encoding: parts.next()?.to_owned(),
        clock_rate: parts.next()?.parse().ok()?,
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    be32(packet, at).map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.77.2.2:20000 to 10.77.2.1:30000, RTP of payload type 99, padded to Ethernet's 60 bytes.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 2, 2, 10, 77, 2, 1]);
        frame.extend([0x4e, 0x20, 0x75, 0x30, 0, 20, 0, 0]);
        frame.extend([0x80, 0xe3, 0x12, 0x34, 0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef]);
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn padding_of_the_frame_is_not_payload() {
        let frame = frame();
        let datagram = Datagram::parse(&frame).unwrap();
        assert_eq!(datagram.source, "10.77.2.2:20000".parse().unwrap());
        assert_eq!(datagram.destination, "10.77.2.1:30000".parse().unwrap());
        assert_eq!(datagram.payload.len(), 12);
    }

    #[test]
    fn a_truncated_frame_is_no_datagram() {
        let frame = frame();
        for length in 0..frame.len() - 6 {
            assert_eq!(Datagram::parse(&frame[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn the_marker_bit_is_not_part_of_the_payload_type() {
        let rtp = Rtp::parse(Datagram::parse(&frame()).unwrap().payload).unwrap();
        assert_eq!(rtp, Rtp { payload_type: 99, sequence: 0x1234, timestamp: 9, ssrc: 0xdead_beef });
    }

    #[test]
    fn a_sender_report_is_not_rtp() {
        assert_eq!(Rtp::parse(&[0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_response_belongs_to_the_method_of_its_cseq() {
        let ok = Sip::parse(b"SIP/2.0 200 OK\r\nCSeq: 7 INVITE\r\n\r\n").unwrap();
        assert_eq!(ok.status_for("INVITE"), Some(200));
        assert_eq!(ok.status_for("BYE"), None);
    }

    #[test]
    fn formats_know_their_medium() {
        let text = b"INVITE sip:camera@10.77.1.1 SIP/2.0\r\n\r\nv=0\r\nm=audio 9 RTP/AVP 0\r\n\
                     a=rtpmap:0 PCMU/8000\r\nm=video 9 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n";
        let formats = Sip::parse(text).unwrap().payload_formats();
        let names: Vec<_> = formats.iter().map(|f| (f.payload_type, &f.medium[..], f.clock_rate)).collect();
        assert_eq!(names, [(0, "audio", 8000), (99, "video", 90000)]);
    }
}
