//! State that another instance uses, that is half there, or that belongs to somebody else.

use std::fs;

use testbed::Topology;

use crate::support::*;

fn wires() -> Topology {
    Topology::create().expect("this test takes root")
}

#[test]
fn a_second_instance_with_the_same_state_is_told_who_has_it() {
    let (topology, state) = (wires(), State::mount());
    let first = Holder::start(&topology, &state.folder(), 64);
    let refusal = Holder::try_start(&topology, &state.folder(), 64).err().unwrap();
    assert!(
        refusal.contains("InUse") && refusal.contains(&format!("process {} (`hold`)", first.id())),
        "{refusal}"
    );
}

#[test]
fn a_second_instance_with_other_state_cannot_take_the_same_interface() {
    let (topology, state) = (wires(), State::mount());
    let mut first = Holder::start(&topology, &state.folder(), 64);
    first.call();
    let refusal = Holder::try_start(&topology, &state.other_folder(), 64).err().unwrap();
    assert!(refusal.contains(&format!("Busy({:?})", Topology::CAMERA.device)), "{refusal}");
    assert!(!state.other_folder().join("v1/links").exists(), "nothing is left of the second");
    assert_eq!(first.legs().len(), 2);
}

#[test]
fn what_a_process_left_half_made_is_made_anew() {
    let (topology, state) = (wires(), State::mount());
    Holder::start(&topology, &state.folder(), 64).kill();
    // As if it had been killed before it had written anything down.
    fs::remove_file(state.folder().join("v1/HEADER")).unwrap();
    fs::remove_file(state.folder().join("v1/maps/LEGS")).unwrap();
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 0);
    holder.call();
    let media = Media::start(&topology);
    media.flows(1_000);
    assert_eq!(media.stop().1, []);
}

#[test]
fn what_a_newer_version_left_is_not_touched() {
    let (topology, state) = (wires(), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    holder.end("leave");
    fs::rename(state.folder().join("v1"), state.folder().join("v999")).unwrap();
    let pins = state.pins();
    let refusal = Holder::try_start(&topology, &state.folder(), 64).err().unwrap();
    assert!(refusal.contains("Newer") && refusal.contains("found: 999"), "{refusal}");
    assert_eq!(state.pins(), pins);
}

#[test]
fn another_network_namespace_has_state_of_its_own() {
    let (topology, elsewhere, state) = (wires(), wires(), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    holder.end("leave");
    let refusal = Holder::try_start(&elsewhere, &state.folder(), 64).err().unwrap();
    assert!(refusal.contains("OtherNetwork"), "{refusal}");
    // With the namespace, everything that the state was for is gone.
    drop(topology);
    wait_until("the state is free", || {
        let started = Holder::try_start(&elsewhere, &state.folder(), 64);
        started.is_ok_and(|holder| holder.adopted == 0)
    });
}

#[test]
fn an_interface_that_went_and_came_back_runs_the_program_again() {
    let (topology, state) = (wires(), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    holder.kill();
    topology.relay.ip(&["link", "delete", Topology::VIEWER.device]).unwrap();
    testbed::connect(&topology.relay, Topology::VIEWER.device, &topology.viewer, Topology::TERMINAL_DEVICE)
        .unwrap();
    let address = |address: std::net::Ipv4Addr| format!("{address}/24");
    let (ours, theirs) = (address(Topology::VIEWER.relay), address(Topology::VIEWER.terminal));
    topology.relay.ip(&["address", "add", &ours, "dev", Topology::VIEWER.device]).unwrap();
    topology.viewer.ip(&["address", "add", &theirs, "dev", Topology::TERMINAL_DEVICE]).unwrap();
    topology.viewer.ip(&["route", "add", "default", "via", &Topology::VIEWER.relay.to_string()]).unwrap();

    let holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 2, "the legs are still there");
    let media = Media::start(&topology);
    media.flows(1_000);
    drop(holder);
    media.stop();
}
