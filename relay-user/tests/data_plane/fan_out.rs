//! One camera, many receivers: what each of them gets, and what it is told of it.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use relay_user::{Continuity, InstallError, LegSpec, Path, RetagSpec, Sharing, SourcePolicy, StreamSpec};
use testbed::{Frames, Topology};

use crate::engines::*;
use crate::support::*;

with_every_engine! {
    every_receiver_gets_every_packet_in_order_with_addresses_of_its_own,
    each_receiver_has_its_own_rtp_header,
    who_joins_gets_what_comes_and_who_leaves_gets_no_more,
    a_large_group_is_served_whole,
    receivers_are_on_several_devices_and_of_both_families,
    each_receiver_has_its_own_dscp,
    unicast_and_copies_on_one_device_do_not_disturb_each_other,
    receivers_share_a_port,
    who_comes_and_goes_changes_nothing_for_others,
    what_cannot_be_is_refused_and_nothing_is_left,
    groups_that_come_in_by_different_devices_share_the_devices_that_they_leave_by,
    a_receiver_whose_route_moves_to_another_device_is_followed,
}

fn every_receiver_gets_every_packet_in_order_with_addresses_of_its_own(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(8);
    let legs = group.join(&(0..8).map(receiver).collect::<Vec<_>>());
    for sequence in 0..100 {
        group.send(sequence);
        for (socket, number) in sockets.iter().zip(0..) {
            let (packet, from) = receive(socket);
            assert_eq!(packet, rtp(sequence, 7), "receiver {number}");
            assert_eq!(from, SocketAddrV4::new(Topology::VIEWER.relay, FIRST + number).into());
        }
    }
    sockets.iter().for_each(assert_silent);
    for leg in &legs {
        let counted = group.bench.statistics_when(*leg, |counted| counted.sent == 100);
        assert!(counted.lost.is_empty() && counted.received == 0, "{counted:?}");
    }
    let source = group.bench.statistics_when(group.source, |counted| counted.forwarded == 100);
    assert!(source.dropped.is_empty(), "{source:?}");
    let counted = group.bench.relay.group(group.source).unwrap();
    assert_eq!((counted.receivers, counted.passes, counted.entered), (8, 1, 100));
    let path = engine.path();
    assert_eq!((counted.path, source.path, counted.cpu.is_some()), (path, path, path == Path::Xdp));
    assert!(!counted.reason.is_empty());
}

fn each_receiver_has_its_own_rtp_header(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(3);
    let offset = Continuity::Offset { sequence: 1_000, timestamp: 5 };
    let retags = [
        RetagSpec::default().ssrc(0x0a0b_0c0d),
        RetagSpec::default().payload_type(96, 33).continuity(offset),
        RetagSpec::default(),
    ];
    let receivers = (0..).zip(retags).map(|(number, retag)| receiver(number).retag(retag));
    group.join(&receivers.collect::<Vec<_>>());
    group.send(7);
    let header = |socket| {
        let packet = receive(socket).0;
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        (packet[1], sequence_of(&packet), word(4), word(8))
    };
    assert_eq!(header(&sockets[0]), (96, 7, 7 * 3600, 0x0a0b_0c0d));
    assert_eq!(header(&sockets[1]), (33, 1_007, 7 * 3600 + 5, 7));
    assert_eq!(header(&sockets[2]), (96, 7, 7 * 3600, 7));
}

fn who_joins_gets_what_comes_and_who_leaves_gets_no_more(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(3);
    let first = group.join(&[receiver(0), receiver(1)]);
    group.send(1);
    assert_eq!(receive(&sockets[0]).0, rtp(1, 7));
    assert_eq!(receive(&sockets[1]).0, rtp(1, 7));

    let third = group.join(&[receiver(2)]);
    group.send(2);
    for socket in &sockets {
        assert_eq!(receive(socket).0, rtp(2, 7));
    }

    let last = group.bench.relay.remove(&first[..1]);
    assert_eq!(last[0].sent, 2);
    group.send(3);
    assert_eq!(receive(&sockets[1]).0, rtp(3, 7));
    assert_eq!(receive(&sockets[2]).0, rtp(3, 7));
    assert_silent(&sockets[0]);
    assert_eq!(group.bench.relay.receivers(group.source), [first[1], third[0]]);

    group.bench.relay.remove(&[first[1], third[0]]);
    assert_eq!(group.bench.relay.group(group.source), None);
    group.send(4);
    let source = group.bench.statistics_when(group.source, |counted| counted.received == 4);
    assert_eq!(source.dropped, [("no_stream", 1)]);
}

