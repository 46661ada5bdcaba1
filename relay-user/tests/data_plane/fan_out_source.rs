//! What a leg asks for holds when it has receivers, whoever makes the copies: its source, its limit, what is measured, taps
//! and RTCP; and every copy is accounted for.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use relay_common::rtcp::Writer;
use relay_user::tap::Direction;
use relay_user::{MediaKind, RateLimit, RtcpMode, SourcePolicy};

use crate::engines::*;
use crate::support::*;

with_every_engine! {
    the_source_is_learned_and_no_stranger_is_copied,
    what_is_lost_before_us_is_measured,
    a_camera_beyond_its_limit_is_cut_for_all_receivers,
    a_tap_sees_what_arrives_for_receivers,
    rtcp_of_the_source_is_copied_unless_it_ends_here,
}

with_engine! { xdp_flood Xdp: every_copy_of_a_flood_is_sent_or_counted_as_lost }
with_engine! { af_xdp_flood AfXdp: every_copy_of_a_flood_is_sent_or_counted_as_lost }
with_engine! { af_xdp_generic_flood AfXdpGeneric: every_copy_of_a_flood_is_sent_or_counted_as_lost }

fn the_source_is_learned_and_no_stranger_is_copied(engine: Engine) {
    let group = Group::with(engine.options(64), camera_leg(SourcePolicy::LearnPort));
    let sockets = group.sockets(2);
    group.join(&[receiver(0), receiver(1)]);
    let stranger = group.bench.camera_socket(CAMERA_PORT + 2);
    for sequence in 0..20 {
        group.send(sequence);
        stranger.send_to(&rtp(sequence, 8), to_relay_from_camera()).unwrap();
        sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(sequence, 7)));
    }
    let counted = group.bench.statistics_when(group.source, |counted| counted.received == 40);
    assert_eq!((counted.forwarded, counted.dropped), (20, vec![("source_mismatch", 20)]));
    assert_eq!(counted.source, group.camera.local_addr().ok());
}

fn what_is_lost_before_us_is_measured(engine: Engine) {
    let camera = camera_leg(SourcePolicy::Pinned).quality(true).clock_rate(90_000);
    let group = Group::with(engine.options(64), camera);
    let sockets = group.sockets(3);
    group.join(&(0..3).map(receiver).collect::<Vec<_>>());
    // Two are lost, one comes late, one twice.
    for sequence in [65_533, 65_534, 0, 65_535, 1, 1, 4, 5] {
        group.send(sequence);
        sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(sequence, 7)));
    }
    let quality = group.bench.statistics_when(group.source, |counted| counted.received == 8).quality.unwrap();
    assert_eq!(
        (quality.packets, quality.expected, quality.lost, quality.reordered, quality.duplicates),
        (8, 9, 2, 1, 1),
        "each packet once, however many copies there are"
    );
}

fn a_camera_beyond_its_limit_is_cut_for_all_receivers(engine: Engine) {
    let camera = camera_leg(SourcePolicy::Pinned).limit(RateLimit::packets(50));
    let group = Group::with(engine.options(64), camera);
    let legs = group.join(&[receiver(0), receiver(1)]);
    let start = Instant::now();
    (0..200).for_each(|sequence| group.send(sequence));
    let counted = group.bench.statistics_when(group.source, |counted| counted.received == 200);
    let most = 52 + 50 * start.elapsed().as_millis() / 1000;
    assert!((50..=most).contains(&u128::from(counted.forwarded)), "{counted:?} {most}");
    assert_eq!(counted.dropped, [("rate_exceeded", 200 - counted.forwarded)]);
    for leg in legs {
        group.bench.statistics_when(leg, |copies| copies.sent == counted.forwarded);
    }
}

fn a_tap_sees_what_arrives_for_receivers(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(2);
    group.join(&[receiver(0), receiver(1)]);
    let mut tap = group.bench.relay.tap(group.source).unwrap();
    for sequence in 0..3 {
        group.send(sequence);
        sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(sequence, 7)));
        let next = async { tokio::time::timeout(PATIENCE, tap.next()).await };
        let frame = group.bench.runtime.block_on(next).ok().flatten().expect("a copy for the tap");
        assert_eq!(frame.direction, Direction::In);
        assert!(frame.bytes.ends_with(&rtp(sequence, 7)), "once, as it arrived");
    }
    assert_eq!(tap.lost(), 0);
}

