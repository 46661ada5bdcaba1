//! `culvert streams`: which GB/T 28181 channels are watched, by whom, and how well does their media arrive?

use clap::Args;

use super::table::render;
use super::{Daemon, Exit};
use crate::admin::{Reply, Request, Stream, StreamState};
use crate::gb28181::ssrc::Ssrc;

#[derive(Args)]
#[command(after_help = "Example:\n  culvert streams --config /etc/culvert.toml")]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// One JSON list instead of tables, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let streams = match arguments.daemon.ask(&Request::Streams) {
        Ok(Reply::Streams { streams }) => streams,
        Ok(other) => return super::unexpected(other),
        Err(exit) => return exit,
    };
    if arguments.json {
        return super::print_json(&streams);
    }
    print!("{}", describe(&streams));
    Exit::Success
}

fn describe(streams: &[Stream]) -> String {
    let rows: Vec<_> = streams.iter().map(row).collect();
    let heading =
        ["channel", "device", "state", "age", "source", "SSRC", "received", "lost", "jitter", "INVITEs"];
    let viewers: Vec<_> = streams.iter().flat_map(viewer_rows).collect();
    let tables = [
        render(&heading, &rows),
        render(&["viewer", "channel", "to", "from", "SSRC", "leg", "sent", "not sent"], &viewers),
    ];
    let shown: Vec<&str> = tables.iter().map(String::as_str).filter(|table| !table.is_empty()).collect();
    shown.join("\n")
}

fn row(stream: &Stream) -> Vec<String> {
    let state = match stream.state {
        StreamState::Inviting => "inviting",
        StreamState::Running => "running",
        StreamState::Waiting => "waiting",
    };
    let quality = stream.quality.as_ref();
    let jitter = quality.and_then(|quality| quality.jitter_ms);
    vec![
        stream.channel.to_string(),
        stream.device.to_string(),
        state.to_owned(),
        format!("{:.0} s", stream.age_seconds),
        stream.source.map_or_else(|| "-".to_owned(), |source| source.to_string()),
        Ssrc(quality.and_then(|quality| quality.ssrc).unwrap_or(stream.ssrc)).to_string(),
        stream.received.to_string(),
        quality.map_or_else(|| "-".to_owned(), |quality| quality.lost.to_string()),
        jitter.map_or_else(|| "-".to_owned(), |jitter| format!("{jitter:.2} ms")),
        stream.invites.to_string(),
    ]
}

fn viewer_rows(stream: &Stream) -> Vec<Vec<String>> {
    let row = |viewer: &crate::admin::Viewer| {
        let lost: Vec<String> =
            viewer.lost.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        vec![
            viewer.viewer.clone(),
            stream.channel.to_string(),
            viewer.to.to_string(),
            viewer.from.map_or_else(|| "-".to_owned(), |from| from.to_string()),
            Ssrc(viewer.ssrc).to_string(),
            viewer.leg.clone().unwrap_or_else(|| "-".to_owned()),
            viewer.sent.to_string(),
            lost.join(", "),
        ]
    };
    stream.viewers.iter().map(row).collect()
}
