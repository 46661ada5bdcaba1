//! Calls in relay mode: the real binary, the real XDP program, terminals in network namespaces.
//!
//! Takes root, iproute2, ethtool and sip-tester.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use control::sip::message::HeaderName;
use support::call::{Call, Family, media_address, media_socket, receive, rtp};
use support::terminal::{Terminal, audio};
use testbed::Topology;

#[test]
fn media_flows_from_the_moment_at_which_the_200_arrives() {
    let call = Call::prepare("");
    let (invite, answer) = call.answer();
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    assert_eq!(
        told_camera.ip(),
        IpAddr::V4(Topology::CAMERA.relay),
        "the camera is told our address on its network"
    );
    assert_eq!(
        told_viewer.ip(),
        IpAddr::V4(Topology::VIEWER.relay),
        "the viewer is told our address on its network"
    );
    assert_eq!((told_camera.port() % 2, told_viewer.port() % 2), (0, 0), "RTP has even ports");
    // The very first packets, before any ACK.
    call.viewer_rtp.send_to(&rtp(1), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(1), told_camera));
    call.camera_rtp.send_to(&rtp(2), told_camera).unwrap();
    assert_eq!(receive(&call.viewer_rtp), (rtp(2), told_viewer));
    call.acknowledge(&answer);

    let status = call.gateway.wait_for("the counters", |status| {
        status
            .calls
            .iter()
            .flat_map(|call| &call.legs)
            .filter(|leg| leg.received == 1 && leg.sent == 1)
            .count()
            == 2
    });
    let legs: Vec<_> = status.calls[0].legs.iter().filter(|leg| leg.kind == "rtp").collect();
    assert!(legs.iter().all(|leg| leg.path == "xdp" && leg.dropped.is_empty()), "{legs:#?}");
    assert!(status.relay.unwrap().interfaces.iter().all(|interface| interface.mode == "native"));

    call.viewer.request_in_dialog("BYE", &answer, 2, "");
    assert_eq!(call.viewer.receive_status(), 200);
    let bye = call.camera.receive_request("BYE");
    call.camera.respond(&bye, 200, "camera1", "");
    call.gateway.wait_for_end("the caller hung up");
    call.gateway.wait_for("the end, with ports given back", |status| {
        status.calls.is_empty() && status.relay.as_ref().is_some_and(|relay| relay.port_pairs.in_use == 0)
    });
    assert!(call.gateway.log().contains("received 1 sent 1 dropped 0"), "{}", call.gateway.log());
    call.viewer_rtp.send_to(&rtp(3), told_viewer).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    call.camera_rtp.set_nonblocking(true).unwrap();
    assert!(call.camera_rtp.recv(&mut [0; 100]).is_err(), "no rule is left after the call");
}

#[test]
fn malformed_session_description_is_refused_with_488_that_says_what() {
    let call = Call::prepare("");
    call.viewer.invite(
        "camera",
        "call",
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio x RTP/AVP 0\r\n",
    );
    let refusal = call.viewer.receive_response();
    assert_eq!(refusal.status_code(), Some(488));
    let warning = refusal.headers.get(HeaderName::Warning).unwrap().text().unwrap();
    assert!(warning.contains("m=audio x RTP/AVP 0"), "{warning}");
    call.camera.expect_silence();
    call.gateway.wait_for("ports given back", |status| {
        status.relay.as_ref().is_some_and(|relay| relay.port_pairs.in_use == 0)
    });
}

