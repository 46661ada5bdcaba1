//! The wires carry both families as soon as they are made, and frames as they are. Takes root.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use testbed::{Frames, Topology};

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

/// Frames with any tags come out of a wire as they went in, whatever the kernel takes off meanwhile.
#[test]
fn frames_arrive_as_they_were_sent() {
    let topology = Topology::create().expect("this test takes root, iproute2 and ethtool");
    let camera = Frames::on(&topology.camera, Topology::TERMINAL_DEVICE).unwrap();
    let relay = Frames::on(&topology.relay, Topology::CAMERA.device).unwrap();
    // An EtherType for experiments (IEEE 802), so that the frames are told from what the machines say of themselves.
    let tags: [&[u8]; 3] = [&[], &[0x81, 0, 0xa0, 7], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7]];
    for tag in tags {
        let frame = [&[0xff; 6], &[2, 0, 0, 0, 0, 9], tag, &[0x88, 0xb5], &[3; 50]].concat();
        camera.send(&frame).unwrap();
        loop {
            let found = relay.receive(Duration::from_secs(5)).unwrap().expect("the frame arrives");
            if found[6..12] == frame[6..12] {
                assert_eq!(found, frame);
                break;
            }
        }
    }
}
