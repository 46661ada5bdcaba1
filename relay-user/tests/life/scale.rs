//! Many legs outlive their process, too.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use relay_user::{LegSpec, Options, Plan, Relay, StreamSpec};
use rustix::time::{ClockId, clock_gettime};
use testbed::Topology;

use crate::support::State;

const LEGS: u32 = 100_000;
/// Ports of one address.
const PORTS: u32 = 25_000;
/// Of processor time: what else the machine does meanwhile is no part of it. What is promised holds for what is shipped; code
/// that is not optimised takes ten times as long.
const BAR: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

#[test]
fn a_hundred_thousand_legs_are_adopted_at_once() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    for address in addresses() {
        topology.relay.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]).unwrap();
    }
    topology.relay.run(|| install_and_adopt(&state.folder())).unwrap();
}

fn install_and_adopt(state: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let interfaces = vec![Topology::CAMERA.device.to_owned(), Topology::VIEWER.device.to_owned()];
    let options = Options { interfaces, legs: LEGS, state: Some(state.to_owned()), ..Options::default() };
    runtime.block_on(async {
        let relay = Relay::start(&options).await.unwrap();
        let camera = SocketAddr::from((Topology::CAMERA.terminal, 5004));
        let legs: Vec<LegSpec> =
            locals().zip(0..).map(|(local, owner)| LegSpec::new(local).remote(camera).owner(owner)).collect();
        let pair = |first| [(first, first + 1), (first + 1, first)];
        let streams = (0..LEGS as usize).step_by(2).flat_map(pair);
        let streams = streams.map(|(ingress, egress)| StreamSpec { ingress, egress }).collect();
        relay.install(&Plan { legs, streams }).await.unwrap();
        relay.leave();
        drop(relay);

        let (start, cost) = (Instant::now(), processor_time());
        let relay = Relay::start(&options).await.unwrap();
        println!("adopt_100k_s {:.3}", start.elapsed().as_secs_f64());
        let cost = processor_time() - cost;
        assert_eq!(relay.occupancy().0, LEGS as usize);
        let mut owners: Vec<u64> = relay.adopted().into_iter().map(|(_, leg)| leg.owner).collect();
        owners.sort_unstable();
        assert!(owners.into_iter().eq(0..u64::from(LEGS)));
        assert!(cost < BAR, "{cost:?}");
        relay.stop().unwrap();
    });
}

/// What the process has cost so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn addresses() -> impl Iterator<Item = String> {
    (0..LEGS / PORTS).map(|number| format!("10.79.0.{}", number + 1))
}

fn locals() -> impl Iterator<Item = SocketAddr> {
    addresses().flat_map(|address| {
        (0..PORTS).map(move |port| format!("{address}:{}", 20_000 + port).parse().unwrap())
    })
}
