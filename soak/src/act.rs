//! What happens: one event at a time, chosen at random.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::Topology;

use crate::call::source_port;
use crate::random::Random;
use crate::traffic::Traffic;
use crate::world::World;

/// Until there are so many calls, others join.
const CALLS: usize = 14;

/// One event.
///
/// # Errors
/// The data plane refused what it must not refuse.
pub(crate) fn once(world: &mut World, traffic: &Traffic, random: &mut Random) -> Result<()> {
    ensure!(traffic.runs(), "a terminal has stopped sending");
    match random.below(32) {
        0..14 if world.calls() < CALLS => world.join(random),
        14..18 => world.leave(random),
        18..22 => move_remote(world, random),
        22..24 => world.switch_sources(random),
        24 | 25 => flap(world, random),
        26 | 27 => forget_neighbours(world, random),
        28 => change_mtu(world, random),
        29 => world.restart(),
        _ => world.check_legs(),
    }
}

/// The other side says that it is on another port, or nowhere, or back.
fn move_remote(world: &mut World, random: &mut Random) -> Result<()> {
    let port = u16::try_from(random.below(4)).unwrap_or(0);
    let nowhere = random.one(6);
    world.move_remote(random, |terminal| (!nowhere).then(|| SocketAddr::new(terminal, source_port(port))))
}

/// A cable is pulled, and put back.
fn flap(world: &mut World, random: &mut Random) -> Result<()> {
    let device = device(random);
    world.topology.relay.ip(&["link", "set", device, "down"])?;
    std::thread::sleep(Duration::from_millis(20 + u64::try_from(random.below(200)).unwrap_or(0)));
    world.topology.relay.ip(&["link", "set", device, "up"])?;
    world.restore_addresses(device)?;
    world.count("flaps");
    Ok(())
}

fn forget_neighbours(world: &mut World, random: &mut Random) -> Result<()> {
    // It fails when neighbours appear faster than they are forgotten, which is as good.
    let _ = world.topology.relay.ip(&["neighbour", "flush", "dev", device(random)]);
    world.count("forgotten neighbours");
    Ok(())
}

/// The MTU shrinks below what some packets have, or grows back.
fn change_mtu(world: &mut World, random: &mut Random) -> Result<()> {
    let mtu = if random.one(2) { "1280" } else { "1500" };
    world.topology.relay.ip(&["link", "set", device(random), "mtu", mtu])?;
    world.count("MTUs");
    Ok(())
}

fn device(random: &mut Random) -> &'static str {
    [Topology::CAMERA, Topology::VIEWER][random.below(2)].device
}
