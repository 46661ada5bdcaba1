//! The command line: one file per command. It turns arguments into calls of the library, results into text, and
//! errors into exit codes.

mod channels;
mod check;
mod control;
mod devices;
mod hangup;
mod play;
mod ptz;
mod run;
mod status;
mod stop;
mod streams;
mod table;
mod tap;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin::{self, AskError, Reply, Request};
use crate::config::{Config, ConfigError};

/// How a command ended. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Success = 0,
    Failed = 1,
    // 2 is clap's: the command line was wrong.
    BadConfiguration = 3,
    Unreachable = 4,
    NoSuchCall = 5,
    NoSuchLeg = 6,
    NoSuchDevice = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Parser)]
#[command(
    name = "culvert",
    version,
    about = "A media gateway: SIP terminals register and call, XDP forwards their media.",
    after_help = "Start with docs/culvert.example.toml:\n  culvert check --config culvert.toml\n  culvert run --config \
                  culvert.toml\n  culvert status --config culvert.toml\n\nExit codes:\n  0  done\n  1  failed while \
                  running; the message says why\n  2  wrong command line\n  3  the configuration file is wrong; the \
                  message names the key\n  4  no daemon answers on the admin socket\n  5  no such call, or viewer\n  \
                  6  no such leg\n  7  no such device or channel"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway in the foreground until SIGINT or SIGTERM
    Run(Box<run::Arguments>),
    /// Say whether a configuration file is good, and what it means
    Check(check::Arguments),
    /// Show what a running gateway does: interfaces, registrations, calls, packets, counters
    Status(status::Arguments),
    /// List GB/T 28181 devices that have registered
    Devices(devices::Arguments),
    /// List the channels of a GB/T 28181 device
    Channels(channels::Arguments),
    /// Send the media of a GB/T 28181 channel to an address
    Play(play::Arguments),
    /// Turn, tilt, zoom and focus a GB/T 28181 camera; its presets, tours and scans
    Ptz(ptz::Arguments),
    /// Order a GB/T 28181 channel to record, guard, send a key frame, or start anew
    Control(control::Arguments),
    /// Show which GB/T 28181 channels are watched, by whom, and how well their media arrives
    Streams(streams::Arguments),
    /// End a call: BYE to both sides; or send a viewer of `culvert play` no more
    Hangup(hangup::Arguments),
    /// End a running gateway; with --keep-media, leave media running for the next one
    Stop(stop::Arguments),
    /// Copy the packets of a leg into a file that Wireshark reads: relayed packets never show in tcpdump
    Tap(tap::Arguments),
}

/// Which configuration file.
#[derive(Args)]
struct ConfigFile {
    /// The configuration file (TOML); docs/culvert.example.toml explains every key
    #[arg(long, value_name = "FILE", env = "CULVERT_CONFIG")]
    config: PathBuf,
}

/// Which daemon to ask.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Daemon {
    /// The configuration file of the daemon, which names its admin socket
    #[arg(long, value_name = "FILE", env = "CULVERT_CONFIG")]
    config: Option<PathBuf>,
    /// The admin socket of the daemon
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Daemon {
    fn socket(&self) -> Result<PathBuf, ConfigError> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(config)) => Ok(Config::load(config)?.admin_socket),
            // clap has made sure that one of the two is there.
            (None, None) => Ok(PathBuf::new()),
        }
    }

    /// Asks it, or says why it cannot be asked.
    fn ask(&self, request: &Request) -> Result<Reply, Exit> {
        let socket = self.socket().map_err(|error| bad_configuration(&error))?;
        admin::ask(&socket, request).map_err(|error| unreachable(&error))
    }
}

/// Reads the command line, runs the command, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Channels(arguments) => channels::run(&arguments),
        Command::Play(arguments) => play::run(&arguments),
        Command::Ptz(arguments) => ptz::run(&arguments),
        Command::Control(arguments) => control::run(&arguments),
        Command::Streams(arguments) => streams::run(&arguments),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Hangup(arguments) => hangup::run(&arguments),
        Command::Tap(arguments) => tap::run(&arguments),
    };
    exit.into()
}

/// Loads the configuration or says what is wrong with it.
fn load(path: &Path) -> Result<Config, Exit> {
    Config::load(path).map_err(|error| bad_configuration(&error))
}

fn bad_configuration(error: &ConfigError) -> Exit {
    complain(error);
    Exit::BadConfiguration
}

fn unreachable(error: &AskError) -> Exit {
    complain(error);
    Exit::Unreachable
}

/// The daemon refuses, or answers something else than it was asked.
fn unexpected(reply: Reply) -> Exit {
    match reply {
        Reply::NoSuchDevice { message } | Reply::NoSuchChannel { message } => {
            complain(message);
            Exit::NoSuchDevice
        }
        Reply::Refused { message } | Reply::NoAnswer { message } | Reply::Invalid { message } => {
            complain(message);
            Exit::Failed
        }
        other => {
            complain(format_args!("the daemon answered {other:?}"));
            Exit::Failed
        }
    }
}

/// One value, for scripts.
fn print_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(json) => {
            println!("{json}");
            Exit::Success
        }
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}

fn complain(message: impl std::fmt::Display) {
    eprintln!("culvert: {message}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn status_needs_exactly_one_way_to_find_the_daemon() {
        assert!(Cli::try_parse_from(["culvert", "status", "--socket", "s"]).is_ok());
        assert!(Cli::try_parse_from(["culvert", "status"]).is_err());
        assert!(Cli::try_parse_from(["culvert", "status", "--socket", "s", "--config", "c"]).is_err());
    }
}
