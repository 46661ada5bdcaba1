//! Packets that user space sends on, while the devices that they come from and leave by go down and come up: nothing that a
//! worker holds is lost for ever, so that media flows again however often that happens.

use testbed::Topology;

use crate::devices::{AWAY, make_again};
use crate::media::*;

/// How often a device goes and comes.
const TIMES: usize = 4;
/// What a worker and its rings, and the wire, may hold when a device goes.
const IN_FLIGHT: u64 = 2 * PUNT_FRAMES as u64;

/// Why packets may be dropped meanwhile: user space finds the device's ring full before the kernel says that it is down.
fn away() -> Vec<&'static str> {
    AWAY.into_iter().chain(["egress_full"]).collect()
}

/// More packets than there are frames have gone through since.
fn frames_are_all_there(bench: &Bench, media: &Media<'_>) {
    let before = bench.punts().sent;
    while bench.punts().sent < before + 3 * u64::from(PUNT_FRAMES) {
        media.flows();
    }
}

#[test]
fn a_device_towards_the_receiver_goes_down_and_comes_up_again_and_again() {
    let bench = Bench::punting();
    let media = bench.media();
    for _ in 0..TIMES {
        bench.ip("link set viewer down");
        media.stops();
        bench.ip("link set viewer up");
        media.flows();
    }
    frames_are_all_there(&bench, &media);
    media.end(&away(), IN_FLIGHT);
}

#[test]
fn the_far_end_is_unplugged_and_plugged_in_again_and_again() {
    let bench = Bench::punting();
    let media = bench.media();
    for _ in 0..TIMES {
        for state in ["down", "up"] {
            bench.topology.viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, state]).unwrap();
            if state == "down" { media.stops() } else { media.flows() }
        }
    }
    frames_are_all_there(&bench, &media);
    media.end(&away(), IN_FLIGHT);
}

#[test]
fn a_device_towards_the_sender_goes_down_and_comes_up_again_and_again() {
    let bench = Bench::punting();
    let media = bench.media();
    for _ in 0..TIMES {
        bench.ip("link set camera down");
        media.stops();
        bench.ip("link set camera up");
        media.flows();
    }
    frames_are_all_there(&bench, &media);
}

#[test]
fn devices_are_deleted_and_made_again() {
    let bench = Bench::punting();
    let media = bench.media();
    for side in [Topology::VIEWER, Topology::CAMERA, Topology::VIEWER] {
        bench.ip(&format!("link delete {}", side.device));
        media.stops();
        make_again(&bench, side);
        media.flows();
    }
    frames_are_all_there(&bench, &media);
}
