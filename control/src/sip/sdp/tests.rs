//! Descriptions of cameras and phones: what is kept, what is read, what is refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Direction, Sdp, SdpError};

/// A GB/T 28181 INVITE (2016 style), with a name in GB2312 and no final line end.
const GB28181: &[u8] =
    b"v=0\r\no=34020000002000000001 0 0 IN IP4 203.0.113.5\r\ns=Play\r\nu=34020000001320000001:0\r\n\
i=\xca\xb5\xca\xb1\xff\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\nm=video 30000 RTP/AVP 96 98 97\r\na=recvonly\r\n\
a=rtpmap:96 PS/90000\r\na=rtpmap:98 H264/90000\r\na=streamnumber:0\r\ny=0200000001\r\nf=v/2/5/25/1/4000a///";

const PHONE: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\na=sendonly\r\n\
m=audio 49170 RTP/AVP 0 8 101\r\na=rtcp:53020 IN IP4 192.0.2.8\r\na=rtcp-mux\r\na=ssrc:1234 cname:x\r\n\
a=ssrc:1234 msid:y\r\na=candidate:1 1 UDP 2130706431 192.0.2.9 49170 typ host\r\na=ice-ufrag:abcd\r\n\
m=video 49174/2 RTP/SAVP 31\r\nc=IN IP6 2001:db8::9\r\na=inactive\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";

fn parse(bytes: &[u8]) -> Result<Sdp, SdpError> {
    Sdp::parse(&Bytes::copy_from_slice(bytes))
}

