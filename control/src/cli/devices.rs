//! `culvert devices`: which GB/T 28181 devices are there?

use clap::Args;

use super::table::render;
use super::{Daemon, Exit};
use crate::admin::{CatalogState, Device, Reply, Request};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert devices --config /etc/culvert.toml\n  culvert devices --json --socket \
                        /run/culvert/admin.sock\n\nA device is listed once it has registered."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// One JSON list instead of a table, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let devices = match arguments.daemon.ask(&Request::Devices) {
        Ok(Reply::Devices { devices }) => devices,
        Ok(other) => return super::unexpected(other),
        Err(exit) => return exit,
    };
    if arguments.json {
        return super::print_json(&devices);
    }
    print!("{}", describe(&devices));
    Exit::Success
}

fn describe(devices: &[Device]) -> String {
    let rows: Vec<_> = devices.iter().map(row).collect();
    let heading =
        ["device", "state", "heard of", "address", "name", "model", "version", "channels", "remarks"];
    render(&heading, &rows)
}

fn row(device: &Device) -> Vec<String> {
    let channels = match device.catalog {
        CatalogState::Unknown => "?".to_owned(),
        CatalogState::Complete => device.channels.to_string(),
        CatalogState::Partial { received, expected } => format!("{received} of {expected}"),
    };
    let mut remarks = Vec::new();
    if let Some(rival) = &device.rival {
        remarks.push(format!("{rival} has the same identifier"));
    }
    if device.works == Some(false) {
        remarks.push("says that it does not work".to_owned());
    }
    if !device.faulty.is_empty() {
        remarks.push(format!("{} parts do not work", device.faulty.len()));
    }
    let model = [device.manufacturer.as_str(), device.model.as_str()].join(" ");
    vec![
        device.id.to_string(),
        if device.online { "online" } else { "offline" }.to_owned(),
        format!("{:.0} s ago", device.silent_seconds),
        device.address.clone(),
        device.name.clone(),
        model.trim().to_owned(),
        device.version.clone().unwrap_or_else(|| "-".to_owned()),
        channels,
        remarks.join("; "),
    ]
}
