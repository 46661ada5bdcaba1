//! `culvert status`: what does the running gateway do?

use std::collections::BTreeMap;

use clap::Args;

use super::table::render;
use super::{Daemon, Exit};
use crate::admin::{self, Call, Reply, Request, Status};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert status --config /etc/culvert.toml\n  culvert status --json --socket \
                        /run/culvert/admin.sock\n\nExit code 4 when no daemon answers."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// One JSON object instead of tables, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let socket = match arguments.daemon.socket() {
        Ok(socket) => socket,
        Err(error) => return super::bad_configuration(&error),
    };
    let status = match admin::ask(&socket, &Request::Status) {
        Ok(Reply::Status(status)) => status,
        Ok(other) => {
            super::complain(format_args!("the daemon answered {other:?}"));
            return Exit::Failed;
        }
        Err(error) => return super::unreachable(&error),
    };
    if !arguments.json {
        print!("{}", describe(&status));
        return Exit::Success;
    }
    match serde_json::to_string_pretty(&status) {
        Ok(json) => {
            println!("{json}");
            Exit::Success
        }
        Err(error) => {
            super::complain(error);
            Exit::Failed
        }
    }
}

fn describe(status: &Status) -> String {
    let mut sections = vec![
        format!("culvert {}, running for {:.0} s\n", status.version, status.uptime_seconds),
        relay(status),
    ];
    let rows: Vec<_> = status
        .registrations
        .iter()
        .map(|registration| {
            let expires = format!("{} s", registration.expires_in_seconds);
            vec![
                registration.user.clone(),
                registration.source.clone(),
                registration.contact.clone(),
                expires,
            ]
        })
        .collect();
    sections.push(render(&["registered", "source", "contact", "expires in"], &rows));
    let rows: Vec<_> = status.calls.iter().map(call).collect();
    sections.push(render(&["call", "from", "to", "mode", "state", "age", "set-up"], &rows));
    let mut rows: Vec<_> =
        status.calls.iter().flat_map(|call| call.legs.iter().map(|leg| leg_row(&call.id, leg))).collect();
    let adopted = status.relay.iter().flat_map(|relay| &relay.adopted);
    rows.extend(adopted.map(|leg| leg_row("-", leg)));
    let heading =
        ["leg", "call", "side", "media", "local", "remote", "path", "received", "sent", "dropped", "idle"];
    sections.push(render(&heading, &rows));
    let rows: Vec<_> = status.calls.iter().flat_map(|call| &call.legs).filter_map(quality).collect();
    let heading =
        ["leg", "source", "SSRC", "expected", "lost", "reordered", "duplicate", "jitter", "changes"];
    sections.push(render(&heading, &rows));
    let orphans = status.relay.iter().flat_map(|relay| &relay.orphans).map(orphan);
    sections.push(render(&["orphan from", "to", "SSRC", "reports", "idle"], &orphans.collect::<Vec<_>>()));
    let relayed = status.relay.iter().flat_map(|relay| &relay.counters);
    let rows: Vec<_> = relayed.map(|(name, count)| vec![name.clone(), count.to_string()]).collect();
    sections.push(render(&["relay counter", "count"], &rows));
    let rows: Vec<_> =
        status.counters.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect();
    sections.push(render(&["counter", "count"], &rows));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

fn relay(status: &Status) -> String {
    let Some(relay) = &status.relay else {
        return "relay: none, signalling only\n".to_owned();
    };
    let rows: Vec<_> = relay
        .interfaces
        .iter()
        .map(|interface| {
            [&interface.name, &interface.state, &interface.mode, &interface.reason]
                .map(String::clone)
                .to_vec()
        })
        .collect();
    let mut text = render(&["interface", "state", "XDP mode", "why"], &rows);
    if let Some(admin::AfXdp { workers, sockets, problem }) = &relay.af_xdp {
        text.push_str(&match problem {
            Some(problem) => format!("\nAF_XDP: none, {problem}\n"),
            None => format!("\nAF_XDP: {workers} workers, {sockets} sockets\n"),
        });
    }
    let pairs = &relay.port_pairs;
    text.push_str(&format!(
        "\nforwarded by: {}\nmedia port pairs: {} in use, {} resting, {} free\n",
        relay.backend, pairs.in_use, pairs.resting, pairs.free
    ));
    text.push_str(&match &relay.state {
        Some(state) => {
            format!("media outlives the daemon: pinned in {state}, {} legs adopted\n", relay.adopted.len())
        }
        None => "media ends with the daemon: nothing is pinned\n".to_owned(),
    });
    text
}

fn call(call: &Call) -> Vec<String> {
    vec![
        call.id.clone(),
        call.from.clone(),
        call.to.clone(),
        call.mode.to_string(),
        call.state.clone(),
        format!("{:.0} s", call.age_seconds),
        call.setup_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
    ]
}

fn leg_row(call: &str, leg: &admin::Leg) -> Vec<String> {
    vec![
        leg.id.clone().unwrap_or_else(|| "-".to_owned()),
        call.to_owned(),
        leg.side.clone(),
        format!("{} {}", leg.medium, leg.kind),
        leg.local.clone(),
        leg.remote.clone().unwrap_or_else(|| "-".to_owned()),
        paths(leg),
        leg.received.to_string(),
        leg.sent.to_string(),
        dropped(&leg.dropped),
        format!("{:.0} s", leg.idle_seconds),
    ]
}

/// Who forwards; with counts where more than one did.
fn paths(leg: &admin::Leg) -> String {
    if leg.paths.len() < 2 {
        return leg.path.clone();
    }
    leg.paths.iter().map(|(path, count)| format!("{path} {count}")).collect::<Vec<_>>().join(", ")
}

fn orphan(orphan: &admin::Orphan) -> Vec<String> {
    vec![
        orphan.source.clone(),
        orphan.local.clone(),
        orphan.ssrc.map_or_else(|| "-".to_owned(), |ssrc| format!("{ssrc:#010x}")),
        orphan.reports.to_string(),
        format!("{:.0} s", orphan.idle_seconds),
    ]
}

fn quality(leg: &admin::Leg) -> Option<Vec<String>> {
    let unknown = || "-".to_owned();
    let quality = leg.quality.as_ref()?;
    Some(vec![
        leg.id.clone().unwrap_or_else(unknown),
        leg.source.clone().unwrap_or_else(unknown),
        quality.ssrc.map_or_else(unknown, |ssrc| format!("{ssrc:#010x}")),
        quality.expected.to_string(),
        quality.lost.to_string(),
        quality.reordered.to_string(),
        quality.duplicates.to_string(),
        quality.jitter_ms.map_or_else(unknown, |jitter| format!("{jitter:.2} ms")),
        format!("{} source, {} SSRC", leg.source_changes, quality.ssrc_changes),
    ])
}

fn dropped(reasons: &BTreeMap<String, u64>) -> String {
    if reasons.is_empty() {
        return "0".to_owned();
    }
    reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}
