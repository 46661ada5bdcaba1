//! The maps of the agreement test.

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use crate::shared::frame::{BATCH, Batch, DIGESTS_PER_RECORD, Frame, TEMPLATES};
use crate::shared::scene::Scene;

/// Which frames to make, and how many were made.
#[map]
pub(crate) static BATCHES: Array<Batch> = Array::with_max_entries(1, 0);

/// What frames are made from.
#[map]
pub(crate) static SEED_FRAMES: Array<Frame> = Array::with_max_entries(TEMPLATES, 0);

/// The frame at hand: a program's stack has no room for it. Afterwards, the last frame as the core left it.
#[map]
pub(crate) static FRAME: Array<Frame> = Array::with_max_entries(1, 0);

/// What the frame at hand arrives in. Afterwards, with what the core answered and wrote.
#[map]
pub(crate) static SCENES: Array<Scene> = Array::with_max_entries(1, 0);

/// The digest of each frame of the batch.
#[map]
pub(crate) static DIGESTS: Array<[u64; DIGESTS_PER_RECORD as usize]> =
    Array::with_max_entries(BATCH / DIGESTS_PER_RECORD, 0);
