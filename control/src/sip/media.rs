//! Between session descriptions and the neutral session model. It must not know calls or legs.
//!
//! What is relayed: RTP over UDP on one port pair per medium (`RTP/AVP`, `RTP/AVPF` and, with keys in the SDP, their
//! secure forms). Other media (RTP over TCP, BFCP, DTLS-SRTP, several port pairs) are refused with port 0 in the
//! description that is passed on; the other media of the call go on. ICE is removed, because its candidates would lead
//! media past the relay.

use std::net::SocketAddr;

use super::sdp::{Connection, Direction, Media, Sdp, SdpError};
use crate::session::{Description, LocalMedia, MediaLine};

/// Reads what a session description says of media.
///
/// # Errors
/// An active medium has no address or one that cannot be relayed to, or no active medium can be relayed.
pub fn describe(sdp: &Sdp) -> Result<Description, SdpError> {
    let session = sdp.connection();
    let direction = sdp.direction();
    let media = sdp
        .media()
        .iter()
        .map(|media| describe_media(media, session.clone(), direction))
        .collect::<Result<Vec<_>, _>>()?;
    let first_active = sdp.media().iter().find(|media| media.field().port != 0);
    match first_active {
        Some(active) if media.iter().all(|line| line.rejected) => {
            let (line, found) = active.first_line();
            Err(SdpError::NothingToRelay { line, found })
        }
        _ => Ok(Description { media }),
    }
}

/// Writes where the relay receives media into a session description that is passed on: addresses and ports, nothing
/// else; lines of ICE are removed. Addresses that say "hold" (`0.0.0.0`, `::`) stay.
///
/// # Errors
/// [`SdpError::MediaCount`] when there is not one address per medium.
pub fn readdress(sdp: &mut Sdp, local: &[LocalMedia]) -> Result<(), SdpError> {
    if sdp.media().len() != local.len() {
        return Err(SdpError::MediaCount { found: sdp.media().len(), expected: local.len() });
    }
    // A broken c= line of the session part is none that media inherit: `describe` has seen to that.
    let session = sdp.connection().ok().flatten();
    let shared = local.iter().find(|local| !local.rejected).map(|local| local.rtp.ip());
    if let Some(address) = shared {
        sdp.set_address(address);
    }
    for (media, local) in sdp.media_mut().iter_mut().zip(local) {
        if local.rejected {
            media.reject();
            continue;
        }
        let own = media.connection()?;
        media.set_address(local.rtp, local.rtcp);
        let inherits = own.is_none() && session.is_some_and(|session| !session.address.is_unspecified());
        if inherits && shared != Some(local.rtp.ip()) {
            media.insert_connection(local.rtp.ip());
        }
    }
    sdp.remove_ice();
    Ok(())
}

fn describe_media(
    media: &Media,
    session: Result<Option<Connection>, SdpError>,
    default: Direction,
) -> Result<MediaLine, SdpError> {
    let field = media.field();
    if field.port == 0 || field.port_pairs != 1 || !field.is_plain_rtp() {
        return Ok(MediaLine { rejected: true, ..MediaLine::default() });
    }
    // A broken c= line of the session part matters only to media that have none of their own.
    let connection = match media.connection()? {
        Some(own) => own,
        None => session?.ok_or_else(|| SdpError::NoConnection { line: media.first_line().0 })?,
    };
    let told = !connection.address.is_unspecified();
    let rtcp = match media.rtcp()? {
        Some(rtcp) => Some((rtcp.address.unwrap_or(connection.address), rtcp.port)),
        // RFC 3550 section 11: the next port. There is none after the last, and then no RTCP.
        None => field.port.checked_add(1).map(|port| (connection.address, port)),
    };
    Ok(MediaLine {
        remote: told.then(|| SocketAddr::new(connection.address, field.port)),
        rtcp: rtcp
            .filter(|(address, port)| told && *port != 0 && !address.is_unspecified())
            .map(SocketAddr::from),
        rtcp_mux: media.rtcp_mux(),
        clock_rates: clock_rates(media),
        payload_types: field.payload_types().collect(),
        silent: !told || media.direction(default) == Direction::Inactive,
        ssrc: announced_ssrc(media, media.direction(default)),
        rejected: false,
    })
}

/// Payload types whose clock rate the description or RFC 3551 section 6 tells, in the order of preference.
fn clock_rates(media: &Media) -> Vec<(u8, u32)> {
    let rate = |payload_type| {
        let encoding = media.encoding(payload_type);
        let mapped = encoding.as_deref().and_then(|encoding| encoding.split('/').nth(1)?.parse().ok());
        mapped.or_else(|| static_clock_rate(payload_type))
    };
    media
        .field()
        .payload_types()
        .filter_map(|payload_type| Some((payload_type, rate(payload_type)?)))
        .collect()
}

