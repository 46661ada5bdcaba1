//! The wires carry both families as soon as they are made. Takes root.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use testbed::Topology;

#[test]
fn both_families_reach_the_relay_at_once() {
    let topology = Topology::create().expect("this test takes root, iproute2 and ethtool");
    for (terminal, side) in [(&topology.camera, Topology::CAMERA), (&topology.viewer, Topology::VIEWER)] {
        let families: [(IpAddr, IpAddr); 2] =
            [(side.relay.into(), side.terminal.into()), (side.relay6.into(), side.terminal6.into())];
        for (relay, far) in families {
            let bind = |address| UdpSocket::bind(SocketAddr::new(address, 4000)).unwrap();
            let near = topology.relay.run(|| bind(relay)).unwrap();
            let far = terminal.run(|| bind(far)).unwrap();
            near.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            far.send_to(b"hello", (relay, 4000)).unwrap();
            let mut buffer = [0; 16];
            let (length, source) = near.recv_from(&mut buffer).expect("the first datagram arrives");
            assert_eq!((&buffer[..length], source), (&b"hello"[..], far.local_addr().unwrap()));
        }
    }
}