#[test]
fn call_without_an_offer_is_relayed_too() {
    let call = Call::prepare("");
    call.viewer.invite("camera", "call", "");
    let invite = call.camera.receive_request("INVITE");
    assert!(invite.body.is_empty());
    call.camera.respond(&invite, 200, "camera1", &audio(call.camera_rtp.local_addr().unwrap()));
    let answer = call.viewer.receive_response();
    let told_viewer = media_address(&answer);
    call.viewer.request_in_dialog("ACK", &answer, 1, &audio(call.viewer_rtp.local_addr().unwrap()));
    let told_camera = media_address(&call.camera.receive_request("ACK"));
    call.viewer_rtp.send_to(&rtp(1), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(1), told_camera));
    call.camera_rtp.send_to(&rtp(2), told_camera).unwrap();
    assert_eq!(receive(&call.viewer_rtp), (rtp(2), told_viewer));
}

#[test]
fn no_port_left_is_answered_503() {
    let call = Call::prepare("ports = \"30000-30001\"\nquarantine_seconds = 60");
    let (_, answer) = call.answer();
    call.acknowledge(&answer);
    let other = Terminal::new(
        Some(&call.topology.viewer),
        "viewer",
        SocketAddr::new(Topology::VIEWER.terminal.into(), 5071),
        SocketAddr::new(Topology::VIEWER.relay.into(), 5060),
    );
    other.invite("camera", "second", &audio(call.viewer_rtp.local_addr().unwrap()));
    let refusal = other.receive_response();
    assert_eq!(refusal.status_code(), Some(503));
    let warning = refusal.headers.get(HeaderName::Warning).unwrap().text().unwrap();
    assert!(warning.contains("no media port left"), "{warning}");
}

#[test]
fn call_whose_media_falls_silent_is_ended() {
    let call = Call::prepare("media_timeout_seconds = 2");
    let (_, answer) = call.answer();
    call.acknowledge(&answer);
    let bye = call.camera.receive_request("BYE");
    call.camera.respond(&bye, 200, "camera1", "");
    let bye = call.viewer.receive_request("BYE");
    call.viewer.respond(&bye, 200, "", "");
    call.gateway.wait_for_end("no media");
}

/// A call between two families, or within IPv6: both sides see our address of their own family, and media flows both
/// ways.
fn call_between(viewer: Family, camera: Family) {
    let call = Call::between(viewer, camera, "quality = true");
    let (invite, answer) = call.answer();
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    assert_eq!(told_camera.ip(), camera.relay(Topology::CAMERA), "{:?}", invite.body);
    assert_eq!(told_viewer.ip(), viewer.relay(Topology::VIEWER), "{:?}", answer.body);
    for sequence in 0..10 {
        call.viewer_rtp.send_to(&rtp(sequence), told_viewer).unwrap();
        assert_eq!(receive(&call.camera_rtp), (rtp(sequence), told_camera));
        call.camera_rtp.send_to(&rtp(sequence), told_camera).unwrap();
        assert_eq!(receive(&call.viewer_rtp), (rtp(sequence), told_viewer));
    }
    call.acknowledge(&answer);
    let status = call.gateway.wait_for("the counters", |status| {
        status.calls[0].legs.iter().filter(|leg| leg.received == 10 && leg.sent == 10).count() == 2
    });
    let legs: Vec<_> = status.calls[0].legs.iter().filter(|leg| leg.kind == "rtp").collect();
    assert!(legs.iter().all(|leg| leg.paths.get("xdp") == Some(&10)), "{legs:#?}");
    for leg in legs {
        let quality = leg.quality.as_ref().unwrap();
        assert_eq!((quality.expected, quality.lost, quality.ssrc), (10, 0, Some(0x0102_0304)), "{leg:#?}");
        assert!(quality.jitter_ms.is_some(), "the clock rate of PCMU is known");
    }
    call.viewer.request_in_dialog("BYE", &answer, 2, "");
    assert_eq!(call.viewer.receive_status(), 200);
}

#[test]
fn call_over_ipv6() {
    call_between(Family::V6, Family::V6);
}

#[test]
fn call_from_ipv4_to_ipv6() {
    call_between(Family::V4, Family::V6);
}

#[test]
fn call_from_ipv6_to_ipv4() {
    call_between(Family::V6, Family::V4);
}

