//! Session descriptions of the standard (Annex G) over those of [`crate::sip::sdp`]: what we offer a device, and what is
//! read of its answer. It must not know ports of ours nor who watches.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::id::DeviceId;
use super::ssrc::Ssrc;
use super::time::LocalTime;
use crate::sip::sdp::{Sdp, SdpError};

/// What is asked for: `s=`, with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Live.
    Play,
    /// A recording, at the speed of life.
    Playback(LocalTime, LocalTime),
    /// A recording, as a file, this many times as fast.
    Download(LocalTime, LocalTime, u32),
}

/// How media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// RTP in datagrams.
    Udp,
    /// RTP on a connection that the device opens (RFC 4571).
    TcpPassive,
    /// RTP on a connection that we open.
    TcpActive,
}

/// What we offer.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Who asks: the platform.
    pub owner: &'a DeviceId,
    /// Which channel.
    pub channel: &'a DeviceId,
    /// What for.
    pub purpose: Purpose,
    /// Where media is to be sent.
    pub media: SocketAddr,
    /// How.
    pub carrier: Carrier,
    /// The SSRC that the device is to send with.
    pub ssrc: Ssrc,
}

impl Offer<'_> {
    /// The description. The order of the lines is that of the standard's examples: some firmware reads no other.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let Self { owner, channel, media, ssrc, .. } = self;
        let (ip, port) = (media.ip(), media.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let (name, source, times, more) = match self.purpose {
            Purpose::Play => ("Play", String::new(), "0 0".to_owned(), String::new()),
            Purpose::Playback(start, end) => {
                ("Playback", format!("u={channel}:0\r\n"), format!("{} {}", start.0, end.0), String::new())
            }
            Purpose::Download(start, end, speed) => (
                "Download",
                format!("u={channel}:0\r\n"),
                format!("{} {}", start.0, end.0),
                format!("a=downloadspeed:{speed}\r\n"),
            ),
        };
        let (protocol, setup) = match self.carrier {
            Carrier::Udp => ("RTP/AVP", ""),
            Carrier::TcpPassive => ("TCP/RTP/AVP", "a=setup:passive\r\na=connection:new\r\n"),
            Carrier::TcpActive => ("TCP/RTP/AVP", "a=setup:active\r\na=connection:new\r\n"),
        };
        format!(
            "v=0\r\no={owner} 0 0 IN {family} {ip}\r\ns={name}\r\n{source}c=IN {family} {ip}\r\nt={times}\r\n\
             m=video {port} {protocol} 96 97 98 99\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\n\
             a=rtpmap:97 MPEG4/90000\r\na=rtpmap:98 H264/90000\r\na=rtpmap:99 H265/90000\r\n{setup}{more}y={ssrc}\r\n"
        )
        .into()
    }
}

/// What a device answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address that it says; many devices behind a NAT say a private one.
    pub address: Option<IpAddr>,
    /// The port that it says it sends from.
    pub port: u16,
    /// Whether it sends on a connection.
    pub tcp: bool,
    /// The SSRC that it says it sends with; absent where the device, or a box on the way, leaves the line out.
    pub ssrc: Option<Ssrc>,
    /// What it sends: `PS`, `H264`, or a vendor's own (`HIKVISION`); `None` where it does not say.
    pub encoding: Option<String>,
    /// Bytes of the file, for a download.
    pub file_size: Option<u64>,
}

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is no session description.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// It describes no media.
    #[error("the answer has no m= line")]
    NoMedia,
    /// It refuses the media.
    #[error("the answer refuses the media: its port is 0")]
    Refused,
}

