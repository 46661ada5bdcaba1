//! Eight bytes that move a camera (A.3): `A5`, version and check, address, command, three of data, sum. It must not know who
//! sends them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The address of every camera: the message says which one is meant.
const ADDRESS: u8 = 0x01;

/// Left or right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pan {
    /// To the left.
    Left,
    /// To the right.
    Right,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tilt {
    /// Upwards.
    Up,
    /// Downwards.
    Down,
}

/// Larger or smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Zoom {
    /// The picture gets larger.
    In,
    /// The picture gets smaller.
    Out,
}

/// Where the focus goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Focus {
    /// Nearer.
    Near,
    /// Farther.
    Far,
}

/// What the iris does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Iris {
    /// More light.
    Open,
    /// Less light.
    Close,
}

/// What to do with a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PresetAction {
    /// Remember where the camera looks.
    Set,
    /// Look there.
    Call,
    /// Forget it.
    Delete,
}

/// What to do with a tour of presets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CruiseAction {
    /// Add the preset that the value says, 1 to 255.
    Add,
    /// Remove the preset that the value says; 0 removes the tour.
    Remove,
    /// The value is how fast, 0 to 4095.
    Speed,
    /// The value is how many seconds at each preset, 0 to 4095.
    Dwell,
    /// Go.
    Start,
}

/// What to do with a scan from side to side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ScanAction {
    /// Go.
    Start,
    /// The left end is where the camera looks.
    Left,
    /// The right end is.
    Right,
    /// The value is how fast, 0 to 4095.
    Speed,
}

/// Turn and zoom, all that is there at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Movement {
    /// Which way to turn.
    pub pan: Option<Pan>,
    /// How fast, 0 to 255.
    pub pan_speed: u8,
    /// Which way to tilt.
    pub tilt: Option<Tilt>,
    /// How fast, 0 to 255.
    pub tilt_speed: u8,
    /// Which way to zoom.
    pub zoom: Option<Zoom>,
    /// How fast, 0 to 15; more is 15.
    pub zoom_speed: u8,
}

/// Focus and iris.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lens {
    /// Which way.
    pub focus: Option<Focus>,
    /// How fast, 0 to 255.
    pub focus_speed: u8,
    /// Which way.
    pub iris: Option<Iris>,
    /// How fast, 0 to 255.
    pub iris_speed: u8,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum PtzCommand {
    /// Turn and zoom.
    Move(Movement),
    /// Focus and iris; nothing at all stops both.
    Lens(Lens),
    /// Everything stops.
    Stop,
    /// A preset.
    Preset {
        /// What to do with it.
        action: PresetAction,
        /// Which, 1 to 255.
        number: u8,
    },
    /// A tour of presets.
    Cruise {
        /// Which.
        tour: u8,
        /// What to do with it.
        action: CruiseAction,
        /// What the action needs.
        #[serde(default)]
        value: u16,
    },
    /// A scan from side to side.
    Scan {
        /// Which.
        scan: u8,
        /// What to do with it.
        action: ScanAction,
        /// What the action needs.
        #[serde(default)]
        value: u16,
    },
    /// A switch.
    Auxiliary {
        /// Which; 1 is the wiper.
        switch: u8,
        /// On or off.
        on: bool,
    },
}

/// The fourth byte, two bytes of data, and the nibble above that of the address.
type Parts = (u8, u8, u8, u8);

impl PtzCommand {
    /// The eight bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let (command, one, two, nibble) = match self {
            Self::Move(movement) => movement.parts(),
            Self::Lens(lens) => lens.parts(),
            Self::Stop => (0, 0, 0, 0),
            Self::Preset { action, number } => match action {
                PresetAction::Set => (0x81, 0, number, 0),
                PresetAction::Call => (0x82, 0, number, 0),
                PresetAction::Delete => (0x83, 0, number, 0),
            },
            Self::Cruise { tour, action, value } => match action {
                CruiseAction::Add => (0x84, tour, byte(value), 0),
                CruiseAction::Remove => (0x85, tour, byte(value), 0),
                CruiseAction::Speed => long(0x86, tour, value),
                CruiseAction::Dwell => long(0x87, tour, value),
                CruiseAction::Start => (0x88, tour, 0, 0),
            },
            Self::Scan { scan, action, value } => match action {
                ScanAction::Start => (0x89, scan, 0, 0),
                ScanAction::Left => (0x89, scan, 1, 0),
                ScanAction::Right => (0x89, scan, 2, 0),
                ScanAction::Speed => long(0x8A, scan, value),
            },
            Self::Auxiliary { switch, on } => (if on { 0x8C } else { 0x8D }, switch, 0, 0),
        };
        // The second byte: version 0, and the sum of the first three nibbles, modulo 16.
        let [a, b, c, d, e, f, g] = [0xA5, 0x0F, ADDRESS, command, one, two, nibble << 4];
        let sum = [b, c, d, e, f, g].into_iter().fold(a, u8::wrapping_add);
        [a, b, c, d, e, f, g, sum]
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for PtzCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02X}"))
    }
}

impl Movement {
    fn parts(self) -> Parts {
        let pan = match self.pan {
            Some(Pan::Right) => 0x01,
            Some(Pan::Left) => 0x02,
            None => 0,
        };
        let tilt = match self.tilt {
            Some(Tilt::Down) => 0x04,
            Some(Tilt::Up) => 0x08,
            None => 0,
        };
        let zoom = match self.zoom {
            Some(Zoom::In) => 0x10,
            Some(Zoom::Out) => 0x20,
            None => 0,
        };
        (pan | tilt | zoom, self.pan_speed, self.tilt_speed, self.zoom_speed.min(15))
    }
}

