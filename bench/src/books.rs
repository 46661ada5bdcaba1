//! Whether the books close: every packet that the relay's devices received left by one of them, or was dropped,
//! refused or left to the kernel, and is counted exactly once.
//!
//! What came in is what the devices count; what went out is what the sink counts; only what lies between is the relay's
//! own word.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{Namespace, Topology};

use crate::forwarding::{BATCH, USUAL_SIZE};
use crate::lane::{Lane, Traffic};
use crate::programs::Role;
use crate::records::CPUS;
use crate::subject::Subject;
use crate::treatment::Treatment;

const FLOWS: u32 = 1000;
/// Packets that the relay receives while the sink keeps up.
const PACKETS: u64 = 10_000_000;
/// How long it receives more than the sink takes.
const OVERFLOW: Duration = Duration::from_millis(100);
/// How often it is looked whether there were enough.
const LOOK: Duration = Duration::from_millis(20);
/// Counters that do not change for so long have seen the last packet.
const QUIET: Duration = Duration::from_millis(100);
/// After this time something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The books of all packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Received by the relay's devices, as they count.
    pub(crate) received: u64,
    /// Arrived at the sink.
    pub(crate) left: u64,
    /// Dropped, or left to the kernel, by reason, as the relay counts.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Sent on by the relay, and not taken by the egress device.
    pub(crate) refused: u64,
}

impl Books {
    /// What was added to earlier books.
    fn since(&self, before: &Self) -> Self {
        let fewer = |reason: &&'static str| before.reasons.get(reason).copied().unwrap_or_default();
        Self {
            received: self.received - before.received,
            left: self.left - before.left,
            reasons: self.reasons.iter().map(|(reason, count)| (*reason, count - fewer(reason))).collect(),
            refused: self.refused - before.refused,
        }
    }

    /// Packets that are missing (above 0), or counted twice (below 0).
    pub(crate) fn difference(&self) -> i128 {
        let accounted = self.left + self.refused + self.reasons.values().sum::<u64>();
        i128::from(self.received) - i128::from(accounted)
    }
}

/// Sends good and bad packets, and more than the sink takes.
pub(crate) fn measure() -> Result<Books> {
    let mut lane =
        Lane::lay(Subject::Relay(Treatment::Plain), FLOWS, Role::GenerateMix, Role::Count)?.with_calls()?;
    let traffic = Traffic { size: USUAL_SIZE, flows: FLOWS, batch: BATCH, interval: Duration::ZERO };
    // What was received before the program was attached is in nobody's books.
    let before = wait_until_quiet(&lane)?;
    let target = before.received + PACKETS;
    lane.while_sending(traffic, CPUS, |lane, _| {
        let deadline = Instant::now() + PATIENCE;
        while received(&lane.topology().relay)? < target {
            ensure!(Instant::now() < deadline, "{PACKETS} packets did not arrive within {PATIENCE:?}");
            thread::sleep(LOOK);
        }
        Ok(())
    })?;
    // The sink gets a thread of its own, which the generators do not let run: its ring fills.
    set_threaded(&lane.topology().viewer, true)?;
    lane.undisturbed(traffic, CPUS, |_| {
        thread::sleep(OVERFLOW);
        Ok(())
    })?;
    set_threaded(&lane.topology().viewer, false)?;
    let books = wait_until_quiet(&lane)?.since(&before);
    ensure!(books.refused > 0, "no ring refused a packet, so that it is not known whether that is counted");
    Ok(books)
}

fn read(lane: &Lane) -> Result<Books> {
    let arrivals = lane.programs().arrivals()?;
    ensure!(arrivals.wrong == 0, "{} packets arrived with wrong headers", arrivals.wrong);
    let relay = &lane.relay()?.relay;
    let reasons: BTreeMap<_, _> =
        relay.counters().into_iter().filter(|(name, _)| *name != "forwarded").collect();
    let refused = relay.device_counters().iter().map(|device| device.refused + device.unsent).sum();
    Ok(Books { received: received(&lane.topology().relay)?, left: arrivals.right, reasons, refused })
}

/// The books once the last packet is counted.
fn wait_until_quiet(lane: &Lane) -> Result<Books> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = read(lane)?;
    loop {
        thread::sleep(QUIET);
        let now = read(lane)?;
        if now == before {
            return Ok(now);
        }
        ensure!(Instant::now() < deadline, "packets arrive {PATIENCE:?} after the generators ended");
        before = now;
    }
}

/// Frames that both devices of the relay took from their rings.
fn received(relay: &Namespace) -> Result<u64> {
    let mut frames = 0;
    for device in [Topology::CAMERA.device, Topology::VIEWER.device] {
        let output = relay.command("ethtool").args(["-S", device]).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let counted = said.lines().filter_map(|line| line.trim().split_once(": "));
        let mut queues = counted.filter(|(name, _)| is_received(name)).peekable();
        ensure!(queues.peek().is_some(), "`ethtool -S {device}` tells no `rx_queue_N_xdp_packets`: {said}");
        for (name, count) in queues {
            frames += count.parse::<u64>().with_context(|| format!("{name}: {count}"))?;
        }
    }
    Ok(frames)
}

fn is_received(name: &str) -> bool {
    name.starts_with("rx_queue_") && name.ends_with("_xdp_packets")
}

/// Whether the sink's device is polled by a thread of its own.
fn set_threaded(viewer: &Namespace, threaded: bool) -> Result<()> {
    let file = format!("/sys/class/net/{}/threaded", Topology::TERMINAL_DEVICE);
    let script = format!("echo {} > {file}", u8::from(threaded));
    let output = viewer.command("sh").args(["-c", &script]).output()?;
    ensure!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_close_only_if_every_packet_is_counted_once() {
        let mut books = Books { received: 10, left: 6, refused: 1, ..Books::default() };
        books.reasons.extend([("too_big", 2), ("no_leg", 1)]);
        assert_eq!(books.difference(), 0);
        assert_eq!(Books { left: 5, ..books.clone() }.difference(), 1);
        assert_eq!(Books { refused: 3, ..books }.difference(), -2);
    }

    #[test]
    fn received_frames_are_told_from_other_counters() {
        assert!(is_received("rx_queue_0_xdp_packets") && is_received("rx_queue_11_xdp_packets"));
        assert!(!is_received("rx_queue_0_xdp_drops") && !is_received("tx_queue_0_xdp_xmit"));
    }
}
