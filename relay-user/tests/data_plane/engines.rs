//! The engines that make copies for groups, so that a test of what they do runs with each of them; and a group to try it on.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use relay_user::{FanOutChoice, LegId, LegSpec, ModeChoice, Options, Path, Plan, SourcePolicy};
use testbed::{Frames, Topology};

use crate::support::*;

/// Makes tests of functions that take an engine: each with every engine.
macro_rules! with_every_engine {
    ($($name:ident),+ $(,)?) => {
        $crate::engines::with_engine! { xdp Xdp: $($name)+ }
        $crate::engines::with_engine! { af_xdp AfXdp: $($name)+ }
        $crate::engines::with_engine! { af_xdp_generic AfXdpGeneric: $($name)+ }
        $crate::engines::with_engine! { user User: $($name)+ }
    };
}
pub(crate) use with_every_engine;

/// The same with those that take a program, and write whole frames.
macro_rules! with_every_program {
    ($($name:ident),+ $(,)?) => {
        $crate::engines::with_engine! { xdp_frames Xdp: $($name)+ }
        $crate::engines::with_engine! { af_xdp_frames AfXdp: $($name)+ }
        $crate::engines::with_engine! { af_xdp_generic_frames AfXdpGeneric: $($name)+ }
    };
}
pub(crate) use with_every_program;

macro_rules! with_engine {
    ($module:ident $engine:ident: $($name:ident)+) => {
        mod $module {
            $(#[test]
            fn $name() {
                super::$name($crate::engines::Engine::$engine);
            })+
        }
    };
}
pub(crate) use with_engine;

/// Who makes copies, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The kernel.
    Xdp,
    /// AF_XDP workers, because they were asked for.
    AfXdp,
    /// AF_XDP workers in generic mode, because the kernel cannot.
    AfXdpGeneric,
    /// Sockets.
    User,
}

impl Engine {
    /// A relay with this engine, and room for so many legs.
    pub(crate) fn options(self, legs: u32) -> Options {
        let (mode, fan_out) = match self {
            Self::Xdp => (ModeChoice::Native, FanOutChoice::Auto),
            Self::AfXdp => (ModeChoice::Native, FanOutChoice::AfXdp),
            Self::AfXdpGeneric => (ModeChoice::Generic, FanOutChoice::Auto),
            Self::User => (ModeChoice::User, FanOutChoice::Auto),
        };
        Options { mode, fan_out, legs, ..Options::default() }
    }

    /// What a group says of it.
    pub(crate) fn path(self) -> Path {
        match self {
            Self::Xdp => Path::Xdp,
            Self::AfXdp | Self::AfXdpGeneric => Path::AfXdp,
            Self::User => Path::User,
        }
    }
}

/// The first of the receivers' ports, theirs and ours.
pub(crate) const FIRST: u16 = 10_000;

/// A relay with a camera's leg that leads nowhere yet.
pub(crate) struct Group {
    pub(crate) bench: Bench,
    pub(crate) camera: UdpSocket,
    pub(crate) source: LegId,
}

impl Group {
    /// With room for so many legs.
    pub(crate) fn start(engine: Engine, room: u32) -> Self {
        Self::with(engine.options(room), camera_leg(SourcePolicy::Pinned))
    }

    /// With this leg of the camera's.
    pub(crate) fn with(options: Options, camera: LegSpec) -> Self {
        Self::on(Bench::with_options(options), camera)
    }

    /// The same on a relay that runs.
    pub(crate) fn on(bench: Bench, camera: LegSpec) -> Self {
        let plan = Plan { legs: vec![camera], streams: Vec::new() };
        let source = bench.runtime.block_on(bench.relay.install(&plan)).unwrap()[0];
        let camera = bench.camera_socket(CAMERA_PORT);
        Self { bench, camera, source }
    }

    pub(crate) fn join(&self, receivers: &[LegSpec]) -> Vec<LegId> {
        self.bench.runtime.block_on(self.bench.relay.join(self.source, receivers)).unwrap()
    }

    pub(crate) fn send(&self, sequence: u16) {
        self.camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
    }

    pub(crate) fn sockets(&self, count: u16) -> Vec<UdpSocket> {
        (0..count).map(|number| self.bench.viewer_socket(FIRST + number)).collect()
    }
}

/// The receiver with this number, at the viewer.
pub(crate) fn receiver(number: u16) -> LegSpec {
    let side = Topology::VIEWER;
    LegSpec::new(SocketAddrV4::new(side.relay, FIRST + number).into())
        .remote(SocketAddrV4::new(side.terminal, FIRST + number).into())
}

/// The sequence number of an RTP packet.
pub(crate) fn sequence_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// The first `count` frames of media that arrive, by the relay's port: that port, the tag, and the DSCP.
pub(crate) fn headers_of(frames: &Frames, count: usize) -> Vec<(u16, u16, u8)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let frame =
            frames.receive(Duration::from_secs(5)).unwrap().expect("a frame for each receiver arrives");
        let (tag, ip) = match &frame[12..14] {
            [0x81, 0] => (u16::from_be_bytes([frame[14], frame[15]]), &frame[18..]),
            _ => (0, &frame[14..]),
        };
        // Others speak here, too: neighbours are looked for, and who has no socket says so.
        if ip[0] == 0x45 && ip[9] == 17 {
            seen.push((u16::from_be_bytes([ip[22], ip[23]]), tag, ip[1] >> 2));
        }
    }
    seen.sort_unstable();
    seen
}