#[test]
fn media_of_no_call_is_dropped_and_its_sender_named() {
    let call = Call::prepare("");
    let nowhere = SocketAddr::new(Topology::VIEWER.relay.into(), 30_500);
    call.viewer_rtp.send_to(&rtp(1), nowhere).unwrap();
    let status = call.gateway.wait_for("the orphan", |status| {
        status.relay.as_ref().is_some_and(|relay| !relay.orphans.is_empty())
    });
    let relay = status.relay.unwrap();
    let orphan = &relay.orphans[0];
    assert_eq!(
        (&*orphan.local, &*orphan.source),
        (&*nowhere.to_string(), &*call.viewer_rtp.local_addr().unwrap().to_string())
    );
    assert_eq!((orphan.ssrc, orphan.reports, relay.counters.get("orphan")), (Some(0x0102_0304), 1, Some(&1)));
    assert!(call.gateway.log().contains("media comes to a port of no session"), "{}", call.gateway.log());
}

#[test]
fn rtcp_that_ends_at_the_gateway_is_answered_by_it() {
    rtcp_is_answered("");
}

#[test]
fn rtcp_that_ends_at_a_gateway_of_sockets_is_answered_by_it() {
    rtcp_is_answered("\nmode = \"user\"");
}

fn rtcp_is_answered(keys: &str) {
    let call = Call::prepare(&format!("quality = true\nrtcp = \"terminate\"{keys}"));
    let (invite, answer) = call.answer();
    call.acknowledge(&answer);
    let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    let told_camera = media_address(&invite);
    let camera_rtcp = media_socket(&call.topology.camera, Topology::CAMERA.terminal.into(), 4001);
    let viewer_rtcp = media_socket(&call.topology.viewer, Topology::VIEWER.terminal.into(), 4001);
    for sequence in 0..10 {
        call.camera_rtp.send_to(&rtp(sequence), told_camera).unwrap();
        receive(&call.viewer_rtp);
    }
    // An empty receiver report of the camera, which is also its sender.
    camera_rtcp.send_to(&[0x80, 201, 0, 1, 1, 2, 3, 4], above(told_camera)).unwrap();
    let (report, from) = receive(&camera_rtcp);
    assert_eq!(
        (from, report[0] & 0x1f, report[1]),
        (above(told_camera), 1, 201),
        "a receiver report of one source"
    );
    assert_eq!(report[8..12], [1, 2, 3, 4], "about what the camera sends");
    let status = call.gateway.wait_for("the camera's report", |status| {
        status.relay.as_ref().is_some_and(|relay| relay.counters.get("rtcp_received") == Some(&1))
    });
    assert_eq!(status.relay.unwrap().counters.get("rtcp_ended"), Some(&1));
    let (report, _) = receive(&viewer_rtcp);
    assert_eq!(
        &report[1..2],
        [201],
        "the viewer is told that nothing came from it; the camera's RTCP did not pass"
    );
}

#[test]
fn sockets_relay_where_xdp_is_not_wanted() {
    let call = Call::prepare("mode = \"user\"");
    let (invite, answer) = call.answer();
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    for sequence in 0..10 {
        call.viewer_rtp.send_to(&rtp(sequence), told_viewer).unwrap();
        assert_eq!(receive(&call.camera_rtp), (rtp(sequence), told_camera));
        call.camera_rtp.send_to(&rtp(sequence), told_camera).unwrap();
        assert_eq!(receive(&call.viewer_rtp), (rtp(sequence), told_viewer));
    }
    call.acknowledge(&answer);
    let status = call.gateway.wait_for("the counters", |status| {
        let legs = status.calls[0].legs.iter();
        legs.filter(|leg| leg.received == 10 && leg.paths.get("user") == Some(&10)).count() == 2
    });
    let backend = status.relay.unwrap().backend;
    assert!(backend.starts_with("user (the configuration asks"), "{backend}");
}
