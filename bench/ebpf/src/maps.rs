//! The maps of the bench. Each lane of the bench loads the object anew, so it has maps of its own.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, PerCpuArray, ProgramArray};

use crate::records::{
    Arrivals, ArrivingStream, CPUS, FOLLOWED_FLOWS, FRAMES, Headers, Load, Replay, ReplayedFrame,
    SAMPLES_PER_CPU, SLOTS_PER_CPU, STREAMS, SentStream, Slot, Slots, StreamLoad, Turn,
};

/// What the generator sends.
#[map]
pub(crate) static LOAD: Array<Load> = Array::with_max_entries(1, 0);

/// Where each generator stands.
#[map]
pub(crate) static TURN: PerCpuArray<Turn> = PerCpuArray::with_max_entries(1, 0);

/// What the sink expects.
#[map]
pub(crate) static EXPECTED: Array<Headers> = Array::with_max_entries(1, 0);

/// What arrived.
#[map]
pub(crate) static ARRIVALS: PerCpuArray<Arrivals> = PerCpuArray::with_max_entries(1, 0);

/// What the numbers and the times of packets tell: of all in the first record, or of each flow in its own. One record for all
/// processors: those of one queue are handed to one processor at a time, but not for ever.
#[map]
pub(crate) static FOLLOWED: Array<Arrivals> = Array::with_max_entries(FOLLOWED_FLOWS, 0);

/// One-way delays in nanoseconds, `SAMPLES_PER_CPU` for each processor.
#[map]
pub(crate) static DELAYS: Array<u32> = Array::with_max_entries(CPUS * SAMPLES_PER_CPU, 0);

/// Slot 0: the device that the generator sends into. Slot 1: the device that `bare` redirects to.
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(2, 0);

/// What is replayed.
#[map]
pub(crate) static REPLAYED: Array<ReplayedFrame> = Array::with_max_entries(FRAMES, 0);

/// Where the replay stands.
#[map]
pub(crate) static REPLAY: Array<Replay> = Array::with_max_entries(1, 0);

/// Slot 0: the program that `again` and `replay` run.
#[map]
pub(crate) static MEASURED: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What streams that are followed have in common.
#[map]
pub(crate) static STREAM_LOAD: Array<StreamLoad> = Array::with_max_entries(1, 0);

/// Those streams on their way out.
#[map]
pub(crate) static SENT_STREAMS: Array<SentStream> = Array::with_max_entries(STREAMS, 0);

/// The same streams at the sink.
#[map]
pub(crate) static ARRIVING_STREAMS: Array<ArrivingStream> = Array::with_max_entries(STREAMS, 0);

/// The timetable of each processor.
#[map]
pub(crate) static TIMETABLE: Array<Slot> = Array::with_max_entries(CPUS * SLOTS_PER_CPU, 0);

/// How many slots of it are in use.
#[map]
pub(crate) static SLOTS: Array<Slots> = Array::with_max_entries(1, 0);