impl Answer {
    /// Reads an answer. Nothing but a port is needed of it.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn parse(body: &Bytes) -> Result<Self, AnswerError> {
        let sdp = Sdp::parse(body)?;
        let media = sdp.media().first().ok_or(AnswerError::NoMedia)?;
        let field = media.field();
        if field.port == 0 {
            return Err(AnswerError::Refused);
        }
        // A name, or a line that cannot be read, is as good as none: where media comes from is seen when it comes.
        let connection = media.connection().ok().flatten().or_else(|| sdp.connection().ok().flatten());
        let address =
            connection.map(|connection| connection.address).filter(|address| !address.is_unspecified());
        let encoding = field.payload_types().find_map(|number| media.encoding(number));
        let encoding = encoding.map(|name| name.split('/').next().unwrap_or_default().to_ascii_uppercase());
        let size = media.lines().iter().find_map(|line| line.attribute("filesize"));
        Ok(Self {
            address,
            port: field.port,
            tcp: field.protocol.to_ascii_uppercase().starts_with("TCP/"),
            ssrc: media.gb28181_source().map(Ssrc),
            encoding,
            file_size: size.and_then(|size| std::str::from_utf8(size).ok()?.trim_ascii().parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(purpose: Purpose, carrier: Carrier) -> String {
        let (owner, channel) =
            ("34020000002000000001".parse().unwrap(), "34020000001310000001".parse().unwrap());
        let media = "203.0.113.5:30000".parse().unwrap();
        let offer =
            Offer { owner: &owner, channel: &channel, purpose, media, carrier, ssrc: Ssrc(200_000_001) };
        String::from_utf8(offer.to_bytes().to_vec()).unwrap()
    }

    fn answer(lines: &str) -> Result<Answer, AnswerError> {
        let body = format!("v=0\no=34020000001310000001 0 0 IN IP4 10.0.0.9\ns=Play\n{lines}");
        Answer::parse(&body.replace('\n', "\r\n").into())
    }

    #[test]
    fn live_offer_has_the_lines_of_the_standard_in_their_order() {
        assert_eq!(
            offer(Purpose::Play, Carrier::Udp),
            "v=0\r\no=34020000002000000001 0 0 IN IP4 203.0.113.5\r\ns=Play\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\n\
             m=video 30000 RTP/AVP 96 97 98 99\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\na=rtpmap:97 MPEG4/90000\r\n\
             a=rtpmap:98 H264/90000\r\na=rtpmap:99 H265/90000\r\ny=0200000001\r\n"
        );
    }

    #[test]
    fn recorded_offers_name_the_channel_and_the_time_in_seconds() {
        let (start, end) = (LocalTime(1_795_177_330), LocalTime(1_795_180_930));
        let playback = offer(Purpose::Playback(start, end), Carrier::TcpPassive);
        assert!(playback.contains("s=Playback\r\nu=34020000001310000001:0\r\n"), "{playback}");
        assert!(playback.contains("t=1795177330 1795180930\r\nm=video 30000 TCP/RTP/AVP "), "{playback}");
        assert!(playback.contains("a=setup:passive\r\na=connection:new\r\ny="), "{playback}");
        let download = offer(Purpose::Download(start, end, 4), Carrier::TcpActive);
        assert!(
            download.contains("s=Download\r\n") && download.contains("a=downloadspeed:4\r\n"),
            "{download}"
        );
        assert!(download.contains("a=setup:active\r\n"), "{download}");
    }

    #[test]
    fn our_offers_are_session_descriptions() {
        let sdp = Sdp::parse(&offer(Purpose::Play, Carrier::Udp).into()).unwrap();
        assert_eq!(sdp.media()[0].gb28181_source(), Some(200_000_001));
    }

    #[test]
    fn answer_needs_a_port_and_nothing_else() {
        let full = answer(
            "c=IN IP4 10.0.0.9\nt=0 0\nm=video 15060 RTP/AVP 96\na=sendonly\na=rtpmap:96 PS/90000\na=filesize:1048576\n\
             y=0200000001\nf=v/2/6/25/1/4096a/1/8/1\n",
        )
        .unwrap();
        assert_eq!((full.address, full.port), ("10.0.0.9".parse().ok(), 15_060));
        assert_eq!((full.ssrc, full.file_size), (Some(Ssrc(200_000_001)), Some(1_048_576)));
        assert_eq!((full.encoding.as_deref(), full.tcp), (Some("PS"), false));
        let bare = answer("t=0 0\nm=video 15060 TCP/RTP/AVP 96").unwrap();
        assert_eq!((bare.address, bare.ssrc, bare.encoding, bare.tcp), (None, None, None, true));
        assert_eq!(answer("c=IN IP4 camera.local\nm=video 9 RTP/AVP 96\n").unwrap().address, None);
        assert_eq!(
            answer("m=video 9 RTP/AVP 96\na=rtpmap:96 HIKVISION/90000\ny=12\n").unwrap().ssrc,
            Some(Ssrc(12))
        );
        assert_eq!(answer("m=video 9 RTP/AVP 96\ny=99999999999\n").unwrap().ssrc, None);
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        assert_eq!(answer("m=video 0 RTP/AVP 96\n"), Err(AnswerError::Refused));
        assert_eq!(answer("c=IN IP4 10.0.0.9\n"), Err(AnswerError::NoMedia));
        assert!(matches!(Answer::parse(&Bytes::new()), Err(AnswerError::Sdp(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut body = b"v=0\r\nm=video 9 RTP/AVP 96\r\n".to_vec();
            body.extend(bytes);
            let _ = Answer::parse(&body.into());
        }
    }
}
