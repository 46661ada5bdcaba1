//! Legs that the network could not serve are refused whole, with the reason.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use relay_user::{InstallError, LegSpec, Plan, RouteError, StreamSpec, Tag, Tags};
use testbed::Topology;

use crate::media::*;

/// A leg that is fine, and one towards `remote`, with media both ways.
fn plan(remote: &str, change: impl FnOnce(LegSpec) -> LegSpec) -> Plan {
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let local = |side: std::net::IpAddr| SocketAddr::new(side, LEG_PORT);
    let fine = LegSpec::new(local(camera.relay.into())).remote((camera.terminal, TERMINAL_PORT).into());
    let far = LegSpec::new(local(viewer.relay.into())).remote(remote.parse().unwrap());
    let streams = vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }];
    Plan { legs: vec![fine, change(far)], streams }
}

impl Bench {
    /// The refusal of a plan, of which nothing must be left.
    fn refuse(&self, plan: &Plan) -> RouteError {
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            match self.runtime.block_on(self.relay.install(plan)) {
                Err(error) => break error,
                // The kernel is asked for neighbours, and a machine may be so busy that it has not answered within the
                // second that an installation waits.
                Ok(legs) => self.relay.remove(&legs),
            };
            assert!(Instant::now() < deadline, "{plan:?} is not refused");
        };
        assert_eq!(self.relay.occupancy().0, 0, "something of a refused plan is left: {error}");
        match error {
            InstallError::Route(error) => error,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_next_hop_whose_device_is_down_is_refused_and_accepted_when_it_is_up() {
    let bench = Bench::start();
    let viewer = &bench.topology.viewer;
    let plan = plan("10.78.2.2:5004", |leg| leg);
    viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "down"]).unwrap();
    bench.interface_when(1, |interface| interface.state == relay_user::InterfaceState::Down);
    let error = bench.refuse(&plan);
    assert!(matches!(&error, RouteError::Down { interface, .. } if interface == "viewer"), "{error}");
    assert!(error.to_string().contains("down or has no carrier"), "{error}");
    viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "up"]).unwrap();
    bench.interface_when(1, |interface| interface.state == relay_user::InterfaceState::Up);
    bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
}

#[test]
fn a_next_hop_that_the_kernel_has_given_up_on_is_refused() {
    let bench = Bench::start();
    bench.topology.relay.sysctl("net/ipv4/neigh/viewer/retrans_time_ms", "50").unwrap();
    let error = bench.refuse(&plan("10.78.2.77:5004", |leg| leg));
    let RouteError::Silent { neighbour, interface } = &error else { panic!("{error}") };
    assert_eq!((neighbour.to_string().as_str(), interface.as_str()), ("10.78.2.77", "viewer"));
    // It is asked for anew each time: once it is there, it is found.
    bench.topology.viewer.ip(&["address", "add", "10.78.2.77/24", "dev", Topology::TERMINAL_DEVICE]).unwrap();
    bench.runtime.block_on(bench.relay.install(&plan("10.78.2.77:5004", |leg| leg))).unwrap();
}

#[test]
fn routes_that_lead_nowhere_are_refused() {
    let bench = Bench::start();
    for kind in ["unreachable", "prohibit", "blackhole"] {
        bench.ip(&format!("route add {kind} 192.0.2.0/24"));
        let error = bench.refuse(&plan("192.0.2.9:5004", |leg| leg));
        assert!(matches!(error, RouteError::None { .. }), "{kind}: {error}");
        bench.ip("route del 192.0.2.0/24");
    }
}

#[test]
fn the_broadcast_address_of_a_network_is_refused() {
    let bench = Bench::start();
    let error = bench.refuse(&plan("10.78.2.255:5004", |leg| leg));
    assert!(matches!(error, RouteError::NotUnicast { .. }), "{error}");
}

#[test]
fn a_local_address_that_is_not_ours_cannot_send() {
    let bench = Bench::start();
    let elsewhere = SocketAddr::from(([10, 78, 2, 50], LEG_PORT));
    let error = bench.refuse(&plan("10.78.2.2:5004", |leg| LegSpec { local: elsewhere, ..leg }));
    assert!(matches!(&error, RouteError::NotOurs { address } if *address == elsewhere.ip()), "{error}");
}

#[test]
fn silent_neighbours_are_waited_for_at_the_same_time() {
    let bench = Bench::start();
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let mut plan = Plan::default();
    for number in 0..20_u8 {
        let at = plan.legs.len();
        let port = LEG_PORT + u16::from(number);
        plan.legs
            .push(LegSpec::new((camera.relay, port).into()).remote((camera.terminal, TERMINAL_PORT).into()));
        let silent = SocketAddr::from(([10, 78, 2, 100 + number], TERMINAL_PORT));
        plan.legs.push(LegSpec::new((viewer.relay, port).into()).remote(silent));
        plan.streams.push(StreamSpec { ingress: at, egress: at + 1 });
    }
    let start = Instant::now();
    let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}, and one after the other would take 20 seconds");
    assert!(took > Duration::from_millis(900), "{took:?}: they were not waited for");
    assert_eq!(legs.len(), 40);
}

#[test]
fn told_tags_are_on_the_frames_that_leave() {
    let bench = Bench::start();
    // The switch knows the VLANs, this machine does not: the neighbour is told, too.
    bench.ip("neigh replace 10.78.2.9 lladdr 02:00:00:00:00:09 dev viewer");
    let tagged = plan("10.78.2.9:5004", |leg| leg.vlan(Tags::two(Tag::service(100), Tag::vlan(7))));
    bench.runtime.block_on(bench.relay.install(&tagged)).unwrap();

    let (camera, media) = (Topology::CAMERA, rtp(1, b"media"));
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(camera.terminal.octets(), camera.relay.octets(), 64)
        .udp(TERMINAL_PORT, LEG_PORT);
    let mut frame = Vec::new();
    builder.write(&mut frame, &media).unwrap();
    let trial = bench.relay.try_frame(&frame, 1).unwrap();

    assert_eq!(trial.action, 4, "it is sent on: {:?}", bench.relay.counters());
    assert_eq!(trial.frame[..6], [2, 0, 0, 0, 0, 9]);
    let tags = [0x88, 0xa8, 0x00, 100, 0x81, 0x00, 0x00, 7, 0x08, 0x00];
    assert_eq!(trial.frame[12..22], tags, "{:02x?}", trial.frame);
    assert!(trial.frame.ends_with(b"media"));
}