#[test]
fn every_line_is_kept_whatever_it_holds() {
    let odd = b"v=0\n\ns=x \r\nm=audio  1  RTP/AVP\n z";
    assert!(parse(odd).is_err());
    for bytes in [GB28181, PHONE.as_bytes(), b"v=0\n\ns=x \r\ny=1\nm=audio  1  RTP/AVP  0 \n\0"] {
        assert_eq!(parse(bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn the_lines_of_a_phone_are_read() {
    let sdp = parse(PHONE.as_bytes()).unwrap();
    assert_eq!(sdp.connection().unwrap().unwrap().address.to_string(), "192.0.2.9");
    assert_eq!(sdp.direction(), Direction::SendOnly);
    let [audio, video] = sdp.media() else { panic!("two media") };
    assert_eq!(
        (audio.field().kind.as_str(), audio.field().port, audio.field().port_pairs),
        ("audio", 49170, 1)
    );
    assert_eq!(audio.field().payload_types().collect::<Vec<_>>(), [0, 8, 101]);
    let rtcp = audio.rtcp().unwrap().unwrap();
    assert_eq!((rtcp.port, rtcp.address.unwrap().to_string()), (53020, "192.0.2.8".to_owned()));
    assert!(audio.rtcp_mux());
    assert_eq!(audio.announced_sources(), [1234]);
    assert_eq!(audio.direction(sdp.direction()), Direction::SendOnly);
    assert_eq!((video.field().port_pairs, video.field().is_plain_rtp()), (2, true));
    assert_eq!(video.connection().unwrap().unwrap().address.to_string(), "2001:db8::9");
    assert_eq!(video.direction(sdp.direction()), Direction::Inactive);
    assert_eq!(video.rtcp(), Ok(None));
}

#[test]
fn the_lines_of_a_camera_are_read() {
    let sdp = parse(GB28181).unwrap();
    let [video] = sdp.media() else { panic!("one medium") };
    assert_eq!(video.gb28181_source(), Some(0x0BEB_C201));
    assert_eq!(video.encoding(96).as_deref(), Some("PS/90000"));
    assert_eq!(video.encoding(97), None);
    assert_eq!(video.direction(sdp.direction()), Direction::RecvOnly);
}

#[test]
fn the_errors_name_the_line_and_become_warnings() {
    for (text, expected) in [
        ("", "the body is no session description: it does not start with v=0"),
        ("hello", "the body is no session description: it does not start with v=0"),
        (
            "v=0\ns=a\rm=audio 1 RTP/AVP 0\n",
            "SDP line 2 is `s=a\\rm=audio 1 RTP/AVP 0`, expected no carriage return inside",
        ),
        (
            "v=0\nm= audio 1 RTP/AVP 0\n",
            "SDP line 2 is `m= audio 1 RTP/AVP 0`, expected `m=kind port protocol formats`",
        ),
        ("v=0\r\nnonsense\r\n", "SDP line 2 is `nonsense`, expected one letter, `=` and a value"),
        (
            "v=0\nm=audio x RTP/AVP 0\n",
            "SDP line 2 is `m=audio x RTP/AVP 0`, expected `m=kind port protocol formats`",
        ),
        (
            "v=0\nm=audio 70000 RTP/AVP 0\n",
            "SDP line 2 is `m=audio 70000 RTP/AVP 0`, expected `m=kind port protocol formats`",
        ),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }
    let connection =
        |line: &str| parse(format!("v=0\n{line}\n").as_bytes()).unwrap().connection().unwrap_err();
    assert_eq!(
        connection("c=IN IP4").to_string(),
        "SDP line 2 is `c=IN IP4`, expected `IN IP4` or `IN IP6` and an address"
    );
    assert_eq!(connection("c=IN IP4 2001:db8::1").warn_code(), 399);
    for unusable in ["c=IN IP4 phone.example", "c=IN IP4 224.2.1.1/127"] {
        assert_eq!(connection(unusable).warn_code(), 301);
    }
    assert_eq!(
        connection("c=IN IP4 a\"b").warning("culvert"),
        "301 culvert \"SDP line 2 is `c=IN IP4 a\\\\\\\"b`, and media is relayed to unicast IP addresses only\""
    );
}

#[test]
fn lines_and_media_are_limited() {
    let lines = format!("v=0\n{}", "a=x\n".repeat(1000));
    assert!(matches!(parse(lines.as_bytes()), Err(SdpError::TooMany { limit: 1000, .. })));
    let media = format!("v=0\n{}", "m=audio 1 RTP/AVP 0\n".repeat(17));
    assert!(matches!(parse(media.as_bytes()), Err(SdpError::TooMany { limit: 16, .. })));
}

#[test]
fn only_addresses_and_ports_are_rewritten() {
    let mut sdp = parse(PHONE.as_bytes()).unwrap();
    sdp.set_address("198.51.100.1".parse().unwrap());
    for (media, port) in sdp.media_mut().iter_mut().zip([40000, 40004]) {
        let address = |port| std::net::SocketAddr::new("198.51.100.1".parse().unwrap(), port);
        media.set_address(address(port), address(port + 1));
    }
    let expected = PHONE
        .replace("c=IN IP4 192.0.2.9", "c=IN IP4 198.51.100.1")
        .replace("audio 49170", "audio 40000")
        .replace("rtcp:53020 IN IP4 192.0.2.8", "rtcp:40001 IN IP4 198.51.100.1")
        .replace("video 49174/2", "video 40004")
        .replace("c=IN IP6 2001:db8::9", "c=IN IP4 198.51.100.1");
    assert_eq!(sdp.to_bytes(), expected);
    sdp.remove_ice();
    let without = expected.lines().filter(|line| !line.contains("candidate") && !line.contains("ice-"));
    assert_eq!(sdp.to_bytes(), without.map(|line| format!("{line}\r\n")).collect::<String>());
}

#[test]
fn an_odd_m_line_keeps_its_spaces() {
    let mut sdp = parse(b"v=0\nm=audio  1/1\tRTP/AVP  0 \n").unwrap();
    sdp.media_mut()[0].reject();
    assert_eq!(sdp.to_bytes(), "v=0\nm=audio  0\tRTP/AVP  0 \n");
}

#[test]
fn a_c_line_is_inserted_after_the_title() {
    let mut sdp = parse(b"v=0\nm=audio 1 RTP/AVP 0\ni=t").unwrap();
    sdp.media_mut()[0].insert_connection("2001:db8::1".parse().unwrap());
    assert_eq!(sdp.to_bytes(), "v=0\nm=audio 1 RTP/AVP 0\ni=t\nc=IN IP6 2001:db8::1\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_and_mutated_bodies_never_panic_and_are_kept(
        changes in proptest::collection::vec((any::<u16>(), any::<bool>(), any::<u8>()), 0..10),
        phone in any::<bool>(),
    ) {
        const TELLING: &[u8] = b"\r\n\0 :=/mcav09\xff";
        let mut bytes = if phone { PHONE.as_bytes() } else { GB28181 }.to_vec();
        for (at, insert, value) in changes {
            let at = usize::from(at) % bytes.len();
            let value = TELLING[usize::from(value) % TELLING.len()];
            if insert { bytes.insert(at, value) } else { bytes[at] = value }
        }
        if let Ok(mut sdp) = parse(&bytes) {
            prop_assert_eq!(sdp.to_bytes(), bytes);
            let _ = (sdp.connection(), sdp.direction());
            let address = "192.0.2.1:40000".parse().unwrap();
            for media in sdp.media_mut() {
                let _ = (media.connection(), media.rtcp(), media.announced_sources(), media.gb28181_source());
                media.set_address(address, address);
            }
            let written = sdp.to_bytes();
            let again = Sdp::parse(&written).map(|sdp| sdp.to_bytes());
            prop_assert_eq!(again, Ok(written));
        }
    }
}
