//! The books: what the devices counted against what the data plane counted. They must agree to the frame.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use relay_common::verdict::Pass;
use relay_user::Relay;
use testbed::{Namespace, Topology};

use crate::stack;

/// How the counters begin of frames on their way to user space and out of it, which begin anew with each owner.
const ON_THE_WAY: &str = "punts_";
/// Of those, the counters of frames that are lost on the way in. The others are counted once more by what becomes of them there.
const LOST: [&str; 2] = ["punts_no_frame", "punts_ring_full"];

/// Frames that must have been sent on. How many they are of all is chance: calls come and go.
const LEAST: u64 = 1_000;

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Frames that the devices received.
    arrived: u64,
    /// Frames that the network stack got from them: those that the program left to it, and a few that a device still had when it
    /// went down, and handed to the stack because the program was gone from it already (`veth_disable_xdp` of the kernel).
    entered_stack: u64,
    /// Datagrams that the relay took out of the stack: the kernel path, which counts them once more.
    taken: u64,
    /// Frames that the rings of the devices took from it.
    left: u64,
    /// What was counted of them, by name: `forwarded`, and reasons.
    counted: BTreeMap<&'static str, u64>,
    /// Frames that the program sent on.
    sent_on: u64,
    /// Frames that it had sent on and that rings refused, or that never reached a ring.
    refused: u64,
}

impl Books {
    /// Reads all of it. Nothing may be under way.
    ///
    /// # Errors
    /// `ethtool` does not say what a veth counts.
    pub(crate) fn read(relay: &Relay, namespace: &Namespace) -> Result<Self> {
        let mut counters = relay.counters();
        counters.retain(|(name, _)| !name.starts_with(ON_THE_WAY) || LOST.contains(name));
        let mut books = Self { counted: counters.into_iter().collect(), ..Self::default() };
        for device in [Topology::CAMERA.device, Topology::VIEWER.device] {
            let (arrived, left) = device_counters(namespace, device)?;
            books.arrived += arrived;
            books.left += left;
        }
        books.entered_stack = stack::entered(namespace)?;
        books.taken = stack::taken(namespace)?;
        books.sent_on = relay.forwarded().xdp;
        books.refused = refused(relay);
        Ok(books)
    }

    /// What happened since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let rise = |(name, count): (&&'static str, &u64)| {
            (*name, count.saturating_sub(*earlier.counted.get(name).unwrap_or(&0)))
        };
        Self {
            arrived: self.arrived - earlier.arrived,
            entered_stack: self.entered_stack - earlier.entered_stack,
            taken: self.taken - earlier.taken,
            left: self.left - earlier.left,
            counted: self.counted.iter().map(rise).filter(|(_, count)| *count > 0).collect(),
            sent_on: self.sent_on - earlier.sent_on,
            refused: self.refused - earlier.refused,
        }
    }

    /// Both sides of each page, and that something was written there.
    ///
    /// # Errors
    /// They do not balance; by how much.
    pub(crate) fn check(&self, sent: u64) -> Result<()> {
        let counted: u64 = self.counted.values().sum();
        let left_to_stack: u64 = Pass::ALL.iter().filter_map(|reason| self.counted.get(reason.name())).sum();
        let unseen = i128::from(self.entered_stack) - i128::from(left_to_stack);
        let missing = i128::from(self.arrived) + i128::from(self.taken) - i128::from(counted) - unseen;
        ensure!(
            missing == 0 && unseen >= 0,
            "{} frames arrived, {} of them from the stack once more, and {counted} were counted, while {unseen} were handed past \
             the program: {missing} are missing",
            self.arrived,
            self.taken,
        );
        ensure!(
            self.sent_on == self.left + self.refused,
            "{} frames were sent on by the program, {} left and {} were refused: {} are missing",
            self.sent_on,
            self.left,
            self.refused,
            i128::from(self.sent_on) - i128::from(self.left) - i128::from(self.refused)
        );
        ensure!(
            self.sent_on >= LEAST,
            "only {} of {sent} packets were sent on: this says nothing of a data plane under traffic",
            self.sent_on
        );
        println!("the books balance");
        Ok(())
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  frames arrived", self.arrived)?;
        writeln!(f, "{:>12}  of those entered the network stack", self.entered_stack)?;
        writeln!(f, "{:>12}  of those were taken out of it by the kernel path", self.taken)?;
        for (name, count) in &self.counted {
            writeln!(f, "{count:>12}    {name}")?;
        }
        writeln!(f, "{:>12}  were sent on by the program", self.sent_on)?;
        writeln!(f, "{:>12}  of those were taken by the devices", self.left)?;
        write!(f, "{:>12}  were refused by them", self.refused)
    }
}

/// Frames that were sent on and that no device took.
pub(crate) fn refused(relay: &Relay) -> u64 {
    relay.device_counters().iter().map(|device| device.refused + device.unsent).sum()
}

/// Frames that a veth device handed to its XDP program, and frames that its far end took from `bpf_redirect`.
fn device_counters(namespace: &Namespace, device: &str) -> Result<(u64, u64)> {
    let output = namespace.command("ethtool").args(["-S", device]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sum = |prefix: &str, name: &str| -> Option<u64> {
        let lines = text.lines().filter_map(|line| line.trim().split_once(": "));
        let found: Vec<u64> = lines
            .filter(|(key, _)| key.starts_with(prefix) && key.ends_with(name))
            .filter_map(|(_, value)| value.trim().parse().ok())
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    };
    let missing = || format!("`ethtool -S {device}` does not count XDP packets; it said: {text}");
    let arrived = sum("rx_queue_", "_xdp_packets").with_context(missing)?;
    let left = sum("tx_queue_", "_xdp_xmit").with_context(missing)?;
    Ok((arrived, left))
}