fn a_large_group_is_served_whole(engine: Engine) {
    let group = Group::start(engine, 512);
    let sockets = group.sockets(100);
    let legs = group.join(&(0..100).map(receiver).collect::<Vec<_>>());
    let passes = if engine == Engine::Xdp { 7 } else { 1 };
    assert_eq!(group.bench.relay.group(group.source).unwrap().passes, passes);
    // One by one: on a machine that is busy with other things, a ring may overflow.
    for sequence in 0..20 {
        group.send(sequence);
        for (socket, number) in sockets.iter().zip(0..) {
            let (packet, from) = receive(socket);
            let counted = group.bench.relay.statistics(legs[usize::from(number)]).unwrap();
            assert_eq!(sequence_of(&packet), sequence, "receiver {number}: {counted:?}");
            assert_eq!(from.port(), FIRST + number);
        }
    }
    for leg in legs {
        assert_eq!(group.bench.statistics_when(leg, |counted| counted.sent == 20).lost, []);
    }
}

fn receivers_are_on_several_devices_and_of_both_families(engine: Engine) {
    let group = Group::start(engine, 64);
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let leg = |local: std::net::IpAddr, remote: std::net::IpAddr| {
        LegSpec::new((local, FIRST).into()).remote((remote, FIRST).into())
    };
    let receivers = [
        leg(viewer.relay.into(), viewer.terminal.into()),
        leg(viewer.relay6.into(), viewer.terminal6.into()),
        // The sender's own device.
        leg(camera.relay.into(), camera.terminal.into()),
        leg(camera.relay6.into(), camera.terminal6.into()),
    ];
    let sockets: Vec<UdpSocket> = receivers
        .iter()
        .zip([
            &group.bench.topology.viewer,
            &group.bench.topology.viewer,
            &group.bench.topology.camera,
            &group.bench.topology.camera,
        ])
        .map(|(receiver, namespace)| socket(namespace, receiver.remote.unwrap()))
        .collect();
    group.join(&receivers);
    for sequence in 0..20 {
        group.send(sequence);
        for (socket, receiver) in sockets.iter().zip(&receivers) {
            assert_eq!(receive(socket), (rtp(sequence, 7), receiver.local));
        }
    }
    sockets.iter().for_each(assert_silent);
    let passes = if engine == Engine::Xdp { 2 } else { 1 };
    assert_eq!(group.bench.relay.group(group.source).unwrap().passes, passes, "in XDP one for each device");
}

fn each_receiver_has_its_own_dscp(engine: Engine) {
    let group = Group::start(engine, 64);
    let frames = Frames::on(&group.bench.topology.viewer, Topology::TERMINAL_DEVICE).unwrap();
    group.join(&[
        receiver(0),
        receiver(1).retag(RetagSpec::default().dscp(46)),
        receiver(2).retag(RetagSpec::default().dscp(10)),
        receiver(3),
    ]);
    group.send(1);
    let expected = [(FIRST, 0, 0), (FIRST + 1, 0, 46), (FIRST + 2, 0, 10), (FIRST + 3, 0, 0)];
    assert_eq!(headers_of(&frames, 4), expected);
}

