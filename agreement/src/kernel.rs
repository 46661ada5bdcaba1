//! The kernel side, loaded.

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};

use crate::shared::frame::{BATCH, Batch, DIGESTS_PER_RECORD, Frame, LONGEST, SHORTEST, TEMPLATES};
use crate::shared::scene::Scene;
use crate::{Case, Outcome};

/// Gives the bytes the alignment that an ELF reader needs.
#[repr(C, align(32))]
struct Aligned<B: ?Sized>(B);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/agreement.bpf.o")));

const PROGRAM: &str = "agreement";
/// `XDP_PASS` of linux/bpf.h: the program's word that all went well.
const PASS: u32 = 2;

// SAFETY: each is a C structure of integers without padding bytes or pointers; every bit pattern is a value of it.
unsafe impl Pod for Frame {}
// SAFETY: as above.
unsafe impl Pod for Scene {}
// SAFETY: as above.
unsafe impl Pod for Batch {}

/// The core in the kernel.
pub struct Kernel {
    ebpf: Ebpf,
    batches: Array<MapData, Batch>,
    templates: Array<MapData, Frame>,
    frame: Array<MapData, Frame>,
    scenes: Array<MapData, Scene>,
    digests: Array<MapData, [u64; DIGESTS_PER_RECORD as usize]>,
}

impl Kernel {
    /// Loads the program.
    ///
    /// # Errors
    /// The process is not root, or the kernel refused the program.
    pub fn load() -> Result<Self> {
        let mut ebpf =
            EbpfLoader::new().load(&OBJECT.0).context("the agreement test's program: this takes root")?;
        let program: &mut Xdp = ebpf.program_mut(PROGRAM).context(PROGRAM)?.try_into()?;
        program.load().context("the kernel refused the agreement test's program")?;
        let mut scenes: Array<_, Scene> = take(&mut ebpf, "SCENES")?;
        scenes.set(0, Scene::blank(), 0)?;
        Ok(Self {
            scenes,
            batches: take(&mut ebpf, "BATCHES")?,
            templates: take(&mut ebpf, "SEED_FRAMES")?,
            frame: take(&mut ebpf, "FRAME")?,
            digests: take(&mut ebpf, "DIGESTS")?,
            ebpf,
        })
    }

    /// The digests of the frames `first` to `first + count` of a seed; `count` is at most [`BATCH`].
    ///
    /// # Errors
    /// The kernel refused the run, or to shape a frame.
    pub fn digests(&mut self, corpus: &[Frame], seed: u64, first: u64, count: u32) -> Result<Vec<u64>> {
        ensure!(count <= BATCH, "a batch has at most {BATCH} frames, found {count}");
        let templates = self.set_templates(corpus)?;
        self.run(Batch { seed, first, templates, ..Batch::default() }, count)?;
        let mut digests = Vec::with_capacity(count as usize);
        for record in 0..count.div_ceil(DIGESTS_PER_RECORD) {
            digests.extend(self.digests.get(&record, 0)?);
        }
        digests.truncate(count as usize);
        Ok(digests)
    }

    /// What became of frame `number` of a seed.
    ///
    /// # Errors
    /// As [`Kernel::digests`].
    pub fn outcome(&mut self, corpus: &[Frame], seed: u64, number: u64) -> Result<Outcome> {
        self.digests(corpus, seed, number, 1)?;
        self.last()
    }

    /// What becomes of this very frame in the scene of frame `number` of a seed.
    ///
    /// # Errors
    /// As [`Kernel::digests`].
    pub fn outcome_of(&mut self, case: &Case) -> Result<Outcome> {
        self.templates.set(0, case.frame, 0)?;
        self.run(
            Batch { seed: case.seed, first: case.number, templates: 1, verbatim: 1, ..Batch::default() },
            1,
        )?;
        self.last()
    }

    fn set_templates(&mut self, corpus: &[Frame]) -> Result<u32> {
        let count = u32::try_from(corpus.len())?;
        ensure!((1..=TEMPLATES).contains(&count), "1 to {TEMPLATES} templates, found {count}");
        for (at, frame) in (0..count).zip(corpus) {
            ensure!(
                (SHORTEST..=LONGEST).contains(&frame.length),
                "a template has {SHORTEST} to {LONGEST} bytes, found {}",
                frame.length
            );
            self.templates.set(at, frame, 0)?;
        }
        Ok(count)
    }

    fn run(&mut self, batch: Batch, count: u32) -> Result<()> {
        self.batches.set(0, batch, 0)?;
        let program: &mut Xdp = self.ebpf.program_mut(PROGRAM).context(PROGRAM)?.try_into()?;
        let start = [0; LONGEST as usize];
        let options = TestRunOptions { data_in: Some(&start), repeat: count, ..TestRunOptions::default() };
        let result = program.test_run(options).context("the kernel refused the test run")?;
        let after = self.batches.get(&0, 0)?;
        ensure!(
            result.return_value == PASS && after.failed == 0 && after.done == count,
            "{} of {count} frames were run, and {} of them failed in the kernel (action {})",
            after.done,
            after.failed,
            result.return_value
        );
        Ok(())
    }

    fn last(&self) -> Result<Outcome> {
        Ok(Outcome::new(&self.scenes.get(&0, 0)?, &self.frame.get(&0, 0)?))
    }
}

/// Takes a map out of the object, as the type that it must have.
fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).with_context(|| format!("the object has no map `{name}`"))?;
    Ok(map.try_into()?)
}
