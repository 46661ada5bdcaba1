//! The records that both sides share.

/// Bytes that a frame may have. A power of two: offsets are cut to it by a mask, which is what lets the kernel's verifier
/// see that they are in range.
pub const ROOM: usize = 512;

/// Bytes of the shortest frame that the kernel runs a program on: an Ethernet header.
pub const SHORTEST: u32 = 14;

/// Bytes that mutations leave a frame at most; the rest of [`ROOM`] is for what a rewrite may add.
pub const LONGEST: u32 = 448;

/// How many frames there are to start from.
pub const TEMPLATES: u32 = 256;

/// Digests in one record of the digests map: fewer, larger reads for the user side.
pub const DIGESTS_PER_RECORD: u32 = 4096;

/// Frames in one batch: one call of BPF_PROG_TEST_RUN.
pub const BATCH: u32 = DIGESTS_PER_RECORD * 64;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Frame {
    /// How many of the bytes are the frame's, [`SHORTEST`] to [`ROOM`].
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// The bytes; zero behind `length` in a template.
    pub bytes: [u8; ROOM],
}

/// Which frames to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Batch {
    /// Frames of another seed are other frames.
    pub seed: u64,
    /// Number of the first frame of this batch.
    pub first: u64,
    /// Frames done so far: the kernel side counts.
    pub done: u32,
    /// Templates that are set, 1 to [`TEMPLATES`].
    pub templates: u32,
    /// 1 to take template 0 as it is instead of mutating; the scene is that of frame `first`.
    pub verbatim: u32,
    /// Runs that the kernel refused to shape a frame for; has to stay 0.
    pub failed: u32,
}
