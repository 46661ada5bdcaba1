//! Taps of receivers: the copies that leave for one of them, as they leave, and nobody else's.

use std::net::SocketAddr;

use etherparse::{PacketHeaders, TransportHeader};
use relay_user::RetagSpec;
use relay_user::tap::{Direction, Tap, TapFrame};
use testbed::Topology;

use crate::engines::*;
use crate::support::*;

with_every_engine! {
    a_tap_of_a_receiver_sees_its_copies_alone,
    a_receiver_that_moves_stays_tapped,
    a_tap_of_a_receiver_ends_with_it_and_the_others_go_on,
}

/// More than one block.
const RECEIVERS: u16 = 20;

/// The copy that comes next.
fn next(group: &Group, tap: &mut Tap) -> TapFrame {
    let next = async { tokio::time::timeout(PATIENCE, tap.next()).await };
    group.bench.runtime.block_on(next).ok().flatten().expect("a copy for the tap")
}

fn is_silent(group: &Group, tap: &mut Tap) -> bool {
    let next = async { tokio::time::timeout(SILENCE, tap.next()).await };
    group.bench.runtime.block_on(next).is_err()
}

/// Source and destination port, and the payload.
fn udp(frame: &TapFrame) -> (u16, u16, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(&frame.bytes).unwrap();
    let header = packet.transport.and_then(TransportHeader::udp).unwrap();
    (header.source_port, header.destination_port, packet.payload.slice().to_vec())
}

fn a_tap_of_a_receiver_sees_its_copies_alone(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(RECEIVERS);
    let with_ssrc = |number| match number {
        17 => receiver(number).retag(RetagSpec::default().ssrc(9)),
        _ => receiver(number),
    };
    let legs = group.join(&(0..RECEIVERS).map(with_ssrc).collect::<Vec<_>>());
    let mut taps = [3_u16, 17].map(|number| group.bench.relay.tap(legs[usize::from(number)]).unwrap());
    for sequence in 0..5 {
        group.send(sequence);
        sockets.iter().for_each(|socket| assert_eq!(sequence_of(&receive(socket).0), sequence));
    }
    for (tap, (number, ssrc)) in taps.iter_mut().zip([(3, 7), (17, 9)]) {
        for sequence in 0..5 {
            let frame = next(&group, tap);
            let port = FIRST + number;
            assert_eq!(udp(&frame), (port, port, rtp(sequence, ssrc)), "as this receiver gets it");
            let seen = (frame.direction, &*frame.interface, frame.length);
            assert_eq!(seen, (Direction::Copied, Topology::VIEWER.device, 42 + 172));
        }
        assert!(is_silent(&group, tap), "what leaves for others is not the tap's");
        assert_eq!(tap.lost(), 0);
    }
    drop(taps);
    let mut later = group.bench.relay.tap(legs[3]).unwrap();
    assert!(is_silent(&group, &mut later), "nothing is left over for the next one");
}

fn a_receiver_that_moves_stays_tapped(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(3);
    let legs = group.join(&[receiver(0), receiver(1)]);
    let mut tap = group.bench.relay.tap(legs[1]).unwrap();
    let elsewhere: SocketAddr = sockets[2].local_addr().unwrap();
    group.bench.runtime.block_on(group.bench.relay.set_remote(legs[1], Some(elsewhere))).unwrap();
    group.send(1);
    assert_eq!(receive(&sockets[2]).0, rtp(1, 7));
    assert_eq!(udp(&next(&group, &mut tap)), (FIRST + 1, FIRST + 2, rtp(1, 7)));
}

fn a_tap_of_a_receiver_ends_with_it_and_the_others_go_on(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(2);
    let legs = group.join(&[receiver(0), receiver(1)]);
    let [mut first, mut second] = [0, 1].map(|at: usize| group.bench.relay.tap(legs[at]).unwrap());
    group.bench.relay.remove(&legs[..1]);
    let ended = group.bench.runtime.block_on(async { tokio::time::timeout(PATIENCE, first.next()).await });
    assert_eq!(ended, Ok(None));
    // Another one takes the seat.
    let again = group.join(&[receiver(0)]);
    group.send(1);
    sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(1, 7)));
    assert_eq!(udp(&next(&group, &mut second)), (FIRST + 1, FIRST + 1, rtp(1, 7)));
    assert!(is_silent(&group, &mut second));
    let mut first = group.bench.relay.tap(again[0]).unwrap();
    group.send(2);
    assert_eq!(udp(&next(&group, &mut first)), (FIRST, FIRST, rtp(2, 7)));
}
