//! `culvert hangup`: end a call from outside.

use clap::Args;

use super::{Daemon, Exit};
use crate::admin::{self, Reply, Request};

#[derive(Args)]
#[command(
    after_help = "Example:\n  culvert hangup --config /etc/culvert.toml 5f2c1a90\n\nExit code 5 when there is no \
                        such call or viewer; `culvert status` lists calls, `culvert streams` viewers."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The call, as `culvert status` names it, or the viewer, as `culvert streams` does
    call: String,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let socket = match arguments.daemon.socket() {
        Ok(socket) => socket,
        Err(error) => return super::bad_configuration(&error),
    };
    match admin::ask(&socket, &Request::Hangup { call: arguments.call.clone() }) {
        Ok(Reply::HangingUp) => Exit::Success,
        Ok(Reply::NoSuchCall) => {
            super::complain(format_args!(
                "no call or viewer {}; `culvert status` lists calls, `culvert streams` viewers",
                arguments.call
            ));
            Exit::NoSuchCall
        }
        Ok(other) => {
            super::complain(format_args!("the daemon answered {other:?}"));
            Exit::Failed
        }
        Err(error) => super::unreachable(&error),
    }
}
