//! One camera, many receivers: what each of them gets, and what it is told of it.

use std::net::{SocketAddrV4, UdpSocket};

use relay_user::{Continuity, LegId, LegSpec, RetagSpec, SourcePolicy};
use testbed::Topology;

use crate::support::*;

/// The first of the receivers' ports, theirs and ours.
const FIRST: u16 = 10_000;

/// A relay with a camera's leg that leads nowhere yet.
struct Group {
    bench: Bench,
    camera: UdpSocket,
    source: LegId,
}

impl Group {
    fn start(room: u32) -> Self {
        let bench = Bench::with_room(room);
        let plan = relay_user::Plan { legs: vec![camera_leg(SourcePolicy::Pinned)], streams: Vec::new() };
        let source = bench.runtime.block_on(bench.relay.install(&plan)).unwrap()[0];
        let camera = bench.camera_socket(CAMERA_PORT);
        Self { bench, camera, source }
    }

    fn join(&self, receivers: &[LegSpec]) -> Vec<LegId> {
        self.bench.runtime.block_on(self.bench.relay.join(self.source, receivers)).unwrap()
    }

    fn send(&self, sequence: u16) {
        self.camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
    }

    fn sockets(&self, count: u16) -> Vec<UdpSocket> {
        (0..count).map(|number| self.bench.viewer_socket(FIRST + number)).collect()
    }
}

/// The receiver with this number, at the viewer.
fn receiver(number: u16) -> LegSpec {
    let side = Topology::VIEWER;
    LegSpec::new(SocketAddrV4::new(side.relay, FIRST + number).into())
        .remote(SocketAddrV4::new(side.terminal, FIRST + number).into())
}

fn sequence_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[test]
fn every_receiver_gets_every_packet_in_order_with_addresses_of_its_own() {
    let group = Group::start(64);
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
}

#[test]
fn each_receiver_has_its_own_rtp_header() {
    let group = Group::start(64);
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

#[test]
fn who_joins_gets_what_comes_and_who_leaves_gets_no_more() {
    let group = Group::start(64);
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

#[test]
fn a_large_group_is_served_in_several_passes() {
    let group = Group::start(512);
    let sockets = group.sockets(100);
    let legs = group.join(&(0..100).map(receiver).collect::<Vec<_>>());
    assert_eq!(group.bench.relay.group(group.source).unwrap().passes, 4);
    for sequence in 0..20 {
        group.send(sequence);
    }
    for (socket, number) in sockets.iter().zip(0..) {
        for sequence in 0..20 {
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
