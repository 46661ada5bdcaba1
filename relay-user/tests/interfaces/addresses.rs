//! Local addresses that are removed and added again, and routes that move.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::thread;
use std::time::{Duration, Instant};

use relay_user::LegSpec;
use testbed::Topology;

use crate::media::*;

#[test]
fn media_resumes_when_the_local_address_is_there_again() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("address del 10.78.2.1/24 dev viewer");
    media.stops();
    media.is_dropped_as("no_route");
    bench.ip("address add 10.78.2.1/24 dev viewer");
    media.flows();
    assert!(media.end(&["no_route", "next_hop_unresolved"], 0) >= 50);
}

#[test]
fn media_resumes_when_the_local_ipv6_address_is_there_again() {
    let bench = Bench::start();
    let media = bench.media6();
    bench.ip("address del fd78:2::1/64 dev viewer");
    media.stops();
    media.is_dropped_as("no_route");
    bench.ip("address add fd78:2::1/64 dev viewer");
    media.flows();
    assert!(media.end(&["no_route", "next_hop_unresolved"], 0) >= 50);
}

#[test]
fn media_flows_between_link_local_addresses_and_through_a_link_local_router() {
    let bench = Bench::start();
    let topology = &bench.topology;
    // Addresses that say nothing of their interface: the legs say it.
    for (namespace, device, address) in
        [(&topology.relay, "viewer", "fe80::1/64"), (&topology.viewer, "eth0", "fe80::2/64")]
    {
        namespace.ip(&["address", "add", address, "dev", device]).unwrap();
    }
    let scope = bench.interface(1).index;
    let on_viewer = |last, port| {
        SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), port, 0, scope))
    };
    let camera = Topology::CAMERA;
    let [leg, _] = bench.install([
        LegSpec::new((camera.relay6, LEG_PORT).into()).remote((camera.terminal6, TERMINAL_PORT).into()),
        LegSpec::new(on_viewer(1, LEG_PORT)).remote(on_viewer(2, TERMINAL_PORT)),
    ]);
    let sender = socket(&topology.camera, (camera.terminal6, TERMINAL_PORT).into());
    let receiver = socket(&topology.viewer, (Ipv6Addr::UNSPECIFIED, TERMINAL_PORT).into());
    let media = Media::start(&bench, leg, sender, receiver, (camera.relay6, LEG_PORT).into());
    media.flows();
    assert_eq!(media.end(&[], 0), 0);

    // The viewer's network lies behind the viewer's link-local address.
    topology.viewer.ip(&["address", "add", "2001:db8:1::9/128", "dev", "lo"]).unwrap();
    bench.ip("-6 route add 2001:db8:1::/48 via fe80::2 dev viewer");
    let (port, far) = (LEG_PORT + 2, Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9));
    let [leg, _] = bench.install([
        LegSpec::new((camera.relay6, port).into()).remote((camera.terminal6, TERMINAL_PORT).into()),
        LegSpec::new((Topology::VIEWER.relay6, port).into()).remote((far, TERMINAL_PORT + 2).into()),
    ]);
    let sender = socket(&topology.camera, (camera.terminal6, TERMINAL_PORT).into());
    let receiver = socket(&topology.viewer, (far, TERMINAL_PORT + 2).into());
    let media = Media::start(&bench, leg, sender, receiver, (camera.relay6, port).into());
    media.flows();
    assert_eq!(media.end(&[], 0), 0);
}

#[test]
fn media_follows_a_route_to_another_interface_and_back() {
    let bench = Bench::start();
    let topology = &bench.topology;
    // The same address at both terminals: where packets arrive says which way they went.
    let far = Ipv4Addr::new(192, 0, 2, 9);
    for terminal in [&topology.camera, &topology.viewer] {
        terminal.ip(&["address", "add", "192.0.2.9/32", "dev", "lo"]).unwrap();
    }
    bench.ip("route add 192.0.2.0/24 via 10.78.2.2");
    let leg = |local: Ipv4Addr, port, remote: Ipv4Addr| {
        LegSpec::new(SocketAddr::from((local, port))).remote(SocketAddr::from((remote, TERMINAL_PORT)))
    };
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let [first, _] =
        bench.install([leg(camera.relay, LEG_PORT, camera.terminal), leg(viewer.relay, LEG_PORT, far)]);
    let sender = socket(&topology.camera, (camera.terminal, TERMINAL_PORT).into());
    let at_viewer = socket(&topology.viewer, (far, TERMINAL_PORT).into());
    let at_camera = socket(&topology.camera, (far, TERMINAL_PORT).into());
    let media = Media::start(&bench, first, sender, at_viewer, (camera.relay, LEG_PORT).into());
    media.flows();

    bench.ip("route replace 192.0.2.0/24 via 10.78.1.2");
    media.stops();
    let mut buffer = [0; 2048];
    let (_, source) = at_camera.recv_from(&mut buffer).expect("media arrives by the other interface");
    assert_eq!(source, SocketAddr::from((viewer.relay, LEG_PORT)), "from the address that the leg has");

    bench.ip("route replace 192.0.2.0/24 via 10.78.2.2");
    media.flows();
    assert_eq!(media.dropped(&["no_route", "no_device"]), 0, "{:?}", media.statistics());
}

