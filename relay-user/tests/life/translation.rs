//! RTCP beside a retagged stream is translated by the next process as it was by the one before.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use relay_common::rtcp::{SenderInfo, Writer};
use relay_user::{LegSpec, MediaKind, ModeChoice, Options, Plan, Relay, RetagSpec, StreamSpec};
use testbed::{Namespace, Topology};
use tokio::runtime::Runtime;

use crate::support::{PATIENCE, State, wait_until};

const SSRC: u32 = 7;
const SSRC_OUT: u32 = 0x9999_0001;

/// A relay with this state, and the runtime that it works on.
fn start(topology: &Topology, state: &Path) -> (Relay, Runtime) {
    let options = Options {
        interfaces: vec![Topology::CAMERA.device.into(), Topology::VIEWER.device.into()],
        mode: ModeChoice::Native,
        state: Some(state.to_owned()),
        legs: 64,
        ..Options::default()
    };
    let start = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        (runtime.block_on(Relay::start(&options)).unwrap(), runtime)
    };
    topology.relay.run(start).unwrap()
}

fn socket(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn sender_report(ssrc: u32) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    writer.sender_report(ssrc, &SenderInfo::default(), &[]).unwrap();
    writer.finish().to_vec()
}

#[test]
fn what_was_translated_is_translated_by_the_successor() {
    let (state, topology) = (State::mount(), Topology::create().unwrap());
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let [at, from]: [SocketAddr; 2] = [(camera.relay, 30_000).into(), (camera.terminal, 5_004).into()];
    let [out, to]: [SocketAddr; 2] = [(viewer.relay, 30_002).into(), (viewer.terminal, 6_004).into()];
    let muxed = |local, remote| LegSpec::new(local).remote(remote).media(MediaKind::Muxed);
    let plan = Plan {
        legs: vec![muxed(at, from), muxed(out, to).retag(RetagSpec::default().ssrc(SSRC_OUT))],
        streams: vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }],
    };
    let (camera, viewer) = (socket(&topology.camera, from), socket(&topology.viewer, to));
    let translates = |relay: &Relay| {
        camera.send_to(&sender_report(SSRC), at).unwrap();
        let mut buffer = [0; 256];
        let length = viewer.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], sender_report(SSRC_OUT));
        wait_until("it is counted", || relay.rtcp_counters().translated == 1);
    };

    let (relay, runtime) = start(&topology, &state.folder());
    runtime.block_on(relay.install(&plan)).unwrap();
    translates(&relay);
    relay.leave();
    drop((relay, runtime));
    let (relay, _runtime) = start(&topology, &state.folder());
    assert_eq!(relay.adopted().len(), 2);
    translates(&relay);
    relay.stop().unwrap();
}
