//! `culvert ptz`: turn, tilt, zoom and focus a GB/T 28181 camera, and its presets, tours and scans.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Daemon, Exit};
use crate::admin::{Reply, Request};
use crate::gb28181::id::DeviceId;
use crate::gb28181::ptz::{
    CruiseAction, Focus, Iris, Lens, Movement, Pan, PresetAction, PtzCommand, ScanAction, Tilt, Zoom,
};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert ptz --config /etc/culvert.toml 34020000001310000001 move --pan left --speed \
                        64\n  culvert ptz --config /etc/culvert.toml 34020000001310000001 preset call 3\n\nA camera that \
                        moves goes on until it is told to stop; --seconds says when, and 0 leaves it to `stop`."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The channel, as `culvert channels` names it
    channel: DeviceId,
    /// The device, where several have a channel of this name
    #[arg(long)]
    device: Option<DeviceId>,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Subcommand)]
enum What {
    /// Turn, tilt and zoom, at the same time if need be
    Move {
        #[arg(long)]
        pan: Option<Pan>,
        #[arg(long)]
        tilt: Option<Tilt>,
        #[arg(long)]
        zoom: Option<Zoom>,
        /// How fast to turn and tilt
        #[arg(long, default_value_t = 64)]
        speed: u8,
        /// How fast to zoom
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(..=15))]
        zoom_speed: u8,
        /// Stop after so long; 0: not
        #[arg(long, default_value_t = 0.5)]
        seconds: f64,
    },
    /// Focus and iris
    Lens {
        #[arg(long)]
        focus: Option<Focus>,
        #[arg(long)]
        iris: Option<Iris>,
        /// How fast
        #[arg(long, default_value_t = 64)]
        speed: u8,
        /// Stop after so long; 0: not
        #[arg(long, default_value_t = 0.5)]
        seconds: f64,
    },
    /// Everything stops
    Stop,
    /// Where the camera looks: remember, look there, forget
    Preset {
        action: PresetAction,
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        number: u8,
    },
    /// A tour of presets
    Cruise {
        tour: u8,
        action: CruiseAction,
        /// The preset, speed or seconds that the action needs
        #[arg(default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=4_095))]
        value: u16,
    },
    /// A scan from side to side
    Scan {
        scan: u8,
        action: ScanAction,
        /// The speed
        #[arg(default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=4_095))]
        value: u16,
    },
    /// Switch something on; 1 is the wiper
    On { switch: u8 },
    /// Switch it off
    Off { switch: u8 },
}

impl What {
    /// The command, and with which other one it ends after how many seconds.
    fn commands(self) -> (PtzCommand, Option<(f64, PtzCommand)>) {
        let until = |seconds: f64, stop| (seconds > 0.0).then_some((seconds, stop));
        match self {
            Self::Move { pan, tilt, zoom, speed, zoom_speed, seconds } => {
                let zoom_speed = zoom.map_or(0, |_| zoom_speed);
                let movement = Movement { pan, pan_speed: speed, tilt, tilt_speed: speed, zoom, zoom_speed };
                (PtzCommand::Move(movement), until(seconds, PtzCommand::Stop))
            }
            Self::Lens { focus, iris, speed, seconds } => {
                let lens = Lens { focus, focus_speed: speed, iris, iris_speed: speed };
                (PtzCommand::Lens(lens), until(seconds, PtzCommand::Lens(Lens::default())))
            }
            Self::Stop => (PtzCommand::Stop, None),
            Self::Preset { action, number } => (PtzCommand::Preset { action, number }, None),
            Self::Cruise { tour, action, value } => (PtzCommand::Cruise { tour, action, value }, None),
            Self::Scan { scan, action, value } => (PtzCommand::Scan { scan, action, value }, None),
            Self::On { switch } => (PtzCommand::Auxiliary { switch, on: true }, None),
            Self::Off { switch } => (PtzCommand::Auxiliary { switch, on: false }, None),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (command, end) = arguments.what.commands();
    let exit = send(arguments, command);
    match end {
        Some((seconds, command)) if exit == Exit::Success => {
            std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            send(arguments, command)
        }
        _ => exit,
    }
}

fn send(arguments: &Arguments, command: PtzCommand) -> Exit {
    let Arguments { channel, device, .. } = *arguments;
    match arguments.daemon.ask(&Request::Ptz { device, channel, command }) {
        Ok(Reply::Done) => Exit::Success,
        Ok(other) => super::unexpected(other),
        Err(exit) => exit,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn commands(words: &str) -> Vec<String> {
        let line = format!("ptz --socket s 34020000001310000001 {words}");
        let parsed = Line::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        let (command, end) = parsed.arguments.what.commands();
        [Some(command), end.map(|(_, command)| command)]
            .into_iter()
            .flatten()
            .map(|it| it.to_string())
            .collect()
    }

    #[test]
    fn words_become_commands_and_movement_ends() {
        assert_eq!(commands("move --pan right --speed 31"), ["A50F01011F1F00F4", STOP]);
        assert_eq!(commands("move --tilt up --seconds 0").len(), 1);
        assert_eq!(commands("preset call 1"), ["A50F018200010038"]);
        assert_eq!(commands("stop"), [STOP]);
        assert_eq!(commands("lens --focus near")[1], "A50F0140000000F5");
        assert_eq!(commands("off 1"), ["A50F018D01000043"]);
    }

    const STOP: &str = "A50F0100000000B5";
}
