//! Address translation by the kernel: destination and source of every stream in two maps of nftables.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testbed::Topology;

use super::stream::Stream;
use super::subject::Running;

/// Whether packets of known flows take the kernel's short cut past its forwarding path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortCut {
    None,
    Flowtable,
}

/// The kernel, told to translate.
pub(crate) struct Nat(Vec<Stream>);

/// Loads the rules into the relay's namespace and lets it forward.
pub(crate) fn start(topology: &Topology, streams: u32, short_cut: ShortCut) -> Result<Nat> {
    let streams: Vec<_> = (0..streams).map(Stream::relayed).collect();
    topology.relay.sysctl("net/ipv4/ip_forward", "1")?;
    let mut command = topology.relay.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = command.spawn().context("starting nft")?;
    nft.stdin.take().context("standard input of nft")?.write_all(rules(&streams, short_cut).as_bytes())?;
    let output = nft.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft refused the rules: {}", said.lines().next().unwrap_or_default());
    Ok(Nat(streams))
}

impl Running for Nat {
    fn streams(&self) -> &[Stream] {
        &self.0
    }
}

fn rules(streams: &[Stream], short_cut: ShortCut) -> String {
    let (mut to_viewer, mut from_relay) = (String::new(), String::new());
    for Stream { sent, arrives } in streams {
        // Writing to a string cannot fail.
        let _ = write!(
            to_viewer,
            "{} . {} : {} . {},",
            sent.to.ip(),
            sent.to.port(),
            arrives.to.ip(),
            arrives.to.port()
        );
        let _ = write!(
            from_relay,
            "{} . {} : {} . {},",
            sent.from.ip(),
            sent.from.port(),
            arrives.from.ip(),
            arrives.from.port()
        );
    }
    let (camera, viewer) = (Topology::CAMERA.device, Topology::VIEWER.device);
    let (table, rule) = match short_cut {
        ShortCut::None => (String::new(), ""),
        ShortCut::Flowtable => {
            let table = format!(
                "flowtable known {{ hook ingress priority 0; devices = {{ \"{camera}\", \"{viewer}\" }}; }}"
            );
            (table, "ip protocol udp flow add @known")
        }
    };
    format!(
        r#"
table ip relay {{
    map to_viewer {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = {{ {to_viewer} }}; }}
    map from_relay {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = {{ {from_relay} }}; }}
    {table}
    chain forward {{ type filter hook forward priority 0; {rule}
    }}
    chain prerouting {{ type nat hook prerouting priority dstnat;
        iifname "{camera}" dnat ip to ip daddr . udp dport map @to_viewer
    }}
    chain postrouting {{ type nat hook postrouting priority srcnat;
        oifname "{viewer}" snat ip to ip saddr . udp sport map @from_relay
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_both_ends_of_every_stream() {
        let streams: Vec<_> = (0..2).map(Stream::relayed).collect();
        let rules = rules(&streams, ShortCut::None);
        assert!(rules.contains("10.78.1.1 . 10001 : 10.78.2.2 . 40001,"), "{rules}");
        assert!(rules.contains("10.78.1.2 . 10001 : 10.78.2.1 . 40001,"), "{rules}");
        assert!(!rules.contains("flow add"));
    }
}
