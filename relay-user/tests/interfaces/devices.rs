//! Devices that go down, come up, change, are renamed, or are deleted and made again.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use relay_user::InterfaceState;
use testbed::{Side, Topology, connect};

use crate::media::*;

/// The viewer's interface in the relay's list.
const VIEWER: usize = 1;

/// Why packets may be dropped while a device or the way through it is gone.
pub(crate) const AWAY: [&str; 3] = ["no_device", "no_route", "next_hop_unresolved"];

#[test]
fn media_resumes_when_the_device_towards_the_receiver_comes_up_again() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("link set viewer down");
    media.stops();
    bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Down);
    media.is_dropped_as("no_route");
    bench.ip("link set viewer up");
    media.flows();
    bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Up);
    assert!(media.end(&AWAY, 16) >= 50);
}

#[test]
fn media_resumes_when_the_device_towards_the_sender_comes_up_again() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("link set camera down");
    media.stops();
    bench.ip("link set camera up");
    media.flows();
}

#[test]
fn media_resumes_when_the_far_end_is_plugged_in_again() {
    let bench = Bench::start();
    let media = bench.media();
    let viewer = &bench.topology.viewer;
    viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "down"]).unwrap();
    media.stops();
    bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Down);
    media.is_dropped_as("no_device");
    viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "up"]).unwrap();
    media.flows();
    media.end(&AWAY, 16);
}

#[test]
fn media_flows_on_when_a_device_is_renamed() {
    let bench = Bench::start();
    let media = bench.media();
    let index = bench.interface(VIEWER).index;
    bench.ip("link set viewer name wan0");
    bench.interface_when(VIEWER, |interface| interface.name == "wan0");
    assert_eq!(bench.interface(VIEWER).index, index);
    media.flows();
    assert_eq!(media.end(&[], 0), 0, "renaming loses no packet");
    assert_eq!(
        bench.runtime.block_on(bench.relay.route(Topology::VIEWER.terminal.into())).unwrap().interface,
        "wan0"
    );
}

#[test]
fn media_resumes_when_the_device_towards_the_receiver_is_deleted_and_made_again() {
    let bench = Bench::start();
    let media = bench.media();
    for _ in 0..2 {
        bench.ip("link delete viewer");
        media.stops();
        bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Gone);
        let old = bench.interface(VIEWER);
        make_again(&bench, Topology::VIEWER);
        bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Up);
        assert_ne!(bench.interface(VIEWER).index, old.index);
        assert_eq!(bench.interface(VIEWER).reason, "the driver supports it");
        media.flows();
    }
    media.end(&AWAY, 32);
}

#[test]
fn ipv6_media_resumes_when_the_device_towards_the_receiver_goes_and_comes() {
    let bench = Bench::start();
    let media = bench.media6();
    bench.topology.relay.sysctl("net/ipv6/conf/viewer/keep_addr_on_down", "1").unwrap();
    bench.ip("link set viewer down");
    media.stops();
    bench.ip("link set viewer up");
    media.flows();
    bench.ip("link delete viewer");
    media.stops();
    make_again(&bench, Topology::VIEWER);
    media.flows();
    assert!(media.end(&AWAY, 32) >= 100);
}

#[test]
fn media_resumes_when_the_device_towards_the_sender_is_deleted_and_made_again() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("link delete camera");
    media.stops();
    make_again(&bench, Topology::CAMERA);
    // The program runs on the new device: nothing else would forward.
    media.flows();
}

#[test]
fn a_device_that_takes_the_name_of_a_renamed_one_is_another() {
    let bench = Bench::start();
    let media = bench.media();
    bench.ip("link set viewer name wan0");
    bench.ip("link add viewer type veth peer name other");
    bench.interface_when(VIEWER, |interface| interface.name == "wan0");
    media.flows();
    // And when the renamed one is gone, what is made again under its new name takes its place.
    bench.ip("link delete viewer");
    bench.ip("link delete wan0");
    bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Gone);
    make_again(&bench, Side { device: "wan0", ..Topology::VIEWER });
    bench.interface_when(VIEWER, |interface| interface.state == InterfaceState::Up);
    media.flows();
}

#[test]
fn packets_that_a_smaller_device_does_not_take_are_counted_until_it_is_large_again() {
    let bench = Bench::start();
    let media = bench.media();
    media.never_fragment();
    media.size.store(1000, Ordering::Relaxed);
    media.flows();
    bench.ip("link set viewer mtu 900");
    media.stops();
    media.is_dropped_as("too_big");
    bench.ip("link set viewer mtu 1500");
    media.flows();
    // Between the change and our hearing of it, the device itself refuses them.
    assert!(media.end(&["too_big"], 0) >= 50);
}

#[test]
fn a_sender_that_hears_of_a_smaller_device_sends_on_in_fragments() {
    let bench = Bench::start();
    let media = bench.media();
    media.size.store(1000, Ordering::Relaxed);
    media.flows();
    bench.ip("link set viewer mtu 900");
    media.is_dropped_as("too_big");
    media.flows();
    assert!(media.statistics().paths.user >= 50, "by the kernel path: {:?}", media.statistics());
    media.end(&["too_big"], 0);
}

/// The wire of a side, made again as the topology made it.
pub(crate) fn make_again(bench: &Bench, side: Side) {
    let topology = &bench.topology;
    let terminal =
        if side.terminal == Topology::VIEWER.terminal { &topology.viewer } else { &topology.camera };
    connect(&topology.relay, side.device, terminal, Topology::TERMINAL_DEVICE).unwrap();
    bench.ip(&format!("address add {}/24 dev {}", side.relay, side.device));
    bench.ip(&format!("address add {}/64 dev {}", side.relay6, side.device));
    for address in [format!("{}/24", side.terminal), format!("{}/64", side.terminal6)] {
        terminal.ip(&["address", "add", &address, "dev", Topology::TERMINAL_DEVICE]).unwrap();
    }
    terminal.ip(&["route", "add", "default", "via", &side.relay.to_string()]).unwrap();
    terminal.ip(&["-6", "route", "add", "default", "via", &side.relay6.to_string()]).unwrap();
}

#[test]
fn media_resumes_when_the_program_was_on_several_devices_and_one_of_them_went() {
    let topology = Topology::create().unwrap();
    topology.relay.ip(&["link", "add", "third", "type", "veth", "peer", "name", "driht"]).unwrap();
    let bench = Bench::on(topology, &["third"]);
    let media = bench.media();
    bench.ip("link delete third");
    bench.interface_when(2, |interface| interface.state == InterfaceState::Gone);
    media.flows();
    assert_eq!(media.end(&[], 0), 0, "the others are untouched");
    let leg = SocketAddr::new(Topology::CAMERA.relay.into(), LEG_PORT);
    assert!(
        bench.relay.interfaces().iter().take(2).all(|interface| interface.state == InterfaceState::Up),
        "{leg}"
    );
}
