//! A camera that strangers wrote (the crate gb28181-rs) with our platform: the real binary, network namespaces.
//!
//! Takes root, iproute2 and ethtool.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::net::{IpAddr, SocketAddr};

use control::admin::CatalogState;
use gb28181_rs::config::Transport;
use support::camera::{CAMERA, CHANNEL, Camera};
use support::device::platform;
use support::gateway::Gateway;
use testbed::Topology;

fn registers_and_tells_what_it_is(transport: Transport) {
    let topology = Topology::create().unwrap();
    let listen = SocketAddr::new(IpAddr::V4(Topology::CAMERA.relay), 5060);
    let gateway = Gateway::start(Some(&topology.relay), &platform(listen, ""));
    let camera = Camera::start(&topology, listen, transport);
    let device = gateway.wait_for_device(CAMERA, |device| {
        device.online && device.catalog == CatalogState::Complete && device.keepalives > 1
    });
    assert_eq!((device.model.as_str(), device.version.as_deref()), ("Model of strangers", Some("3.0")));
    assert!(device.address.contains(&Topology::CAMERA.terminal.to_string()), "{device:?}");
    let channels = gateway.channels(CAMERA);
    let channel = channels.iter().find(|channel| channel.id.as_str() == CHANNEL);
    assert_eq!(
        channel.map(|channel| (channel.name.as_str(), channel.on)),
        Some(("大门 B&B", Some(true))),
        "{channels:?}"
    );
    camera.leave();
    gateway.wait_for_device(CAMERA, |device| !device.online && device.expires_in_seconds.is_none());
}

#[test]
fn camera_of_strangers_registers_over_udp_tells_its_catalogue_lives_and_leaves() {
    registers_and_tells_what_it_is(Transport::Udp);
}

#[test]
fn camera_of_strangers_registers_over_tcp_tells_its_catalogue_lives_and_leaves() {
    registers_and_tells_what_it_is(Transport::TcpOut);
}