impl Lens {
    fn parts(self) -> Parts {
        let focus = match self.focus {
            Some(Focus::Far) => 0x01,
            Some(Focus::Near) => 0x02,
            None => 0,
        };
        let iris = match self.iris {
            Some(Iris::Open) => 0x04,
            Some(Iris::Close) => 0x08,
            None => 0,
        };
        (0x40 | focus | iris, self.focus_speed, self.iris_speed, 0)
    }
}

/// A number of one byte; more is 255.
fn byte(value: u16) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// A number of twelve bits: the low eight in the second byte of data, the high four in the nibble. More is 4095.
fn long(command: u8, one: u8, value: u16) -> Parts {
    let [high, low] = value.min(0xFFF).to_be_bytes();
    (command, one, low, high)
}

#[cfg(test)]
mod tests {
    use gb28181_rs::manscdp::{PtzCommand as Theirs, parse_ptz_command};

    use super::*;

    #[test]
    fn vectors_of_the_field() {
        let moves = |movement| PtzCommand::Move(movement).to_string();
        let none = Movement::default();
        let right = Movement { pan: Some(Pan::Right), pan_speed: 0x1F, tilt_speed: 0x1F, ..none };
        assert_eq!(moves(right), "A50F01011F1F00F4");
        assert_eq!(moves(Movement { tilt: Some(Tilt::Up), tilt_speed: 0x1F, ..none }), "A50F0108001F00DC");
        assert_eq!(moves(Movement { zoom: Some(Zoom::In), zoom_speed: 1, ..none }), "A50F0110000010D5");
        assert_eq!(PtzCommand::Stop.to_string(), "A50F0100000000B5");
        let preset = |action| PtzCommand::Preset { action, number: 1 }.to_string();
        assert_eq!(preset(PresetAction::Set), "A50F018100010037");
        assert_eq!(preset(PresetAction::Call), "A50F018200010038");
        assert_eq!(preset(PresetAction::Delete), "A50F018300010039");
        let lens =
            Lens { focus: Some(Focus::Near), focus_speed: 0x20, iris: Some(Iris::Open), iris_speed: 0x20 };
        assert_eq!(PtzCommand::Lens(lens).to_string(), "A50F01462020003B");
    }

    #[test]
    fn numbers_beyond_eight_bits_use_the_nibble_beside_the_address() {
        let cruise = |action, value| PtzCommand::Cruise { tour: 2, action, value }.to_bytes()[3..7].to_vec();
        assert_eq!(cruise(CruiseAction::Dwell, 0x123), [0x87, 2, 0x23, 0x10]);
        assert_eq!(cruise(CruiseAction::Speed, 9_999), [0x86, 2, 0xFF, 0xF0]);
        assert_eq!(cruise(CruiseAction::Add, 7), [0x84, 2, 7, 0]);
        assert_eq!(cruise(CruiseAction::Remove, 0), [0x85, 2, 0, 0]);
        let scan = |action, value| PtzCommand::Scan { scan: 1, action, value }.to_bytes()[3..7].to_vec();
        assert_eq!(scan(ScanAction::Right, 0), [0x89, 1, 2, 0]);
        assert_eq!(scan(ScanAction::Speed, 0x0F0), [0x8A, 1, 0xF0, 0]);
    }

    #[test]
    fn decoder_of_strangers_reads_what_we_write() {
        let read = |command: PtzCommand| parse_ptz_command(&command.to_string());
        let everything = Movement {
            pan: Some(Pan::Left),
            pan_speed: 200,
            tilt: Some(Tilt::Down),
            tilt_speed: 3,
            zoom: Some(Zoom::Out),
            zoom_speed: 15,
        };
        let Theirs::Move { pan_speed, tilt_speed, bits, .. } = read(PtzCommand::Move(everything)) else {
            panic!("{:?}", read(PtzCommand::Move(everything)));
        };
        assert_eq!((bits, pan_speed, tilt_speed), (0x26, 200, 3));
        assert!(read(PtzCommand::Stop).is_stop());
        assert!(matches!(
            read(PtzCommand::Auxiliary { switch: 2, on: true }),
            Theirs::AuxSwitch { number: 2, on: true }
        ));
        // It looks for the numbers of presets in the seventh byte; the standard has them in the sixth (A.3.4).
        let preset = PtzCommand::Preset { action: PresetAction::Call, number: 255 };
        assert!(matches!(read(preset), Theirs::Preset { .. }));
        let cruise = PtzCommand::Cruise { tour: 3, action: CruiseAction::Add, value: 9 };
        assert!(matches!(read(cruise), Theirs::Cruise { group: 3, .. }));
    }

    #[test]
    fn commands_have_a_form_in_json() {
        let read = |text: &str| serde_json::from_str::<PtzCommand>(text).unwrap().to_string();
        assert_eq!(
            read(r#"{"command":"move","pan":"right","pan_speed":31,"tilt_speed":31}"#),
            "A50F01011F1F00F4"
        );
        assert_eq!(read(r#"{"command":"preset","action":"call","number":1}"#), "A50F018200010038");
        assert_eq!(read(r#"{"command":"stop"}"#), "A50F0100000000B5");
    }
}
