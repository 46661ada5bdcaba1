//! The result of a demo: a table for people, an object for programs, and whether it is good enough.

use std::fmt;

use serde_json::{Value, json};

use super::Outcome;
use super::gateway::{AttachedInterface, Leg};
use super::measurement::Flow;
use super::table::{or_dash, table};
use super::wires::{CAMERA, VIEWER};

/// Fewer packets than this say nothing.
const ENOUGH_PACKETS: u64 = 1000;

/// Everything that one demo found.
pub(super) struct Report {
    /// How the call was relayed.
    pub(super) call_mode: String,
    /// Seconds that media flowed.
    pub(super) seconds: u64,
    /// From the viewer's first INVITE to its 200, digest challenge included, as seen on the viewer's wire.
    pub(super) setup_ms: f64,
    pub(super) interfaces: Vec<AttachedInterface>,
    pub(super) flows: Vec<Flow>,
    pub(super) legs: Vec<Leg>,
    /// Media packets that the relay's network stack saw; those that XDP forwards never reach it.
    pub(super) in_network_stack: u64,
}

impl Report {
    fn packets(&self) -> u64 {
        self.flows.iter().map(|flow| flow.entered).sum()
    }

    fn lost(&self) -> u64 {
        self.flows.iter().map(Flow::lost).sum()
    }

    /// Packets that another path than XDP took: they arrived without the data plane counting them, or the network
    /// stack saw them.
    fn off_path(&self) -> u64 {
        let uncounted: u64 =
            self.flows.iter().map(|flow| flow.delivered.saturating_sub(self.sent_by_xdp(flow))).sum();
        uncounted.max(self.in_network_stack)
    }

    /// The worst jitter among the flows.
    fn jitter_ms(&self) -> f64 {
        self.flows.iter().filter_map(|flow| flow.jitter_ms).fold(0.0, f64::max)
    }

    /// What the data plane sent from the leg that the flow leaves by.
    fn sent_by_xdp(&self, flow: &Flow) -> u64 {
        self.exit_leg(flow).filter(|leg| leg.path == "xdp").map_or(0, |leg| leg.sent)
    }

    fn entry_leg(&self, flow: &Flow) -> Option<&Leg> {
        self.leg(flow.from, flow.entry_port)
    }

    fn exit_leg(&self, flow: &Flow) -> Option<&Leg> {
        self.leg(flow.to, flow.exit_port?)
    }

    fn leg(&self, side: &str, port: u16) -> Option<&Leg> {
        let wire = if side == CAMERA.name { CAMERA } else { VIEWER };
        let local = format!("{}:{port}", wire.relay);
        self.legs.iter().find(|leg| leg.local == local)
    }

    fn row(&self, flow: &Flow) -> [String; 9] {
        [
            format!("{} -> {}", flow.from, flow.to),
            flow.medium.clone(),
            flow.entered.to_string(),
            or_dash(self.entry_leg(flow).map(|leg| leg.received.to_string())),
            or_dash(self.exit_leg(flow).map(|leg| leg.sent.to_string())),
            format!("{} ({} lost)", flow.delivered, flow.lost()),
            or_dash(self.exit_leg(flow).map(|leg| leg.path.clone())),
            or_dash(flow.jitter_ms.map(|ms| format!("{ms:.2} ms"))),
            or_dash(flow.transit_us.map(|us| format!("{us:.0} us"))),
        ]
    }
}

impl Outcome for Report {
    fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.packets() < ENOUGH_PACKETS {
            found.push(format!("{} packets, which is fewer than {ENOUGH_PACKETS}", self.packets()));
        }
        if self.lost() > 0 {
            found.push(format!("{} packets lost", self.lost()));
        }
        if self.off_path() > 0 {
            found.push(format!("{} packets were not forwarded by XDP", self.off_path()));
        }
        found
    }

    fn to_json(&self) -> Value {
        json!({
            "summary": {
                "demo_packets": self.packets(),
                "demo_lost": self.lost(),
                "demo_off_path": self.off_path(),
                "demo_setup_ms": self.setup_ms,
                "demo_jitter_ms": self.jitter_ms(),
            },
            "seconds": self.seconds,
            "interfaces": self.interfaces.iter().map(|interface| json!({
                "name": interface.name, "mode": interface.mode, "reason": interface.reason,
            })).collect::<Vec<_>>(),
            "flows": self.flows.iter().map(|flow| json!({
                "from": flow.from, "to": flow.to, "medium": flow.medium,
                "entered": flow.entered, "delivered": flow.delivered, "lost": flow.lost(),
                "jitter_ms": flow.jitter_ms, "transit_us": flow.transit_us,
            })).collect::<Vec<_>>(),
            "legs": self.legs.iter().map(|leg| json!({
                "local": leg.local, "path": leg.path,
                "received": leg.received, "sent": leg.sent, "dropped": leg.dropped,
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} called {} in mode `{}`", VIEWER.name, CAMERA.name, self.call_mode)?;
        writeln!(f, "set-up: {:.1} ms from INVITE to 200, with the digest challenge", self.setup_ms)?;
        for interface in &self.interfaces {
            writeln!(f, "XDP on {}: {} ({})", interface.name, interface.mode, interface.reason)?;
        }
        writeln!(f)?;
        let heading =
            ["direction", "medium", "entered", "leg in", "leg out", "arrived", "path", "jitter", "transit"];
        f.write_str(&table(heading, self.flows.iter().map(|flow| self.row(flow))))?;
        writeln!(
            f,
            "\n{} packets in {} s, {} lost, {} off the path xdp",
            self.packets(),
            self.seconds,
            self.lost(),
            self.off_path()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(entered: u64, delivered: u64, sent: u64, path: &str, in_network_stack: u64) -> Report {
        let flow = Flow {
            from: CAMERA.name,
            to: VIEWER.name,
            medium: "video H264".to_owned(),
            entry_port: 30_000,
            exit_port: Some(30_010),
            entered,
            delivered,
            jitter_ms: Some(0.5),
            transit_us: Some(20.0),
        };
        let leg = Leg {
            local: format!("{}:30010", VIEWER.relay),
            path: path.to_owned(),
            received: 0,
            sent,
            dropped: 0,
        };
        Report {
            call_mode: "relay".to_owned(),
            seconds: 15,
            setup_ms: 10.0,
            interfaces: Vec::new(),
            flows: vec![flow],
            legs: vec![leg],
            in_network_stack,
        }
    }

    #[test]
    fn all_is_well_when_every_packet_arrived_by_xdp() {
        assert_eq!(report(1000, 1000, 1000, "xdp", 0).shortcomings(), [""; 0]);
    }

    #[test]
    fn each_bar_is_a_shortcoming_of_its_own() {
        assert_eq!(report(999, 999, 999, "xdp", 0).shortcomings().len(), 1);
        assert_eq!(report(1000, 998, 998, "xdp", 0).shortcomings(), ["2 packets lost"]);
        let three_elsewhere = ["3 packets were not forwarded by XDP"];
        assert_eq!(report(1000, 1000, 997, "xdp", 0).shortcomings(), three_elsewhere);
        assert_eq!(report(1000, 1000, 1000, "xdp", 3).shortcomings(), three_elsewhere);
    }

    #[test]
    fn what_another_path_counted_is_off_path() {
        assert_eq!(report(1000, 1000, 1000, "user", 0).off_path(), 1000);
    }
}
