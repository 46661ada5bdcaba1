//! What the relay's network stack got from the devices, and what was taken out of it: counted by the kernel itself, independently
//! of everything that the relay counts.

use std::fs;

use anyhow::{Context, Result};
use testbed::{Namespace, Topology};

/// The table of nftables, and the counter in it.
const TABLE: &str = "soak";
const COUNTER: &str = "entered";
/// The UDP counters of the calling thread's namespace.
const UDP: [&str; 2] = ["/proc/thread-self/net/snmp", "/proc/thread-self/net/snmp6"];

/// Counts from now on what enters the stack by the relay's devices.
///
/// # Errors
/// `nft` or `ethtool` is missing, or the process is not root.
pub(crate) fn count(relay: &Namespace) -> Result<()> {
    nft(relay, &["add", "table", "netdev", TABLE])?;
    nft(relay, &["add", "counter", "netdev", TABLE, COUNTER])?;
    for device in [Topology::CAMERA.device, Topology::VIEWER.device] {
        // Each frame for itself.
        relay.offload(device, &["gro", "off"])?;
        let hook = format!("{{ type filter hook ingress device {device} priority 0; }}");
        nft(relay, &["add", "chain", "netdev", TABLE, device, &hook])?;
        nft(relay, &["add", "rule", "netdev", TABLE, device, "counter", "name", COUNTER])?;
    }
    Ok(())
}

/// Frames that entered the stack.
///
/// # Errors
/// `nft` does not tell.
pub(crate) fn entered(relay: &Namespace) -> Result<u64> {
    let said = nft(relay, &["list", "counter", "netdev", TABLE, COUNTER])?;
    let count = said.split_once("packets ").and_then(|(_, rest)| rest.split_whitespace().next());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("a counter of nft, not: {said}"))
}

/// Datagrams that sockets in the relay's namespace took: only those of the kernel path are there.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn taken(relay: &Namespace) -> Result<u64> {
    let [v4, v6] = relay.run(|| UDP.map(fs::read_to_string))?;
    Ok(v4_datagrams(&v4?).context("no `InDatagrams` of UDP")?
        + v6_datagrams(&v6?).context("no `Udp6InDatagrams`")?)
}

/// Two lines: names, and the values below them.
fn v4_datagrams(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    both.find(|(name, _)| *name == "InDatagrams")?.1.parse().ok()
}

/// A line for each.
fn v6_datagrams(snmp6: &str) -> Option<u64> {
    let mut lines = snmp6.lines().map(str::split_whitespace);
    let value =
        lines.find_map(|mut words| (words.next() == Some("Udp6InDatagrams")).then(|| words.next()))?;
    value?.parse().ok()
}

fn nft(relay: &Namespace, arguments: &[&str]) -> Result<String> {
    let output = relay.command("nft").args(arguments).output().context("running nft (package nftables)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "nft {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_the_kernel_are_read() {
        let snmp = "Udp: InDatagrams NoPorts\nUdp: 7 8\nUdpLite: InDatagrams\nUdpLite: 9\n";
        assert_eq!(v4_datagrams(snmp), Some(7));
        assert_eq!(v6_datagrams("Ip6InReceives   4\nUdp6InDatagrams      \t5\n"), Some(5));
    }
}
