//! Media that comes to a port of ours which no leg has, and packets that pretend to come from us.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};

use crate::support::*;
use relay_user::{Event, SourcePolicy};
use testbed::Topology;

/// A port of the relay's range, without a leg.
const NOBODYS: u16 = CAMERA_LEG + 50;

fn nobodys() -> SocketAddr {
    SocketAddrV4::new(Topology::CAMERA.relay, NOBODYS).into()
}

fn counted(bench: &Bench, name: &str) -> u64 {
    bench.relay.counters().iter().find(|(counter, _)| *counter == name).map_or(0, |(_, count)| *count)
}

#[test]
fn an_orphan_is_dropped_counted_and_reported() {
    let bench = Bench::start();
    let mut events = bench.relay.subscribe();
    let camera = bench.camera_socket(CAMERA_PORT);
    for sequence in 0..20 {
        camera.send_to(&rtp(sequence, 0xcafe), nobodys()).unwrap();
    }
    let reported = bench.next(&mut events);
    let source = camera.local_addr().unwrap();
    assert_eq!(reported, Event::Orphan { local: nobodys(), source, ssrc: 0xcafe });
    wait_until("every packet is counted", || counted(&bench, "orphan") == 20);
    // The network stack never saw it, or it would have answered that the port is unreachable.
    camera.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(camera.recv(&mut [0; 64]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_socket_of_the_machine_keeps_its_port() {
    let bench = Bench::start();
    let socket = bench.topology.relay.run(|| UdpSocket::bind(nobodys()).unwrap()).unwrap();
    bench.camera_socket(CAMERA_PORT).send_to(b"not for the relay", nobodys()).unwrap();
    assert_eq!(receive(&socket).0, b"not for the relay");
    assert_eq!(counted(&bench, "orphan"), 0);
}

#[test]
fn our_own_address_is_no_source() {
    let bench = Bench::start();
    let [leg, _] = bench.call(camera_leg(SourcePolicy::Learn), viewer_leg(SourcePolicy::Pinned));
    // The camera takes the relay's address on the other wire.
    bench.topology.camera.ip(&["address", "add", "10.78.2.1/32", "dev", Topology::TERMINAL_DEVICE]).unwrap();
    let spoofed = bench.topology.camera.run(|| UdpSocket::bind("10.78.2.1:5004").unwrap()).unwrap();
    spoofed.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    let statistics = bench.statistics_when(leg, |statistics| statistics.received == 1);
    assert_eq!(statistics.dropped, [("looped", 1)]);
    assert_eq!(statistics.source, None, "it was not learned");
}