/// Clock rates of payload types that need no rtpmap (RFC 3551 section 6).
const fn static_clock_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8_000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        16 => Some(11_025),
        17 => Some(22_050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90_000),
        _ => None,
    }
}

/// The one SSRC that this side says it will send with. Several announced sources (retransmission, simulcast) say
/// nothing about the first packet. In GB/T 28181 the side that receives chooses the SSRC, and the side that sends
/// repeats it in its answer: a `y=` line counts only from a side that sends.
fn announced_ssrc(media: &Media, direction: Direction) -> Option<u32> {
    match media.announced_sources().as_slice() {
        [] if matches!(direction, Direction::SendOnly | Direction::SendRecv) => media.gb28181_source(),
        [one] => Some(*one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{describe, readdress};
    use crate::session::LocalMedia;
    use crate::sip::sdp::{Sdp, SdpError};

    fn sdp(text: &str) -> Sdp {
        Sdp::parse(&Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn local(port: u16) -> LocalMedia {
        let address = |port| std::net::SocketAddr::new([198, 51, 100, 1].into(), port);
        LocalMedia { rtp: address(port), rtcp: address(port + 1), rejected: port == 0 }
    }

    fn readdressed(text: &str, ports: &[u16]) -> String {
        let mut sdp = sdp(text);
        readdress(&mut sdp, &ports.iter().map(|port| local(*port)).collect::<Vec<_>>()).unwrap();
        String::from_utf8(sdp.to_bytes().into()).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn a_phone_is_described() {
        let description = describe(&sdp(
            "v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0 101\na=ssrc:7 cname:x\nm=video 4002 RTP/AVP 96\n\
             c=IN IP4 192.0.2.10\na=rtcp:5000\na=rtcp-mux\na=inactive\nm=audio 0 RTP/AVP 0\n",
        ))
        .unwrap();
        let [audio, video, refused] = &description.media[..] else { panic!("three media") };
        assert_eq!(audio.remote, Some("192.0.2.9:4000".parse().unwrap()));
        assert_eq!(audio.rtcp, Some("192.0.2.9:4001".parse().unwrap()));
        assert_eq!(
            (&audio.payload_types[..], audio.ssrc, audio.rtcp_mux, audio.silent),
            (&[0, 101][..], Some(7), false, false)
        );
        assert_eq!(audio.clock_rates, [(0, 8_000)], "by RFC 3551; of 101 nothing is known");
        assert_eq!(video.rtcp, Some("192.0.2.10:5000".parse().unwrap()));
        assert!(video.rtcp_mux && video.silent && !video.rejected);
        assert!(refused.rejected);
    }

    #[test]
    fn the_ssrc_of_a_y_line_counts_from_the_side_that_sends() {
        let text = "v=0\nc=IN IP4 192.0.2.9\nm=video 4000 RTP/AVP 96\na=recvonly\ny=0200000001\n";
        assert_eq!(describe(&sdp(text)).unwrap().media[0].ssrc, None);
        let answer = text.replace("recvonly", "sendonly");
        assert_eq!(describe(&sdp(&answer)).unwrap().media[0].ssrc, Some(200_000_001));
        let several = answer.replace("y=", "a=ssrc:1 a:b\na=ssrc:2 a:b\ny=");
        assert_eq!(describe(&sdp(&several)).unwrap().media[0].ssrc, None);
    }

    #[test]
    fn a_side_on_hold_tells_no_address() {
        let description = describe(&sdp("v=0\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n")).unwrap();
        assert_eq!((description.media[0].remote, description.media[0].rtcp), (None, None));
        assert!(description.media[0].silent && !description.media[0].rejected);
        assert_eq!(
            readdressed("v=0\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n", &[40000]),
            "v=0\nc=IN IP4 0.0.0.0\nm=audio 40000 RTP/AVP 0\n"
        );
    }

    #[test]
    fn what_cannot_be_relayed_is_refused_alone() {
        let text = "v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0\nm=application 4004 UDP/BFCP *\nm=video 4006/2 RTP/AVP 96\n\
                    m=video 4010 TCP/RTP/AVP 96\nm=audio 4012 UDP/TLS/RTP/SAVPF 111\n";
        let rejected: Vec<bool> =
            describe(&sdp(text)).unwrap().media.iter().map(|line| line.rejected).collect();
        assert_eq!(rejected, [false, true, true, true, true]);
        assert_eq!(
            readdressed(text, &[40000, 0, 0, 0, 0]),
            "v=0\nc=IN IP4 198.51.100.1\nm=audio 40000 RTP/AVP 0\nm=application 0 UDP/BFCP *\nm=video 0 RTP/AVP 96\n\
             m=video 0 TCP/RTP/AVP 96\nm=audio 0 UDP/TLS/RTP/SAVPF 111\n"
        );
    }

    #[test]
    fn a_description_of_nothing_that_can_be_relayed_is_an_error() {
        let error = describe(&sdp("v=0\nc=IN IP4 192.0.2.9\nm=video 4000 TCP/RTP/AVP 96\n")).unwrap_err();
        assert_eq!(error.warn_code(), 302);
        assert_eq!(
            error.to_string(),
            "SDP line 3 is `m=video 4000 TCP/RTP/AVP 96`; RTP over UDP on one port pair is relayed, nothing else"
        );
        assert!(describe(&sdp("v=0\nm=audio 0 RTP/AVP 0\n")).is_ok(), "the sides refuse it themselves");
        assert!(describe(&sdp("v=0\ns=-\n")).is_ok(), "no media at all");
    }

    #[test]
    fn an_active_medium_needs_an_address() {
        let error = describe(&sdp("v=0\nm=audio 4000 RTP/AVP 0\n")).unwrap_err();
        assert_eq!(error, SdpError::NoConnection { line: 2 });
        let named = describe(&sdp("v=0\nc=IN IP4 phone.example\nm=audio 4000 RTP/AVP 0\n")).unwrap_err();
        assert_eq!(named.warn_code(), 301);
    }

    #[test]
    fn a_gb28181_invite_changes_in_two_lines_only() {
        let text = "v=0\no=34020000002000000001 0 0 IN IP4 203.0.113.5\ns=Play\nu=1:0\nc=IN IP4 203.0.113.5\nt=0 0\n\
                    m=video 30000 RTP/AVP 96\na=recvonly\na=rtpmap:96 PS/90000\ny=0200000001\nf=v/////a///\n";
        let expected =
            text.replace("\nc=IN IP4 203.0.113.5", "\nc=IN IP4 198.51.100.1").replace("30000", "40000");
        assert_eq!(readdressed(text, &[40000]), expected);
    }

    #[test]
    fn the_addresses_must_be_as_many_as_the_media() {
        let error = readdress(&mut sdp("v=0\nm=audio 1 RTP/AVP 0\n"), &[]).unwrap_err();
        assert_eq!(error, SdpError::MediaCount { found: 1, expected: 0 });
    }

    proptest! {
        /// Whatever can be described can be readdressed, and then says our addresses and nothing else has changed.
        #[test]
        fn what_is_described_can_be_readdressed(
            lines in proptest::collection::vec(0usize..14, 0..24),
            port in 1u16..65535,
        ) {
            let vocabulary = [
                "c=IN IP4 192.0.2.9", "c=IN IP6 2001:db8::9", "c=IN IP4 0.0.0.0", "c=IN IP4 phone.example",
                &format!("m=audio {port} RTP/AVP 0 8"), "m=video 0 RTP/AVP 96", "m=video 4000/2 RTP/AVP 96",
                "m=video 4000 TCP/RTP/AVP 96", "a=rtcp:4005", "a=rtcp:4005 IN IP4 192.0.2.8", "a=rtcp-mux",
                "a=inactive", "y=0200000001", "a=candidate:1 1 UDP 1 192.0.2.9 4000 typ host",
            ];
            let body: String = lines.iter().map(|line| format!("{}\n", vocabulary[*line])).collect();
            let before = sdp(&format!("v=0\n{body}"));
            let Ok(described) = describe(&before) else { return Ok(()) };
            let local: Vec<LocalMedia> = described.media.iter().map(|line| local(if line.rejected { 0 } else { 40000 })).collect();
            let mut after = before.clone();
            readdress(&mut after, &local).unwrap();
            let again = describe(&after).unwrap();
            for (before, after) in described.media.iter().zip(&again.media) {
                prop_assert_eq!(after.remote, before.remote.map(|_| local_rtp()));
                let same = |line: &crate::session::MediaLine| (line.rejected, line.rtcp_mux, line.silent, line.payload_types.clone());
                prop_assert_eq!(same(before), same(after));
            }
            let written = after.to_bytes();
            prop_assert!(!written.windows(12).any(|window| window == b"a=candidate:"));
        }
    }

    fn local_rtp() -> std::net::SocketAddr {
        local(40000).rtp
    }
}