fn rtcp_of_the_source_is_copied_unless_it_ends_here(engine: Engine) {
    for mode in [RtcpMode::Relay, RtcpMode::Terminate] {
        let camera = camera_leg(SourcePolicy::Pinned).media(MediaKind::Muxed).rtcp(mode);
        let group = Group::with(engine.options(64), camera);
        let sockets = group.sockets(2);
        group.join(&[receiver(0), receiver(1)]);
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(7, &[]).unwrap();
        writer.description(7, b"camera").unwrap();
        let report = writer.finish();
        group.camera.send_to(report, to_relay_from_camera()).unwrap();
        group.send(1);
        for socket in &sockets {
            if mode == RtcpMode::Relay {
                assert_eq!(receive(socket).0, report);
            }
            assert_eq!(receive(socket).0, rtp(1, 7));
        }
        let counted = group.bench.statistics_when(group.source, |counted| counted.received == 2);
        let ended: &[_] = if mode == RtcpMode::Terminate { &[("rtcp_ended", 1)] } else { &[] };
        assert_eq!(counted.dropped, ended);
    }
}

/// More than a processor can copy, and than waits for it: nothing is lost without a reason.
fn every_copy_of_a_flood_is_sent_or_counted_as_lost(engine: Engine) {
    const RECEIVERS: u16 = 40;
    const PACKETS: u64 = 60_000;
    let group = Group::start(engine, 64);
    let legs = group.join(&(0..RECEIVERS).map(receiver).collect::<Vec<_>>());
    let sockets = group.sockets(RECEIVERS);
    let sent = flood(&group, PACKETS);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entered = group.bench.relay.group(group.source).unwrap().entered;
        let source = group.bench.relay.statistics(group.source).unwrap();
        let counted: Vec<_> = legs.iter().map(|leg| group.bench.relay.statistics(*leg).unwrap()).collect();
        let punts = group.bench.relay.punt_path().unwrap().counters;
        let arrived = source.received + punts.no_frame + punts.ring_full;
        // What a device refuses was handed to it: it is part of what was sent.
        let lost = |leg: &relay_user::LegStatistics| -> u64 {
            leg.lost.iter().filter(|(reason, _)| *reason != "refused").map(|(_, count)| count).sum()
        };
        let wrong = counted.iter().find(|leg| leg.sent + lost(leg) != entered);
        if wrong.is_none() && entered == source.forwarded && arrived == sent && entered > 0 {
            if engine == Engine::Xdp {
                assert_eq!(source.dropped, [("copies_full", sent - entered)]);
                break;
            }
            let copies: u64 = counted.iter().map(|leg| leg.sent).sum();
            let refused: u64 = counted.iter().flat_map(|leg| &leg.lost).map(|(_, count)| count).sum();
            assert_eq!(copies - refused, punts.copied - punts.device_refused, "{punts:?}");
            assert_eq!(punts.misplaced, 0);
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{sent} sent, {arrived} arrived, {entered} copied: {wrong:?} {source:?} {punts:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(sockets);
}

/// Sends so many packets, 64 at a time; returns how many reached the relay's device.
fn flood(group: &Group, packets: u64) -> u64 {
    let size = i32::try_from(rtp(0, 7).len()).unwrap();
    let file = group.camera.as_raw_fd();
    // SAFETY: the kernel reads an integer that outlives the call.
    let result =
        unsafe { libc::setsockopt(file, libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const size).cast(), 4) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let before = lost_by_wire(&group.bench.topology.camera);
    let mut sent = 0;
    while sent < packets {
        let together: Vec<u8> = (0..50).flat_map(|sequence| rtp(sequence, 7)).collect();
        group.camera.send_to(&together, to_relay_from_camera()).unwrap();
        sent += 50;
    }
    sent - (lost_by_wire(&group.bench.topology.camera) - before)
}
