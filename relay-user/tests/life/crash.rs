//! The process is killed, or leaves, while media runs.

use testbed::Topology;

use crate::support::*;

#[test]
fn a_killed_process_and_its_successor_lose_no_packet_and_no_count() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 0);
    holder.call();
    let media = Media::start(&topology);
    media.flows(5_000);
    let before = holder.legs();
    assert!(before[0].forwarded >= 5_000 && !before[0].adopted, "{before:?}");

    holder.kill();
    media.flows(5_000);
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 2);
    media.flows(5_000);

    let (sent, wrong) = media.stop();
    assert_eq!(wrong, [], "of {sent}");
    let after = holder.legs();
    let locals: Vec<_> = after.iter().map(|leg| (leg.local, leg.owner, leg.adopted)).collect();
    assert_eq!(locals, [(camera_leg(), 7, true), (viewer_leg(), 7, true)]);
    assert_eq!((after[0].received, after[0].forwarded, after[0].dropped), (sent, sent, 0));
    assert_eq!(after[1].sent, sent);
}

#[test]
fn media_runs_on_while_processes_come_and_go() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    let media = Media::start(&topology);
    for _ in 0..3 {
        media.flows(2_000);
        holder.end("leave");
        holder = Holder::start(&topology, &state.folder(), 64);
        assert_eq!(holder.adopted, 2);
    }
    let (sent, wrong) = media.stop();
    assert_eq!(wrong, [], "of {sent}");
    assert_eq!(holder.legs()[0].forwarded, sent);
}

#[test]
fn what_devices_refuse_is_counted_while_no_process_owns_the_data_plane() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    let media = Media::start(&topology);
    media.flows(1_000);
    let _ = media.stop();
    // A veth takes no redirected frame when its far end has neither GRO nor a program.
    topology.viewer.offload(Topology::TERMINAL_DEVICE, &["gro", "off"]).unwrap();
    let send = |packets| {
        let from = topology.camera.run(|| std::net::UdpSocket::bind(camera()).unwrap()).unwrap();
        for _ in 0..packets {
            from.send_to(&[0x80; 40], camera_leg()).unwrap();
        }
    };
    let counted = |holder: &mut Holder, expected: u64| {
        wait_until(&format!("{expected} unsent frames"), || {
            let devices = holder.devices();
            let viewer = devices.iter().find(|line| line.starts_with(Topology::VIEWER.device)).unwrap();
            viewer.split(' ').next_back().unwrap().parse::<u64>().unwrap() == expected
        });
    };
    send(3);
    counted(&mut holder, 3);
    holder.kill();
    send(4);
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    counted(&mut holder, 7);
    send(5);
    // Two programs would count twice.
    counted(&mut holder, 12);
    holder.end("stop");
    assert_eq!(state.pins(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn nothing_stays_behind_when_the_data_plane_is_stopped() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    assert!(
        state
            .pins()
            .iter()
            .any(|pin| pin.ends_with("links/2-native") || pin.to_string_lossy().contains("links/"))
    );
    holder.end("stop");
    assert_eq!(state.pins(), [] as [std::path::PathBuf; 0]);
    assert!(!state.folder().exists());
    let holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 0);
}
