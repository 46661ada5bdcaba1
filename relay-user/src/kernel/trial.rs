//! The programs of fan-out once more, with maps of their own: what the kernel is tried with before it copies anything for a
//! receiver. No packet of the relay's meets them.

use std::os::fd::OwnedFd;

use aya::Ebpf;
use aya::EbpfLoader;
use aya::maps::{MapData, RingBuf};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use relay_common::fan_out::Metadata;
use relay_common::next_hop::NextHop;

use super::{
    Capacity, FanOutKernel, FanOutPrograms, KEPT, LoadError, Owner, SharedArray, fan_out, map, object,
    program, refused, shared,
};

/// Where a packet enters that waits for the next block.
const ENTRY: &str = "fan_out_further";

#[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
const METADATA: u32 = Metadata::LENGTH as u32;

/// Programs and maps for a trial.
pub(crate) struct TrialKernel {
    pub(crate) fan_out: FanOutKernel,
    pub(crate) next_hops: SharedArray<NextHop>,
    /// What the witness tells.
    pub(crate) witnessed: RingBuf<MapData>,
    /// The program for the far end of the device that copies leave by.
    pub(crate) witness: OwnedFd,
    ebpf: Ebpf,
}

impl TrialKernel {
    /// Loads what a trial takes.
    pub(crate) fn load(capacity: Capacity) -> Result<Self, LoadError> {
        let mut loader = EbpfLoader::new();
        for map in KEPT.iter().filter(|map| map.owner == Owner::Program) {
            loader.map_max_entries(map.name, map.entries(capacity));
        }
        let mut ebpf = loader
            .override_global("LEG_SLOTS", &capacity.slots, true)
            .load(object::bytes())
            .map_err(refused)?;
        let programs: FanOutPrograms = fan_out::load(&mut ebpf)?;
        let witness = fan_out::load_one(&mut ebpf, "fan_out_witness")?;
        Ok(Self {
            fan_out: fan_out::take(&mut ebpf, Ok(programs))?,
            next_hops: shared(&mut ebpf, "NEXT_HOPS")?,
            witnessed: map(&mut ebpf, "EVENTS")?,
            witness,
            ebpf,
        })
    }

    /// Sends this frame so many times, from where packets wait for the block that follows the one in `metadata`.
    pub(crate) fn send(&mut self, metadata: Metadata, frame: &[u8], packets: u32) -> Result<(), LoadError> {
        let data = [&metadata.to_bytes()[..], frame].concat();
        let end = u32::try_from(data.len()).map_err(|error| LoadError::Refused(error.into()))?;
        // `struct xdp_md` of linux/bpf.h: data, its end, and where the metadata begins that lies before it.
        let context = [METADATA, end, 0, 0, 0, 0].map(u32::to_ne_bytes).concat();
        let entry: &mut Xdp = program(&mut self.ebpf, ENTRY)?;
        let options = TestRunOptions {
            data_in: Some(&data),
            ctx_in: Some(&context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(packets),
            ..TestRunOptions::default()
        };
        entry.test_run(options).map_err(|error| LoadError::Refused(error.into()))?;
        Ok(())
    }
}
