//! What is offered to a subject, and how the instruments are told.

use std::time::Duration;

use anyhow::Result;
use testbed::Topology;

use super::cameras;
use super::stream::address;
use super::subject::Subject;
use crate::programs::Role;
use crate::records::StreamLoad;
use crate::wire;

/// Packets a second before and after a measurement: few, so that nothing is lost then.
const IDLE: f64 = 1000.0;
/// A prime, so that it has no factor in common with a number of streams; and large, so that neighbouring records of tables
/// are not used one after the other.
const STEP: u32 = 7919;
/// The generator counts in so many parts of a nanosecond.
const PARTS: f64 = 256.0;

/// When packets leave, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packets {
    /// At equal distances, of `size` bytes from the Ethernet header to the end of the payload; `streams` take turns.
    Steady { size: usize, streams: u32 },
    /// As cameras send them.
    OfCameras,
}

impl Packets {
    /// How many streams there are.
    pub(crate) fn streams(self) -> u32 {
        match self {
            Self::Steady { streams, .. } => streams,
            Self::OfCameras => cameras::STREAMS,
        }
    }

    /// Bytes of a stream's packets.
    pub(crate) fn size_of(self, stream: u32) -> usize {
        match self {
            Self::Steady { size, .. } => size,
            Self::OfCameras if stream.is_multiple_of(2) => cameras::SIZES.0,
            Self::OfCameras => cameras::SIZES.1,
        }
    }

    /// The program that sends them.
    pub(crate) fn sender(self) -> Role {
        match self {
            Self::Steady { .. } => Role::SendSteadily,
            Self::OfCameras => Role::SendByTimetable,
        }
    }
}

/// What is offered to a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Offer {
    /// The packets.
    pub(crate) packets: Packets,
    /// Packets a second, all streams together.
    pub(crate) rate: f64,
    /// How long it is measured.
    pub(crate) window: Duration,
}

/// What the instruments are told before and after a measurement, and during it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds of at most some minutes, and not negative"
)]
pub(crate) fn loads(subject: Subject, offer: Offer, cpus: u32, sampling: u64) -> Result<[StreamLoad; 2]> {
    let Offer { packets, rate, .. } = offer;
    let streams = packets.streams();
    let sent = wire::from_camera(wire::Family::V4).headers(cameras::SIZES.1)?;
    let arriving = match subject {
        Subject::Instruments | Subject::Bare => sent,
        _ => wire::to_viewer(wire::Family::V4).headers(cameras::SIZES.1)?,
    };
    let common = StreamLoad {
        macs: sent.macs,
        source: address(Topology::CAMERA.terminal),
        arriving_macs: arriving.macs,
        streams,
        shortest: u32::try_from((0..2).map(|stream| packets.size_of(stream)).min().unwrap_or_default())?,
        // A stream belongs to one processor, as receive queues share them out, unless there is only one.
        step: STEP * cpus % streams,
        sampling,
        ..StreamLoad::default()
    };
    let all_slots = f64::from(cameras::CAMERAS * cameras::PACKETS_A_SECOND);
    let at_rate = |rate: f64| StreamLoad {
        interval: (1e9 * PARTS * f64::from(cpus) / rate) as u64,
        period: (1e9 * all_slots / rate) as u64,
        ..common
    };
    Ok([at_rate(IDLE), at_rate(rate)])
}