fn receivers_share_a_port(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(4);
    let port = std::net::SocketAddr::from((Topology::VIEWER.relay, FIRST));
    let plan = relay_user::Plan { legs: vec![LegSpec::shared_port(port)], streams: Vec::new() };
    group.bench.runtime.block_on(group.bench.relay.install(&plan)).unwrap();
    let on_it = |number| LegSpec { local: port, ..receiver(number) }.shared(Sharing::BySource);
    let legs = group.join(&[on_it(0), on_it(1).retag(RetagSpec::default().ssrc(9)), on_it(2), on_it(3)]);
    for sequence in 0..20 {
        group.send(sequence);
        for (socket, ssrc) in sockets.iter().zip([7, 9, 7, 7]) {
            assert_eq!(receive(socket), (rtp(sequence, ssrc), port));
        }
    }
    for leg in legs {
        assert_eq!(group.bench.statistics_when(leg, |counted| counted.sent == 20).lost, []);
    }
}

fn unicast_and_copies_on_one_device_do_not_disturb_each_other(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(5);
    group.join(&(0..5).map(receiver).collect::<Vec<_>>());
    let side = Topology::CAMERA;
    let other =
        LegSpec::new((side.relay, CAMERA_LEG + 2).into()).remote((side.terminal, CAMERA_PORT + 2).into());
    let plan = relay_user::Plan {
        legs: vec![other, viewer_leg(SourcePolicy::Pinned)],
        streams: vec![StreamSpec { ingress: 0, egress: 1 }],
    };
    let legs = group.bench.runtime.block_on(group.bench.relay.install(&plan)).unwrap();
    let (camera, viewer) =
        (group.bench.camera_socket(CAMERA_PORT + 2), group.bench.viewer_socket(VIEWER_PORT));
    for sequence in 0..200 {
        camera.send_to(&rtp(sequence, 8), (side.relay, CAMERA_LEG + 2)).unwrap();
        group.send(sequence);
        camera.send_to(&rtp(sequence, 9), (side.relay, CAMERA_LEG + 2)).unwrap();
        assert_eq!(receive(&viewer).0, rtp(sequence, 8));
        assert_eq!(receive(&viewer).0, rtp(sequence, 9));
        for socket in &sockets {
            assert_eq!(receive(socket).0, rtp(sequence, 7));
        }
    }
    group.bench.statistics_when(legs[1], |counted| counted.sent == 400);
}

fn groups_that_come_in_by_different_devices_share_the_devices_that_they_leave_by(engine: Engine) {
    let group = Group::start(engine, 256);
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    // The viewer sends, too: its group belongs to another processor where there is one.
    let other = relay_user::Plan { legs: vec![viewer_leg(SourcePolicy::Pinned)], streams: Vec::new() };
    let other = group.bench.runtime.block_on(group.bench.relay.install(&other)).unwrap()[0];
    let leg = |side: testbed::Side, port: u16| {
        LegSpec::new((side.relay, port).into()).remote((side.terminal, port).into())
    };
    // Each more than one block, on both devices, by turns.
    let receivers = |first: u16| -> Vec<LegSpec> {
        (0..40).map(|number| leg(if number % 2 == 0 { camera } else { viewer }, first + number)).collect()
    };
    let [ours, theirs] = [receivers(FIRST), receivers(FIRST + 100)];
    let sockets = |receivers: &[LegSpec]| -> Vec<UdpSocket> {
        let namespaces = [&group.bench.topology.camera, &group.bench.topology.viewer];
        let open =
            |(number, receiver): (usize, &LegSpec)| socket(namespaces[number % 2], receiver.remote.unwrap());
        receivers.iter().enumerate().map(open).collect()
    };
    let (our_sockets, their_sockets) = (sockets(&ours), sockets(&theirs));
    group.join(&ours);
    group.bench.runtime.block_on(group.bench.relay.join(other, &theirs)).unwrap();
    let from_viewer = group.bench.viewer_socket(VIEWER_PORT);
    for sequence in 0..50 {
        group.send(sequence);
        from_viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
        group.send(sequence + 1_000);
        for (socket, receiver) in our_sockets.iter().zip(&ours) {
            assert_eq!(receive(socket), (rtp(sequence, 7), receiver.local));
            assert_eq!(receive(socket), (rtp(sequence + 1_000, 7), receiver.local));
        }
        for (socket, receiver) in their_sockets.iter().zip(&theirs) {
            assert_eq!(receive(socket), (rtp(sequence, 8), receiver.local));
        }
    }
}

