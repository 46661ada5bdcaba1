//! `culvert channels`: which channels does a GB/T 28181 device have?

use clap::Args;

use super::table::render;
use super::{Daemon, Exit};
use crate::admin::{Channel, Reply, Request};
use crate::gb28181::id::DeviceId;

#[derive(Args)]
#[command(
    after_help = "Example:\n  culvert channels --config /etc/culvert.toml 34020000001180000001\n\nExit code 7 when \
                        no such device has registered; `culvert devices` lists those that have."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The device, as `culvert devices` names it
    device: DeviceId,
    /// One JSON list instead of a table, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let channels = match arguments.daemon.ask(&Request::Channels { device: arguments.device }) {
        Ok(Reply::Channels { channels }) => channels,
        Ok(other) => return super::unexpected(other),
        Err(exit) => return exit,
    };
    if arguments.json {
        return super::print_json(&channels);
    }
    let rows: Vec<_> = channels.iter().map(row).collect();
    print!("{}", render(&["channel", "kind", "state", "name", "model", "in", "where"], &rows));
    Exit::Success
}

fn row(channel: &Channel) -> Vec<String> {
    let state = match (channel.directory, channel.on) {
        (true, _) => "directory",
        (false, Some(true)) => "on",
        (false, Some(false)) => "off",
        (false, None) => "-",
    };
    let position = channel.longitude.zip(channel.latitude);
    let position = position.map(|(east, north)| format!("{east:.5} {north:.5}"));
    vec![
        channel.id.to_string(),
        channel.kind.clone().unwrap_or_else(|| "-".to_owned()),
        state.to_owned(),
        channel.name.clone(),
        [channel.manufacturer.as_str(), channel.model.as_str()].join(" ").trim().to_owned(),
        channel.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        position.unwrap_or_else(|| channel.address.clone()),
    ]
}
