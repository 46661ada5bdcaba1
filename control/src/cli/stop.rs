//! `culvert stop`: end the gateway, with or without the media that it relays.

use clap::Args;

use super::{Daemon, Exit};
use crate::admin::{self, Reply, Request};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert stop --config /etc/culvert.toml\n  culvert stop --keep-media --config \
                        /etc/culvert.toml && culvert-new run --config /etc/culvert.toml\n\nWithout --keep-media this is \
                        SIGTERM: all calls end with BYE. With it (or SIGUSR2) the gateway leaves at once and says \
                        nothing to anybody; media runs on in the kernel, and the next `culvert run` with the same \
                        `state` in [relay] takes it over."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// Leave media running for the next gateway
    #[arg(long)]
    keep_media: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let socket = match arguments.daemon.socket() {
        Ok(socket) => socket,
        Err(error) => return super::bad_configuration(&error),
    };
    match admin::ask(&socket, &Request::Stop { keep_media: arguments.keep_media }) {
        Ok(Reply::Stopping) => Exit::Success,
        Ok(Reply::Refused { message }) => {
            super::complain(message);
            Exit::Failed
        }
        Ok(other) => {
            super::complain(format_args!("the daemon answered {other:?}"));
            Exit::Failed
        }
        Err(error) => super::unreachable(&error),
    }
}
