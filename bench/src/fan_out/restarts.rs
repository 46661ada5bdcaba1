//! Whether every receiver of a group gets every packet while the process that owns the data plane is killed and started again,
//! and while it gives way to another build.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{LOOK, PATIENCE, SIZE, number};
use crate::figure::Figure;
use crate::holder::{Build, Holder};
use crate::lane::{Lane, Traffic};
use crate::packet::RtpHeader;
use crate::programs::Role;
use crate::records::Arrivals;
use crate::state_folder::StateFolder;
use crate::subject::Subject;
use crate::wire::{self, Family};

/// More than two blocks.
const RECEIVERS: u32 = 40;
const LEGS: u32 = 1 + RECEIVERS;
/// From one packet to the next.
const INTERVAL: Duration = Duration::from_micros(100);
/// How long nobody owns the data plane, and how long its new owner works before the next change.
const PAUSE: Duration = Duration::from_millis(300);

/// Kills the owner, and replaces it by another build, so many times each.
pub(crate) fn measure(times: usize) -> Result<Vec<Figure>> {
    let mut lane = Lane::lay(Subject::Elsewhere, LEGS, Role::GenerateNumbered, Role::FollowEach)?;
    let state = StateFolder::new("group-restarts");
    let (mut holder, _) = Holder::start(Build::Release, lane.topology(), state.path(), LEGS)?;
    let viewers: Vec<_> = (0..RECEIVERS).map(|flow| wire::viewer_ends(Family::V4, flow)).collect();
    let ssrc = RtpHeader::SENT.ssrc.wrapping_add(wire::ssrc(0));
    holder.join(wire::camera_ends(Family::V4, 0), ssrc, &viewers)?;
    let adopt = |lane: &Lane, build| -> Result<Holder> {
        let (holder, adopted) = Holder::start(build, lane.topology(), state.path(), LEGS)?;
        ensure!(adopted == LEGS as usize, "{adopted} of {LEGS} legs were adopted by {build:?}");
        thread::sleep(PAUSE);
        Ok(holder)
    };
    let traffic = Traffic { size: SIZE, flows: 1, batch: 1, interval: INTERVAL };
    let last = lane.while_sending(traffic, 1, |lane, _| {
        thread::sleep(PAUSE);
        for _ in 0..times {
            holder.kill()?;
            thread::sleep(PAUSE);
            holder = adopt(lane, Build::Release)?;
        }
        for turn in 0..times {
            holder.leave()?;
            holder = adopt(lane, if turn % 2 == 0 { Build::Debug } else { Build::Release })?;
        }
        Ok(holder)
    })?;
    let sent: u64 = lane.programs().sent_by_each()?.iter().sum();
    let damage = damage(&lane, sent)?;
    last.stop()?;
    Ok(vec![
        Figure::single("fanout_restart_lost", number(damage), "copies"),
        Figure::single("fanout_restart_sent", number(sent * u64::from(RECEIVERS)), "copies"),
    ])
}

/// How many copies did not come, came again, or came after a later one, when the last have arrived.
fn damage(lane: &Lane, sent: u64) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let followed: Result<Vec<Arrivals>> =
            (0..RECEIVERS).map(|flow| lane.programs().followed(flow)).collect();
        let damage = |seen: &Arrivals| seen.missing + seen.late + sent.abs_diff(seen.expected);
        let damage: u64 = followed?.iter().map(damage).sum();
        if damage == 0 || Instant::now() > deadline {
            let wrong = lane.programs().arrivals()?.wrong;
            ensure!(wrong == 0, "{wrong} copies arrived with wrong headers");
            return Ok(damage);
        }
        thread::sleep(LOOK);
    }
}
