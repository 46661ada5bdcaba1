//! Frames that the program sends on, and that the egress device does not take: each is counted on its device.

use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use relay_user::{DeviceCounters, SourcePolicy};
use testbed::{Frames, Topology};

use crate::support::*;

/// The counters of the viewer's device, once they are as wanted; as they are, if that does not happen.
fn when(bench: &Bench, wanted: impl Fn(&DeviceCounters) -> bool) -> DeviceCounters {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = viewer_device(bench);
        if wanted(&now) || Instant::now() > deadline {
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn viewer_device(bench: &Bench) -> DeviceCounters {
    let counters = bench.relay.device_counters();
    assert_eq!(counters.len(), 2);
    counters.into_iter().find(|device| device.name == Topology::VIEWER.device).unwrap()
}

#[test]
fn a_frame_that_a_ring_refuses_is_counted_on_its_device() {
    // Nobody tells the relay that the far end of the wire is down.
    let bench = Bench::unattended();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    receive(&viewer);
    let before = viewer_device(&bench);
    assert_eq!((before.refused, before.unsent), (0, 0));

    bench.topology.viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "down"]).unwrap();
    for sequence in 2..7 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        let so_far = u64::from(sequence) - 1;
        let after = when(&bench, |device| device.refused == so_far);
        assert_eq!((after.refused, after.unsent), (so_far, 0));
    }
    let other = bench.relay.device_counters().into_iter().find(|device| device.name != before.name).unwrap();
    assert_eq!((other.refused, other.unsent), (0, 0), "the other device refused nothing");
}

#[test]
fn a_device_that_takes_no_redirected_frames_is_counted_too() {
    let bench = Bench::start();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    // A veth whose far end has neither GRO nor a program.
    bench.topology.viewer.offload(Topology::TERMINAL_DEVICE, &["gro", "off"]).unwrap();
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    let after = when(&bench, |device| device.unsent > 0);
    assert_eq!((after.refused, after.unsent), (0, 1));
}

#[test]
fn a_frame_that_never_reaches_the_ring_is_counted_too() {
    let bench = Bench::start();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    for (namespace, device) in [
        (&bench.topology.camera, Topology::TERMINAL_DEVICE),
        (&bench.topology.relay, Topology::CAMERA.device),
    ] {
        namespace.ip(&["link", "set", device, "mtu", "3000"]).unwrap();
    }
    // The packet would fit, but its frame is padded beyond what the viewer's device takes.
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(Topology::CAMERA.terminal.octets(), Topology::CAMERA.relay.octets(), 64)
        .udp(CAMERA_PORT, CAMERA_LEG)
        .write(&mut frame, &rtp(1, 7))
        .unwrap();
    frame.resize(2000, 0);
    Frames::on(&bench.topology.camera, Topology::TERMINAL_DEVICE).unwrap().send(&frame).unwrap();
    let after = when(&bench, |device| device.unsent > 0);
    assert_eq!((after.refused, after.unsent), (0, 1));
}
