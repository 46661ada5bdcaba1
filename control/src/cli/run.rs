//! `culvert run`: the gateway itself.

use std::io::IsTerminal as _;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::{ConfigFile, Exit};
use crate::daemon;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert run --config /etc/culvert.toml\n  culvert run --config culvert.toml \
                        --log-json --log warn,control=info\n\nSIGINT or SIGTERM ends all calls with BYE and stops; a \
                        second signal stops at once. SIGUSR2 leaves at once and keeps media running for the next \
                        daemon, as `culvert stop --keep-media` does."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// What to log: error, warn, info, debug, or per module as in `warn,control=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "CULVERT_LOG")]
    log: EnvFilter,
    /// Log one JSON object a line
    #[arg(long)]
    log_json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match super::load(&arguments.file.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let log = tracing_subscriber::fmt().with_env_filter(arguments.log.clone()).with_writer(std::io::stderr);
    if arguments.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    match daemon::run(config) {
        Ok(()) => Exit::Success,
        Err(error) => {
            super::complain(error);
            Exit::Failed
        }
    }
}
