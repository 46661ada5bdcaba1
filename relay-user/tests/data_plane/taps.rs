//! Taps: every packet of a tapped leg is copied, as it arrived and as it left, and of no other leg.

use std::time::{Duration, SystemTime};

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use relay_user::SourcePolicy;
use relay_user::tap::{Direction, MOST_TAPS, Tap, TapError, TapFrame};
use testbed::Topology;

use crate::support::*;

/// The frame that comes next, if one comes soon.
fn next(bench: &Bench, tap: &mut Tap) -> Option<TapFrame> {
    let wait = async { tokio::time::timeout(Duration::from_secs(2), tap.next()).await };
    bench.runtime.block_on(wait).ok().flatten()
}

fn is_silent(bench: &Bench, tap: &mut Tap) -> bool {
    bench.runtime.block_on(async { tokio::time::timeout(SILENCE, tap.next()).await }).is_err()
}

/// Source and destination port, and the payload.
fn udp(frame: &TapFrame) -> (u16, u16, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(&frame.bytes).unwrap();
    assert!(matches!(packet.net, Some(NetHeaders::Ipv4(..))));
    let header = packet.transport.and_then(TransportHeader::udp).unwrap();
    (header.source_port, header.destination_port, packet.payload.slice().to_vec())
}

#[test]
fn a_tap_sees_both_directions_of_its_leg() {
    let bench = Bench::start();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, viewer_leg] =
        bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(viewer_leg).unwrap();
    assert_eq!(tap.leg(), viewer_leg);

    let before = SystemTime::now();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(1, 7));
    let left = next(&bench, &mut tap).unwrap();
    assert_eq!(left.direction, Direction::Out);
    assert_eq!(udp(&left), (VIEWER_LEG, VIEWER_PORT, rtp(1, 7)), "as the viewer gets it");
    assert_eq!((&*left.interface, left.length), (Topology::VIEWER.device, 42 + 172));
    assert_eq!(left.bytes.len(), 42 + 172);
    let ago = left.time.duration_since(before - Duration::from_millis(5)).unwrap();
    assert!(ago < Duration::from_secs(2), "{ago:?}");

    viewer.send_to(&rtp(2, 8), to_relay_from_viewer()).unwrap();
    receive(&camera);
    let arrived = next(&bench, &mut tap).unwrap();
    assert_eq!(arrived.direction, Direction::In);
    assert_eq!(udp(&arrived), (VIEWER_PORT, VIEWER_LEG, rtp(2, 8)), "as the viewer sent it");
    assert_eq!(&*arrived.interface, Topology::VIEWER.device);
    assert!(is_silent(&bench, &mut tap), "what passes the other leg is not the tap's");

    let mut other = bench.relay.tap(camera_leg).unwrap();
    camera.send_to(&rtp(3, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    let arrived = next(&bench, &mut other).unwrap();
    assert_eq!(udp(&arrived), (CAMERA_PORT, CAMERA_LEG, rtp(3, 7)), "as the camera sent it");
    assert_eq!(&*arrived.interface, Topology::CAMERA.device);
    assert_eq!(udp(&next(&bench, &mut tap).unwrap()), (VIEWER_LEG, VIEWER_PORT, rtp(3, 7)));
    assert_eq!((tap.lost(), other.lost()), (0, 0));
}

#[test]
fn two_taps_of_a_leg_see_the_same_and_the_last_one_ends_the_copies() {
    let bench = Bench::start();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut first = bench.relay.tap(camera_leg).unwrap();
    let mut second = bench.relay.tap(camera_leg).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    assert_eq!(next(&bench, &mut first).unwrap(), next(&bench, &mut second).unwrap());

    drop(first);
    camera.send_to(&rtp(2, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    assert_eq!(udp(&next(&bench, &mut second).unwrap()).2, rtp(2, 7));

    drop(second);
    let mut third = bench.relay.tap(camera_leg).unwrap();
    assert!(is_silent(&bench, &mut third), "nothing is left over for the next one");
}

#[test]
fn a_moved_remote_side_stays_tapped() {
    let bench = Bench::start();
    let camera = bench.camera_socket(CAMERA_PORT);
    let (_, elsewhere) = (bench.viewer_socket(VIEWER_PORT), bench.viewer_socket(VIEWER_PORT + 2));
    let [_, viewer_leg] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(viewer_leg).unwrap();
    let remote = elsewhere.local_addr().unwrap();
    bench.runtime.block_on(bench.relay.set_remote(viewer_leg, Some(remote))).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&elsewhere);
    assert_eq!(udp(&next(&bench, &mut tap).unwrap()), (VIEWER_LEG, VIEWER_PORT + 2, rtp(1, 7)));
}

#[test]
fn a_tap_ends_with_its_leg() {
    let bench = Bench::start();
    let [camera_leg, viewer_leg] =
        bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(camera_leg).unwrap();
    bench.relay.remove(&[camera_leg, viewer_leg]);
    let ended =
        bench.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(3), tap.next()).await });
    assert_eq!(ended, Ok(None));
    assert_eq!(bench.relay.tap(camera_leg).unwrap_err(), TapError::NoLeg(camera_leg));
}

#[test]
fn taps_are_limited() {
    let bench = Bench::start();
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let open: Vec<Tap> = (0..MOST_TAPS).map(|_| bench.relay.tap(camera_leg).unwrap()).collect();
    assert_eq!(bench.relay.tap(camera_leg).unwrap_err(), TapError::TooMany);
    drop(open);
    assert!(bench.relay.tap(camera_leg).is_ok());
}

#[test]
fn what_the_ring_could_not_take_is_counted_and_still_forwarded() {
    const SENT: u64 = 3_000;
    // Nobody reads the ring meanwhile.
    let bench = Bench::unattended();
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    let [camera_leg, _] = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut tap = bench.relay.tap(camera_leg).unwrap();
    let mut packet = rtp(1, 7);
    packet.resize(1_400, 0);
    for _ in 0..SENT {
        camera.send_to(&packet, to_relay_from_camera()).unwrap();
        receive(&viewer);
    }
    let lost = tap.lost();
    // A record takes 2,088 bytes of 4 MiB.
    assert_eq!(lost, SENT - (4 << 20) / 2_088);
    let mut copied = 0;
    while let Some(frame) = next(&bench, &mut tap) {
        assert_eq!((frame.length, frame.bytes.len()), (1_442, 1_442));
        copied += 1;
        if copied + tap.lost() == SENT {
            break;
        }
    }
    assert_eq!(copied + tap.lost(), SENT);
}