fn a_receiver_whose_route_moves_to_another_device_is_followed(engine: Engine) {
    let group = Group::start(engine, 64);
    let far = "10.99.0.1";
    let via = |side: testbed::Side| side.terminal.to_string();
    group.bench.topology.relay.ip(&["route", "add", far, "via", &via(Topology::VIEWER)]).unwrap();
    for namespace in [&group.bench.topology.camera, &group.bench.topology.viewer] {
        namespace.ip(&["address", "add", &format!("{far}/32"), "dev", "lo"]).unwrap();
        namespace.ip(&["link", "set", "lo", "up"]).unwrap();
    }
    let address: std::net::SocketAddr = format!("{far}:{FIRST}").parse().unwrap();
    let [at_camera, at_viewer] = [&group.bench.topology.camera, &group.bench.topology.viewer]
        .map(|namespace| socket(namespace, address));
    let stays = group.bench.viewer_socket(FIRST + 1);
    let moves = LegSpec::new((Topology::VIEWER.relay, FIRST).into()).remote(address);
    group.join(&[moves, receiver(1)]);
    group.send(0);
    assert_eq!(receive(&at_viewer).0, rtp(0, 7));
    assert_eq!(receive(&stays).0, rtp(0, 7));

    group.bench.topology.relay.ip(&["route", "replace", far, "via", &via(Topology::CAMERA)]).unwrap();
    at_camera.set_read_timeout(Some(SILENCE)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut buffer = [0; 2048];
    for sequence in 1.. {
        group.send(sequence);
        assert_eq!(receive(&stays).0, rtp(sequence, 7), "the others notice nothing");
        if at_camera.recv(&mut buffer).is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "no packet by the new route");
    }
}

fn who_comes_and_goes_changes_nothing_for_others(engine: Engine) {
    const STEADY: u16 = 4;
    // Places of legs that went rest for a while.
    let group = Group::start(engine, 8192);
    let sockets = group.sockets(STEADY);
    group.join(&(0..STEADY).map(receiver).collect::<Vec<_>>());
    let (stop, sent, largest) = (AtomicBool::new(false), AtomicU16::new(0), 60_000);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < largest {
                let sequence = sent.fetch_add(1, Ordering::Relaxed);
                group.send(sequence);
                // A few at most are on their way, so that no socket overflows.
                for socket in &sockets {
                    assert_eq!(sequence_of(&receive(socket).0), sequence, "in order, once");
                }
            }
        });
        for round in 0_u32.. {
            if sender.is_finished() || (round >= 300 && sent.load(Ordering::Relaxed) > 300) {
                break;
            }
            // Now and then more than fit the block of the others.
            let count = if round % 10 == 0 { 40 } else { 3 };
            let come = group.join(&(0..count).map(|number| receiver(100 + number)).collect::<Vec<_>>());
            group.bench.relay.remove(&come);
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap();
    });
    sockets.iter().for_each(assert_silent);
}

fn what_cannot_be_is_refused_and_nothing_is_left(engine: Engine) {
    let group = Group::start(engine, 64);
    let join =
        |receivers: &[LegSpec]| group.bench.runtime.block_on(group.bench.relay.join(group.source, receivers));
    let nowhere = LegSpec::new((Topology::VIEWER.relay, FIRST + 1).into()).source(SourcePolicy::Learn);
    assert!(matches!(join(&[receiver(0), nowhere]), Err(InstallError::RemoteNeeded(1))));
    assert!(matches!(join(&[receiver(0), receiver(0)]), Err(InstallError::Taken(_))));
    let legs = group.join(&[receiver(0)]);
    assert!(matches!(join(&[receiver(1), receiver(0)]), Err(InstallError::Taken(_))));
    assert_eq!(group.bench.relay.receivers(group.source), legs);
    assert_eq!(group.bench.relay.legs().len(), 2);
    group.bench.relay.remove(&[group.source]);
    assert!(matches!(join(&[receiver(1)]), Err(InstallError::Gone)));
    assert_eq!(group.bench.relay.legs().len(), 1, "its receiver is a leg still");
}
