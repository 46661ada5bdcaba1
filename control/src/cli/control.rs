//! `culvert control`: order a GB/T 28181 channel to do something, beside moving.

use clap::Args;

use super::{Daemon, Exit};
use crate::admin::{Order, Reply, Request};
use crate::gb28181::id::DeviceId;

#[derive(Args)]
#[command(after_help = "Example:\n  culvert control --config /etc/culvert.toml 34020000001310000001 record")]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The channel, as `culvert channels` names it
    channel: DeviceId,
    /// What to do
    order: Order,
    /// The device, where several have a channel of this name
    #[arg(long)]
    device: Option<DeviceId>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { channel, order, device, .. } = *arguments;
    match arguments.daemon.ask(&Request::Control { device, channel, order }) {
        Ok(Reply::Done) => Exit::Success,
        Ok(other) => super::unexpected(other),
        Err(exit) => exit,
    }
}
