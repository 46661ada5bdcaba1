//! `culvert play`: send the media of a GB/T 28181 channel to an address.

use std::net::SocketAddr;

use clap::Args;

use super::{Daemon, Exit};
use crate::admin::{Reply, Request};
use crate::gb28181::id::DeviceId;
use crate::gb28181::ssrc::Ssrc;

#[derive(Args)]
#[command(after_help = "Examples:\n  culvert play --config /etc/culvert.toml 34020000001310000001 --to \
                        10.77.1.9:6000\n  gst-launch-1.0 udpsrc port=6000 caps=application/x-rtp,media=video,\
                        clock-rate=90000,encoding-name=MP1S ! rtpmp1sdepay ! mpegpsdemux ! decodebin ! \
                        autovideosink\n\nThe camera is sent one INVITE however many watch it. `culvert hangup VIEWER` ends it.")]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The channel, as `culvert channels` names it
    channel: DeviceId,
    /// Where RTP is to be sent
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,
    /// The device, where several have a channel of this name
    #[arg(long)]
    device: Option<DeviceId>,
    /// The SSRC that the viewer expects
    #[arg(long)]
    ssrc: Option<u32>,
    /// One JSON object instead of a line, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { channel, to, device, ssrc, .. } = *arguments;
    let playing = match arguments.daemon.ask(&Request::Play { device, channel, to, ssrc }) {
        Ok(Reply::Playing(playing)) => playing,
        Ok(other) => return super::unexpected(other),
        Err(exit) => return exit,
    };
    if arguments.json {
        return super::print_json(&playing);
    }
    let ssrc = Ssrc(playing.ssrc);
    println!("{}  from {} to {}, SSRC {ssrc}", playing.viewer, playing.from, playing.to);
    Exit::Success
}
