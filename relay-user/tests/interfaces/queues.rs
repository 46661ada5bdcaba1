//! Several interfaces, and devices of several queues.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use relay_user::{LegSpec, Plan, StreamSpec};
use testbed::{Namespace, Topology};

use crate::media::*;

const WIDE: &str = "wide";
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 3, 1);
const TERMINAL: Ipv4Addr = Ipv4Addr::new(10, 78, 3, 2);
/// Calls, each with ports of its own: as many flows to be spread over the queues.
const CALLS: u16 = 24;
const PACKETS: u16 = 20;

/// A topology with a third wire, of two queues each way, between relay and viewer.
fn with_wide_wire() -> Topology {
    let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
    let (relay, viewer) = (&topology.relay, &topology.viewer);
    let queues = ["numrxqueues", "2", "numtxqueues", "2"];
    let near = ["link", "add", WIDE];
    let far = ["type", "veth", "peer", "name", WIDE, "netns", viewer.name()];
    relay.ip(&[near.as_slice(), &queues, &far, &queues].concat()).unwrap();
    let ends = [(relay, RELAY), (viewer, TERMINAL)];
    // Before either goes up: see `testbed::connect`.
    for (namespace, _) in ends {
        namespace.offload(WIDE, &["tx", "off", "gro", "on"]).unwrap();
    }
    for (namespace, address) in ends {
        namespace.ip(&["link", "set", WIDE, "up"]).unwrap();
        namespace.ip(&["address", "add", &format!("{address}/24"), "dev", WIDE]).unwrap();
    }
    topology
}

/// XDP packets of each receive queue of a device.
fn by_queue(namespace: &Namespace, device: &str) -> Vec<u64> {
    let mut command: Command = namespace.command("ethtool");
    let output = command.args(["-S", device]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |queue| {
        let name = format!("rx_queue_{queue}_xdp_packets:");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&name))?;
        line.trim().parse().ok()
    };
    (0..).map_while(count).collect()
}

#[test]
fn every_queue_of_every_interface_forwards() {
    let bench = Bench::on(with_wide_wire(), &[WIDE]);
    let camera = Topology::CAMERA;
    let leg = |local: IpAddr, remote: IpAddr, number| {
        LegSpec::new(SocketAddr::new(local, LEG_PORT + number))
            .remote(SocketAddr::new(remote, TERMINAL_PORT + number))
    };
    let mut plan = Plan::default();
    for number in 0..CALLS {
        let at = plan.legs.len();
        plan.legs.push(leg(RELAY.into(), TERMINAL.into(), number));
        plan.legs.push(leg(camera.relay.into(), camera.terminal.into(), number));
        plan.streams.push(StreamSpec { ingress: at, egress: at + 1 });
        plan.streams.push(StreamSpec { ingress: at + 1, egress: at });
    }
    let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();

    // From the wide wire to the camera and back, each flow from a port of its own.
    for number in 0..CALLS {
        let wide = socket(&bench.topology.viewer, (TERMINAL, TERMINAL_PORT + number).into());
        let narrow = socket(&bench.topology.camera, (camera.terminal, TERMINAL_PORT + number).into());
        let exchange = |from: &UdpSocket, to: &UdpSocket, relay: IpAddr| {
            for sequence in 0..PACKETS {
                from.send_to(&rtp(sequence, b"media"), (relay, LEG_PORT + number)).unwrap();
                let mut buffer = [0; 64];
                let (length, _) = to.recv_from(&mut buffer).expect("the packet arrives");
                assert_eq!(buffer[..length], rtp(sequence, b"media"));
            }
        };
        exchange(&wide, &narrow, RELAY.into());
        exchange(&narrow, &wide, camera.relay.into());
    }

    let queues = by_queue(&bench.topology.relay, WIDE);
    assert_eq!(queues.len(), 2, "{queues:?}");
    assert!(queues.iter().all(|packets| *packets >= u64::from(PACKETS)), "both queues are used: {queues:?}");
    for statistics in bench.relay.remove(&legs) {
        let (received, sent) = (statistics.received, statistics.sent);
        assert_eq!((received, sent), (u64::from(PACKETS), u64::from(PACKETS)), "{statistics:?}");
    }
}
