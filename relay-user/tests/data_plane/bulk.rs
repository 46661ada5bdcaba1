//! Many legs at once: how long it takes, what is left of a plan that is refused, and how much memory legs take.

use std::time::Duration;

use relay_user::{InstallError, LegSpec, Plan, RetagSpec, SourcePolicy, StreamSpec};
use rustix::time::{ClockId, clock_gettime};
use testbed::Topology;

use crate::support::*;

/// Calls between camera and viewer, each with ports of its own.
fn calls(count: u16) -> Plan {
    let mut plan = Plan::default();
    for call in 0..count {
        let leg = |side: testbed::Side, first: u16| {
            LegSpec::new((side.relay, 10_000 + call).into()).remote((side.terminal, first + call).into())
        };
        let ingress = plan.legs.len();
        plan.legs.extend([leg(Topology::CAMERA, 10_000), leg(Topology::VIEWER, 20_000)]);
        plan.streams.push(StreamSpec { ingress, egress: ingress + 1 });
        plan.streams.push(StreamSpec { ingress: ingress + 1, egress: ingress });
    }
    plan
}

/// What the process has cost so far: what else the machine does meanwhile is no part of it.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn a_plan_of_40_000_legs_is_installed_and_removed_in_time_that_grows_with_it_alone() {
    let bench = Bench::with_room(40_000);
    let install = |calls_wanted| {
        let plan = calls(calls_wanted);
        let start = processor_time();
        let legs = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
        let installed = processor_time() - start;
        let start = processor_time();
        assert_eq!(bench.relay.remove(&legs).len(), legs.len());
        let removed = processor_time() - start;
        assert_eq!(bench.relay.occupancy().0, 0);
        std::thread::sleep(Duration::from_millis(150));
        (installed, removed)
    };
    install(100);
    let [small, large] = [2_000, 20_000].map(install);
    // Ten times as many legs; a hundred times as long would be a square.
    for (small, large) in [(small.0, large.0), (small.1, large.1)] {
        assert!(large < small * 50, "{small:?} {large:?}");
        assert!(large < Duration::from_secs(5), "even without optimisation: {large:?}");
    }

    let legs = bench.runtime.block_on(bench.relay.install(&calls(20_000))).unwrap();
    for call in [0_u16, 1, 9_999, 19_999] {
        let camera = bench.camera_socket(10_000 + call);
        let viewer = bench.viewer_socket(20_000 + call);
        camera.send_to(&rtp(call, 7), (Topology::CAMERA.relay, 10_000 + call)).unwrap();
        assert_eq!(receive(&viewer), (rtp(call, 7), (Topology::VIEWER.relay, 10_000 + call).into()));
        assert_eq!(bench.relay.statistics(legs[2 * usize::from(call)]).unwrap().forwarded, 1);
    }
}

#[test]
fn of_a_large_plan_that_is_refused_nothing_is_left() {
    let bench = Bench::with_room(4_000);
    let taken = bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    let mut plan = calls(1_500);
    // What is wrong comes last: every leg before was reserved by then.
    plan.legs.push(camera_leg(SourcePolicy::Pinned));
    let error = bench.runtime.block_on(bench.relay.install(&plan)).unwrap_err();
    assert!(matches!(error, InstallError::Taken(address) if address == to_relay_from_camera()), "{error}");
    assert_eq!(bench.relay.occupancy(), (2, 3_998));
    bench.relay.remove(&taken);
    std::thread::sleep(Duration::from_millis(150));
    bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
}

#[test]
fn different_maps_of_payload_types_are_bounded_and_shared_ones_are_not() {
    let bench = Bench::with_room(3_000);
    let mut plan = calls(1_100);
    let map = |from: u16, to: u16| {
        let [from, to] = [from, to].map(|payload_type| u8::try_from(payload_type).unwrap());
        RetagSpec::default().payload_type(from, to)
    };
    for (call, leg) in (0..).zip(plan.legs.iter_mut().skip(1).step_by(2)) {
        leg.retag = Some(map(call % 128, 127 - call / 128));
    }
    let error = bench.runtime.block_on(bench.relay.install(&plan)).unwrap_err();
    assert!(matches!(error, InstallError::PayloadMapsFull(1_023)), "{error}");
    assert_eq!(bench.relay.occupancy().0, 0);
    for leg in plan.legs.iter_mut().skip(1).step_by(2) {
        leg.retag = Some(map(96, 97));
    }
    std::thread::sleep(Duration::from_millis(150));
    bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
}

#[test]
fn the_kernel_takes_as_much_memory_as_the_relay_says() {
    // So many that no other relay on this machine has maps of this size.
    const LEGS: u32 = 4_321;
    let bench = Bench::with_room(LEGS);
    let cpus = u32::try_from(aya::util::nr_cpus().unwrap()).unwrap();
    let slots = LEGS + 1;
    let of_legs = aya::maps::loaded_maps().filter_map(Result::ok).filter(|map| {
        let entries = map.max_entries();
        // One for each leg, or one for each leg and CPU and one more.
        entries == slots || entries == slots * (cpus + 1)
    });
    let found: u64 = of_legs
        .map(|map| u64::from(map.max_entries()) * u64::from(map.value_size().next_multiple_of(8)))
        .sum();
    let said = u64::try_from(bench.relay.memory().kernel_per_leg).unwrap() * u64::from(slots);
    assert_eq!(found, said);
}
