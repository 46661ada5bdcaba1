//! What the data plane refuses, in which words, and that nothing is left behind.

use std::net::SocketAddr;

use relay_user::{
    AttachError, Continuity, InstallError, LegSpec, MediaKind, ModeChoice, Options, Plan, RateLimit, Relay,
    RetagSpec, RouteError, RtcpMode, Sharing, SourcePolicy, StartError, Tag, Tags,
};
use testbed::{Namespace, Topology};

use crate::support::*;

fn start_in(namespace: &Namespace, interfaces: &[&str]) -> Result<(), StartError> {
    let interfaces = interfaces.iter().map(ToString::to_string).collect();
    let start = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(Relay::start(&Options {
                interfaces,
                mode: ModeChoice::Auto,
                legs: 16,
                ..Options::default()
            }))
            .map(|_| ())
    };
    namespace.run(start).unwrap()
}

fn attached(namespace: &Namespace) -> bool {
    let output = namespace.command("ip").args(["link"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("prog/xdp")
}

impl Bench {
    fn refuse(&self, camera: LegSpec, viewer: LegSpec) -> InstallError {
        let before = self.relay.occupancy();
        let error = self.runtime.block_on(self.relay.install(&call(camera, viewer))).unwrap_err();
        assert_eq!(self.relay.occupancy(), before, "something of a refused plan is left: {error}");
        error
    }
}

fn towards(remote: &str) -> LegSpec {
    LegSpec { remote: Some(remote.parse().unwrap()), ..viewer_leg(SourcePolicy::Learn) }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let topology = Topology::create().unwrap();
    let error = start_in(&topology.relay, &[Topology::CAMERA.device, "eth7"]).unwrap_err();
    assert!(matches!(&error, StartError::Attach(AttachError::Missing(name)) if name == "eth7"), "{error}");
    assert!(error.to_string().contains("ip -brief link"), "{error}");
    assert!(!attached(&topology.relay), "the first interface keeps a program");
}

#[test]
fn an_interface_that_runs_another_program_is_named() {
    let bench = Bench::start();
    let error = start_in(&bench.topology.relay, &[Topology::CAMERA.device]).unwrap_err();
    assert!(
        matches!(&error, StartError::Attach(AttachError::Busy(name)) if name == Topology::CAMERA.device),
        "{error}"
    );
}

#[test]
fn the_loopback_device_and_no_device_are_refused() {
    let topology = Topology::create().unwrap();
    assert!(matches!(start_in(&topology.relay, &[]), Err(StartError::NoInterface)));
    // Its frames have an Ethernet header, but its neighbours are nowhere.
    let error = start_in(&topology.relay, &["lo"]).unwrap_err();
    assert!(matches!(&error, StartError::NotEthernet(name) if name == "lo"), "{error}");
    assert!(!attached(&topology.relay));
}

#[test]
fn dropping_the_relay_takes_the_program_off() {
    let Bench { relay, runtime, topology } = Bench::start();
    assert!(attached(&topology.relay));
    drop(relay);
    drop(runtime);
    assert!(!attached(&topology.relay));
}

#[test]
fn a_destination_without_a_route_is_refused() {
    let bench = Bench::start();
    let error = bench.refuse(camera_leg(SourcePolicy::Learn), towards("203.0.113.9:4000"));
    assert!(matches!(&error, InstallError::Route(RouteError::None { .. })), "{error}");
    assert!(error.to_string().contains("no route to 203.0.113.9"), "{error}");
}

#[test]
fn a_destination_on_this_machine_is_refused() {
    let bench = Bench::start();
    let error = bench.refuse(camera_leg(SourcePolicy::Learn), towards("10.78.1.1:4000"));
    assert!(matches!(&error, InstallError::Route(RouteError::Local { .. })), "{error}");
}

#[test]
fn a_destination_behind_another_device_is_refused() {
    let bench = Bench::start();
    bench.topology.relay.ip(&["link", "add", "other", "type", "veth", "peer", "name", "rehto"]).unwrap();
    bench.topology.relay.ip(&["address", "add", "10.79.0.1/24", "dev", "other"]).unwrap();
    bench.topology.relay.ip(&["link", "set", "other", "up"]).unwrap();
    let error = bench.refuse(camera_leg(SourcePolicy::Learn), towards("10.79.0.2:4000"));
    assert!(error.to_string().contains("`other`, which is not among the relay's interfaces"), "{error}");
}

#[test]
fn an_address_in_use_is_refused() {
    let bench = Bench::start();
    let legs = bench.call(camera_leg(SourcePolicy::Learn), viewer_leg(SourcePolicy::Learn));
    let other: SocketAddr = "10.78.2.1:31000".parse().unwrap();
    let error = bench
        .refuse(LegSpec { local: other, ..camera_leg(SourcePolicy::Learn) }, viewer_leg(SourcePolicy::Learn));
    assert!(
        matches!(error, InstallError::Taken(taken) if taken == viewer_leg(SourcePolicy::Learn).local),
        "{error}"
    );
    // The same address twice in one plan.
    let twice = LegSpec { local: other, ..camera_leg(SourcePolicy::Learn) };
    assert!(matches!(bench.refuse(twice.clone(), twice), InstallError::Taken(_)));
    // Both are free again afterwards.
    bench.relay.remove(&legs);
    bench.call(LegSpec { local: other, ..camera_leg(SourcePolicy::Learn) }, viewer_leg(SourcePolicy::Learn));
}

#[test]
fn a_full_table_refuses_and_recovers() {
    let bench = Bench::start();
    let (_, free) = bench.relay.occupancy();
    let leg = |port: usize| LegSpec {
        local: SocketAddr::new(Topology::CAMERA.relay.into(), 32000 + u16::try_from(port).unwrap()),
        ..camera_leg(SourcePolicy::Learn)
    };
    let plan = |count: usize| Plan { legs: (0..count).map(leg).collect(), streams: vec![] };
    let error = bench.runtime.block_on(bench.relay.install(&plan(free + 1))).unwrap_err();
    assert!(error.to_string().contains("all 64 legs are in use"), "{error}");
    assert_eq!(bench.relay.occupancy(), (0, free));
    // Slots rest a moment after use.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let legs = bench.runtime.block_on(bench.relay.install(&plan(free))).unwrap();
    assert_eq!(bench.relay.occupancy(), (free, 0));
    bench.relay.remove(&legs);
    assert_eq!(bench.relay.occupancy(), (0, free));
}

#[test]
fn a_rule_that_contradicts_another_is_refused_with_its_plan() {
    let bench = Bench::start();
    let second = std::time::Duration::from_secs(1);
    let continuing = RetagSpec::default().continuity(Continuity::Continue);
    let viewer = || viewer_leg(SourcePolicy::Pinned);
    for (rule, wrong) in [
        ("limit", viewer().limit(RateLimit::bits(0))),
        ("retag", viewer().retag(RetagSpec::default().payload_type(96, 200))),
        ("retag", viewer().retag(continuing)),
        ("relearn_after", viewer().relearn_after(second)),
        ("quality", viewer().media(MediaKind::Rtcp).quality(true)),
        ("rtcp", viewer().rtcp(RtcpMode::Terminate)),
        ("vlan", viewer().vlan(Tags::one(Tag::vlan(5000)))),
        ("shared", viewer().shared(Sharing::BySsrc)),
    ] {
        let error = bench.refuse(camera_leg(SourcePolicy::Pinned), wrong);
        assert!(
            matches!(&error, InstallError::Rule { leg: 1, rule: named, .. } if *named == rule),
            "{error}"
        );
        assert!(error.to_string().starts_with("leg 1 of the plan"), "{error}");
    }
    // What was refused left nothing that would be in the way.
    bench.call(camera_leg(SourcePolicy::Pinned), viewer());
}

#[test]
fn both_sides_of_a_leg_are_of_one_family() {
    let bench = Bench::start();
    let remote = "[fd78:2::2]:6004".parse().unwrap();
    let error =
        bench.refuse(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned).remote(remote));
    assert!(matches!(&error, InstallError::Address { address, .. } if *address == remote), "{error}");
}

#[test]
fn a_leg_that_is_gone_is_no_other_leg() {
    let bench = Bench::start();
    let legs = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    bench.relay.remove(&legs);
    std::thread::sleep(std::time::Duration::from_millis(150));
    let again = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    assert!(legs.iter().all(|leg| !again.contains(leg)), "{legs:?} {again:?}");
    assert_eq!(bench.relay.statistics(legs[0]), None);
    let moved = bench.runtime.block_on(bench.relay.set_remote(legs[0], "10.78.1.2:9".parse().ok()));
    assert!(matches!(moved, Err(InstallError::Gone)));
    assert_eq!(bench.relay.remove(&legs), [Default::default(), Default::default()]);
    assert_eq!(bench.relay.occupancy().0, 2);
    assert_eq!(bench.relay.legs().iter().map(|(leg, _)| *leg).collect::<Vec<_>>(), again);
}

#[test]
fn sockets_refuse_by_name_what_only_xdp_can_do() {
    let bench = Bench::with_mode(ModeChoice::User);
    let tagged = viewer_leg(SourcePolicy::Pinned).vlan(Tags::one(Tag::vlan(7)));
    let plan = call(camera_leg(SourcePolicy::Pinned), tagged);
    let error = bench.runtime.block_on(bench.relay.install(&plan)).unwrap_err();
    let InstallError::NeedsXdp { local, .. } = &error else { panic!("{error}") };
    assert_eq!(*local, to_relay_from_viewer());
    assert!(error.to_string().contains("asks for VLAN tags"), "{error}");
    assert_eq!(bench.relay.occupancy().0, 0);

    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    assert!(bench.relay.punt_path().is_none());
    // What was refused harms nobody.
    let (camera, viewer) = (bench.camera_socket(CAMERA_PORT), bench.viewer_socket(VIEWER_PORT));
    camera.send_to(&rtp(1, 7), to_relay_from_camera()).unwrap();
    assert_eq!(receive(&viewer).0, rtp(1, 7));
}
