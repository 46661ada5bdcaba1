//! Several interfaces, and devices of several queues.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use relay_user::{LegSpec, LegStatistics, Plan, StreamSpec};
use testbed::{Namespace, Topology};

use crate::media::*;

/// Calls, each with ports of its own: as many flows to be spread over the queues.
const CALLS: u16 = 24;
const PACKETS: u16 = 20;

/// A wire between the relay and a terminal, beside the two that every topology has.
#[derive(Clone, Copy)]
struct Wire {
    device: &'static str,
    relay: Ipv4Addr,
    terminal: Ipv4Addr,
}

/// To the viewer.
const WIDE: Wire =
    Wire { device: "wide", relay: Ipv4Addr::new(10, 78, 3, 1), terminal: Ipv4Addr::new(10, 78, 3, 2) };
/// To the camera.
const ALSO_WIDE: Wire =
    Wire { device: "also-wide", relay: Ipv4Addr::new(10, 78, 4, 1), terminal: Ipv4Addr::new(10, 78, 4, 2) };

/// The wire that the camera is on in every topology.
const NARROW: Wire = Wire {
    device: Topology::CAMERA.device,
    relay: Topology::CAMERA.relay,
    terminal: Topology::CAMERA.terminal,
};

/// Lays a wire of two queues each way.
fn lay(wire: Wire, relay: &Namespace, terminal: &Namespace) {
    let queues = ["numrxqueues", "2", "numtxqueues", "2"];
    let near = ["link", "add", wire.device];
    let far = ["type", "veth", "peer", "name", wire.device, "netns", terminal.name()];
    relay.ip(&[near.as_slice(), &queues, &far, &queues].concat()).unwrap();
    let ends = [(relay, wire.relay), (terminal, wire.terminal)];
    // Before either goes up: see `testbed::connect`.
    for (namespace, _) in ends {
        namespace.offload(wire.device, &["tx", "off", "gro", "on"]).unwrap();
    }
    for (namespace, address) in ends {
        namespace.ip(&["link", "set", wire.device, "up"]).unwrap();
        namespace.ip(&["address", "add", &format!("{address}/24"), "dev", wire.device]).unwrap();
    }
}

/// A topology with a wide wire between relay and viewer, and one between relay and camera.
fn with_wide_wires() -> Topology {
    let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
    lay(WIDE, &topology.relay, &topology.viewer);
    lay(ALSO_WIDE, &topology.relay, &topology.camera);
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

/// Calls between two wires, with ports of their own; every packet of every call arrives, in both directions. Returns what
/// the camera's and the viewer's legs counted.
fn exchange(bench: &Bench, near: Wire, far: Wire) -> Vec<LegStatistics> {
    let leg = |wire: Wire, number| {
        LegSpec::new(SocketAddr::new(wire.relay.into(), LEG_PORT + number))
            .remote(SocketAddr::new(wire.terminal.into(), TERMINAL_PORT + number))
    };
    let mut plan = Plan::default();
    for number in 0..CALLS {
        let at = plan.legs.len();
        plan.legs.extend([leg(far, number), leg(near, number)]);
        plan.streams.push(StreamSpec { ingress: at, egress: at + 1 });
        plan.streams.push(StreamSpec { ingress: at + 1, egress: at });
    }
    let legs = bench.install_plan(plan);
    // Each flow from a port of its own.
    for number in 0..CALLS {
        let viewer = socket(&bench.topology.viewer, (far.terminal, TERMINAL_PORT + number).into());
        let camera = socket(&bench.topology.camera, (near.terminal, TERMINAL_PORT + number).into());
        let send = |from: &UdpSocket, to: &UdpSocket, relay: Ipv4Addr| {
            for sequence in 0..PACKETS {
                from.send_to(&rtp(sequence, b"media"), (relay, LEG_PORT + number)).unwrap();
                let mut buffer = [0; 64];
                let (length, _) = to.recv_from(&mut buffer).expect("the packet arrives");
                assert_eq!(buffer[..length], rtp(sequence, b"media"));
            }
        };
        send(&viewer, &camera, far.relay);
        send(&camera, &viewer, near.relay);
    }
    let queues = by_queue(&bench.topology.relay, far.device);
    assert_eq!(queues.len(), 2, "{queues:?}");
    assert!(queues.iter().all(|packets| *packets >= u64::from(PACKETS)), "both queues are used: {queues:?}");
    let statistics = bench.relay.remove(&legs);
    for leg in &statistics {
        assert_eq!((leg.received, leg.sent), (u64::from(PACKETS), u64::from(PACKETS)), "{leg:?}");
    }
    statistics
}

#[test]
fn every_queue_of_every_interface_forwards() {
    let bench = Bench::on(with_wide_wires(), &[WIDE.device]);
    for leg in exchange(&bench, NARROW, WIDE) {
        assert_eq!(leg.paths.xdp, u64::from(PACKETS), "{leg:?}");
    }
}

/// A worker for each queue, and one for both where another device has only one.
#[test]
fn user_space_serves_every_queue() {
    for (near, workers) in [(ALSO_WIDE, 2), (NARROW, 1)] {
        let bench = Bench::punting_across(with_wide_wires(), &[near.device, WIDE.device]);
        let path = bench.relay.punt_path().unwrap();
        let queues = if workers == 2 { 4 } else { 3 };
        assert_eq!((path.workers, path.sockets), (workers, queues));
        for leg in exchange(&bench, near, WIDE) {
            assert_eq!(leg.paths.af_xdp, u64::from(PACKETS), "{leg:?}");
        }
        let (counters, all) = (bench.punts(), 2 * u64::from(CALLS * PACKETS));
        assert_eq!((counters.received, counters.sent), (all, all), "{counters:?}");
        assert!(all > 2 * u64::from(PUNT_FRAMES), "every frame was used again");
    }
}
