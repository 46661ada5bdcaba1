//! Pictures of many cameras, each a burst, at times that have nothing to do with each other.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{SIZE, join, missing, number, source};
use crate::figure::Figure;
use crate::lane::Lane;
use crate::programs::Role;
use crate::subject::Subject;
use crate::treatment::Treatment;
use crate::wire::{self, Family};

const CAMERAS: u32 = 25;
const RECEIVERS: u32 = 64;
/// Packets of a picture that is coded by itself.
const BURST: u64 = 100;
/// From one such picture of a camera to its next.
const PERIOD: Duration = Duration::from_secs(1);
/// Has no factor in common with anything here: spreads the cameras' phases.
const PHASE: u32 = 389;
/// Bytes in front of the RTP header.
const HEADERS: usize = 42;

/// Copies that were lost, over as many seconds as there are rounds.
pub(super) fn measure(rounds: usize) -> Result<Figure> {
    let relay = Subject::Relay(Treatment::Plain);
    let mut lane = Lane::lay(relay, CAMERAS * (RECEIVERS + 1), Role::Generate, Role::CountAddressed)?;
    let mut cameras = Vec::new();
    for camera in 0..CAMERAS {
        let source = source(&lane, camera)?;
        join(&lane, source, camera * RECEIVERS..(camera + 1) * RECEIVERS)?;
        let ends = wire::camera_ends(Family::V4, camera);
        let socket = lane.topology().camera.run(|| UdpSocket::bind(ends.terminal))??;
        socket.connect(ends.relay)?;
        let phase = PERIOD * (camera * PHASE % 1000) / 1000;
        cameras.push((phase, socket));
    }
    cameras.sort_unstable_by_key(|(phase, _)| *phase);
    let template = lane.expect_packets(SIZE)?;
    let payload = template.get(HEADERS..).context("a packet has a payload")?;
    let before = lane.programs().arrivals()?.right;
    let start = Instant::now();
    for second in 0..u32::try_from(rounds)? {
        for (phase, socket) in &cameras {
            thread::sleep((start + PERIOD * second + *phase).saturating_duration_since(Instant::now()));
            for _ in 0..BURST {
                socket.send(payload).context("sending a picture")?;
            }
        }
    }
    let copies = rounds as u64 * u64::from(CAMERAS * RECEIVERS) * BURST;
    Ok(Figure::single("burst_lost", number(missing(&lane, before, copies)?), "copies"))
}