#[test]
fn media_stops_where_a_route_forbids_it_and_flows_when_it_is_allowed() {
    for (v6, destination) in [(false, "10.78.2.2/32"), (true, "fd78:2::2/128")] {
        let bench = Bench::start();
        let media = if v6 { bench.media6() } else { bench.media() };
        for kind in ["prohibit", "blackhole", "unreachable"] {
            bench.ip(&format!("route add {kind} {destination}"));
            media.stops();
            bench.ip(&format!("route del {kind} {destination}"));
            media.flows();
        }
        assert!(media.end(&["no_route"], 0) >= 150);
    }
}

#[test]
fn rules_that_choose_another_table_are_followed() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("route add unreachable default table 100");
    bench.ip("rule add from 10.78.2.1 lookup 100 priority 10");
    media.stops();
    media.is_dropped_as("no_route");
    bench.ip("rule del priority 10");
    media.flows();
}

#[test]
fn ipv6_destinations_are_found_behind_neighbours_and_routers() {
    let bench = Bench::start();
    let route = |destination: &str| bench.runtime.block_on(bench.relay.route(destination.parse().unwrap()));
    let near = route("fd78:2::2").unwrap();
    assert_eq!((near.interface.as_str(), near.gateway), ("viewer", None));
    assert_eq!(near.source, std::net::IpAddr::V6(Topology::VIEWER.relay6));

    bench.ip("-6 route add 2001:db8:1::/48 via fd78:1::2");
    let far = route("2001:db8:1::9").unwrap();
    assert_eq!((far.interface.as_str(), far.gateway), ("camera", Some("fd78:1::2".parse().unwrap())));

    // Routers speak from link-local addresses, and IPv4 may go by one, too (RFC 5549).
    bench.ip("-6 route add 2001:db8:2::/48 via fe80::77 dev viewer");
    let router = Some("fe80::77".parse().unwrap());
    assert_eq!(route("2001:db8:2::9").unwrap().gateway, router);
    bench.ip("route add 192.0.2.0/24 via inet6 fe80::77 dev viewer");
    let mixed = route("192.0.2.9").unwrap();
    assert_eq!((mixed.interface.as_str(), mixed.gateway), ("viewer", router));

    let refused = |destination: &str| route(destination).unwrap_err().to_string();
    assert!(refused("2001:db8:3::9").contains("no route to 2001:db8:3::9"), "{}", refused("2001:db8:3::9"));
    assert!(refused("fd78:1::1").contains("is an address of this machine"), "{}", refused("fd78:1::1"));
}

#[test]
fn answers_are_remembered_until_routes_change() {
    let bench = Bench::start();
    let gateway = || {
        bench.runtime.block_on(bench.relay.route(Ipv4Addr::new(192, 0, 2, 9).into())).map(|way| way.gateway)
    };
    assert!(gateway().is_err());
    bench.ip("route add 192.0.2.0/24 via 10.78.2.2");
    let wait_for = |expected: Option<std::net::IpAddr>| {
        let deadline = Instant::now() + PATIENCE;
        while gateway().ok().flatten() != expected {
            assert!(Instant::now() < deadline, "{:?}", gateway());
        }
    };
    wait_for(Some(Ipv4Addr::new(10, 78, 2, 2).into()));
    bench.ip("route replace 192.0.2.0/24 via 10.78.1.2");
    wait_for(Some(Ipv4Addr::new(10, 78, 1, 2).into()));
    bench.ip("route del 192.0.2.0/24");
    wait_for(None);
}

#[test]
fn addresses_are_ours_as_long_as_an_interface_has_them() {
    let bench = Bench::start();
    let media = bench.media();
    bench.topology.camera.ip(&["address", "add", "10.78.2.50/32", "dev", "lo"]).unwrap();
    let stranger = socket(&bench.topology.camera, SocketAddr::from(([10, 78, 2, 50], 5000)));
    let counted_as = |reason: &str| {
        let before = media.dropped(&[reason]);
        let deadline = Instant::now() + PATIENCE;
        while media.dropped(&[reason]) == before {
            stranger.send_to(&rtp(1, b"media"), (Topology::CAMERA.relay, LEG_PORT)).unwrap();
            assert!(Instant::now() < deadline, "not {reason}: {:?}", media.statistics());
            thread::sleep(Duration::from_millis(5));
        }
    };
    counted_as("source_mismatch");
    bench.ip("address add 10.78.2.50/24 dev viewer");
    counted_as("looped");
    bench.ip("address del 10.78.2.50/24 dev viewer");
    counted_as("source_mismatch");
}
