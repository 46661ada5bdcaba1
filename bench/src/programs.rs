//! The bench's kernel half, loaded: its programs and maps, by what they are for.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, DevMap, MapData, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{ProgramFd, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};

use crate::records::{
    Arrivals, ArrivingStream, CPUS, FRAMES, Headers, LONGEST, Load, Replay, ReplayedFrame, SAMPLES_PER_CPU,
    SentStream, Slot, Slots, StreamLoad, Turn,
};

/// Gives the bytes the alignment that an ELF reader needs.
#[repr(C, align(32))]
struct Aligned<B: ?Sized>(B);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/generator.bpf.o")));

// SAFETY: each is a C structure of integers without padding bytes or pointers; every bit pattern is a value of it.
unsafe impl Pod for Headers {}
// SAFETY: as above.
unsafe impl Pod for Load {}
// SAFETY: as above.
unsafe impl Pod for Turn {}
// SAFETY: as above.
unsafe impl Pod for Arrivals {}
// SAFETY: as above.
unsafe impl Pod for Replay {}
// SAFETY: as above.
unsafe impl Pod for ReplayedFrame {}
// SAFETY: as above.
unsafe impl Pod for StreamLoad {}
// SAFETY: as above.
unsafe impl Pod for SentStream {}
// SAFETY: as above.
unsafe impl Pod for ArrivingStream {}
// SAFETY: as above.
unsafe impl Pod for Slot {}
// SAFETY: as above.
unsafe impl Pod for Slots {}

/// What a program is for; the name is the one in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends as fast as it can.
    Generate,
    /// The same with IPv6.
    GenerateIpv6,
    /// Sends as fast as it can, each flow in bursts.
    GenerateBursts,
    /// Sends packets that must not be forwarded among those that must.
    GenerateMix,
    /// Sends at a set rate, with time stamps.
    GenerateStamped,
    /// Sends at a set rate, with numbers.
    GenerateNumbered,
    /// Redirects, and nothing else.
    Bare,
    /// Passes everything.
    Pass,
    /// Hands the same packet again and again to the program that is measured.
    Again,
    /// The same with an IPv6 packet.
    AgainIpv6,
    /// Hands many frames in turn to the program that is measured.
    Replay,
    /// Counts what arrives.
    Count,
    /// Counts what arrives behind an 802.1Q tag.
    CountTagged,
    /// Counts what arrives as IPv6.
    CountIpv6,
    /// Counts what arrives from a network stack.
    CountAddressed,
    /// The same, if all of it comes from one port.
    CountFromOne,
    /// Counts what arrives, and notes when the first packet did.
    NoteFirst,
    /// Counts what arrives, and follows its numbers.
    Follow,
    /// Counts what is addressed as expected, and follows the numbers of each of the first flows.
    FollowEach,
    /// Counts what arrives and keeps its delay.
    Time,
    /// The same for what is addressed as expected, whatever else it says.
    TimeAddressed,
    /// Sends the packets of streams in turn, at a set rate.
    SendSteadily,
    /// Sends the packets of streams as a timetable says.
    SendByTimetable,
    /// Checks and follows each stream.
    CheckStreams,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::GenerateIpv6 => "generate_ipv6",
            Self::GenerateBursts => "generate_bursts",
            Self::GenerateMix => "generate_mix",
            Self::GenerateStamped => "generate_stamped",
            Self::GenerateNumbered => "generate_numbered",
            Self::Bare => "bare",
            Self::Pass => "pass",
            Self::Again => "again",
            Self::AgainIpv6 => "again_ipv6",
            Self::Replay => "replay",
            Self::Count => "count",
            Self::CountTagged => "count_tagged",
            Self::CountIpv6 => "count_ipv6",
            Self::CountAddressed => "count_addressed",
            Self::CountFromOne => "count_from_one",
            Self::NoteFirst => "note_first",
            Self::Follow => "follow",
            Self::FollowEach => "follow_each",
            Self::Time => "time",
            Self::TimeAddressed => "time_addressed",
            Self::SendSteadily => "send_steadily",
            Self::SendByTimetable => "send_by_timetable",
            Self::CheckStreams => "check_streams",
        }
    }
}

/// One loaded copy of the kernel half.
pub(crate) struct Programs {
    ebpf: Ebpf,
    load: Array<MapData, Load>,
    turn: PerCpuArray<MapData, Turn>,
    expected: Array<MapData, Headers>,
    arrivals: RefCell<PerCpuArray<MapData, Arrivals>>,
    followed: Array<MapData, Arrivals>,
    delays: Array<MapData, u32>,
    devices: DevMap<MapData>,
    measured: ProgramArray<MapData>,
    replay: Array<MapData, Replay>,
    replayed: Array<MapData, ReplayedFrame>,
}

impl Programs {
    /// Loads the object and these programs of it.
    pub(crate) fn load(roles: &[Role]) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(&OBJECT.0).context("the bench's programs: this takes root")?;
        for role in roles {
            let program: &mut Xdp = ebpf.program_mut(role.name()).context(role.name())?.try_into()?;
            program.load().with_context(|| format!("the kernel refused the program `{}`", role.name()))?;
        }
        Ok(Self {
            load: take(&mut ebpf, "LOAD")?,
            turn: take(&mut ebpf, "TURN")?,
            expected: take(&mut ebpf, "EXPECTED")?,
            arrivals: RefCell::new(take(&mut ebpf, "ARRIVALS")?),
            followed: take(&mut ebpf, "FOLLOWED")?,
            delays: take(&mut ebpf, "DELAYS")?,
            devices: take(&mut ebpf, "DEVICES")?,
            measured: take(&mut ebpf, "MEASURED")?,
            replay: take(&mut ebpf, "REPLAY")?,
            replayed: take(&mut ebpf, "REPLAYED")?,
            ebpf,
        })
    }

    /// Takes a map that only one room of the bench uses, as the type that it must have.
    pub(crate) fn take_map<M>(&mut self, name: &str) -> Result<M>
    where
        M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
    {
        take(&mut self.ebpf, name)
    }

    /// Each processor's generator starts at another stream, and at once.
    pub(crate) fn rewind_turns(&mut self, streams: u32) -> Result<()> {
        let turns = self.turn.get(&0, 0)?;
        let turns =
            turns.iter().zip(0..).map(|(turn, cpu)| Turn { flow: cpu % streams.max(1), due: 0, ..*turn });
        self.turn.set(0, PerCpuValues::try_from(turns.collect::<Vec<_>>())?, 0)?;
        Ok(())
    }

    /// A program that was loaded.
    pub(crate) fn program(&self, role: Role) -> Result<&Xdp> {
        Ok(self.ebpf.program(role.name()).context(role.name())?.try_into()?)
    }

    /// Attaches a program to a device of the calling thread's namespace, natively.
    pub(crate) fn attach(&mut self, role: Role, device: &str) -> Result<()> {
        let program: &mut Xdp = self.ebpf.program_mut(role.name()).context(role.name())?.try_into()?;
        program
            .attach(device, XdpMode::Driver)
            .with_context(|| format!("attaching `{}` to {device}", role.name()))?;
        Ok(())
    }

    /// Enters a device of the calling thread's namespace: slot 0 for the generator, slot 1 for `bare`.
    pub(crate) fn set_device(&mut self, slot: u32, interface: u32) -> Result<()> {
        self.devices.set(slot, interface, None, 0).context("entering a device into the bench's device map")
    }

    /// Says what [`Role::Replay`] hands over, one after the other.
    ///
    /// # Errors
    /// There are too many frames, or one is too long.
    pub(crate) fn set_frames<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<u32> {
        let mut count = 0;
        for frame in frames {
            let mut record =
                ReplayedFrame { length: u32::try_from(frame.len())?, bytes: [0; LONGEST as usize] };
            let place = record.bytes.get_mut(..frame.len());
            place.with_context(|| format!("a frame has {} bytes", frame.len()))?.copy_from_slice(frame);
            ensure!(count < FRAMES, "there are more than {FRAMES} frames");
            self.replayed.set(count, record, 0)?;
            count += 1;
        }
        self.replay.set(0, Replay { count, ..Replay::default() }, 0)?;
        Ok(count)
    }

    /// The replay begins anew, in a packet of so many bytes.
    pub(crate) fn rewind(&mut self, length: u32) -> Result<()> {
        let replay = self.replay.get(&0, 0)?;
        Ok(self.replay.set(0, Replay { next: 0, length, ..replay }, 0)?)
    }

    /// Says which program [`Role::Again`] and [`Role::Replay`] run.
    pub(crate) fn set_measured(&mut self, program: &ProgramFd) -> Result<()> {
        self.measured.set(0, program, 0).context("entering the program that is measured")
    }

    /// Says what to send and what has to arrive. Each processor's generator starts at another flow.
    pub(crate) fn set_load(&mut self, load: Load, expected: Headers) -> Result<()> {
        self.load.set(0, load, 0)?;
        self.expected.set(0, expected, 0)?;
        self.rewind_turns(load.flows)
    }

    /// Packets that the generator of each processor sent since the start.
    pub(crate) fn sent_by_each(&self) -> Result<Vec<u64>> {
        Ok(self.turn.get(&0, 0)?.iter().map(|turn| turn.sent).collect())
    }

    /// Packets that arrived since the start, all processors together.
    pub(crate) fn arrivals(&self) -> Result<Arrivals> {
        let each = self.arrivals.borrow().get(&0, 0)?;
        let followed = self.followed.get(&0, 0)?;
        Ok(each.iter().chain([&followed]).fold(Arrivals::default(), |sum, cpu| Arrivals {
            right: sum.right + cpu.right,
            wrong: sum.wrong + cpu.wrong,
            samples: sum.samples + cpu.samples,
            first: [sum.first, cpu.first].into_iter().filter(|at| *at > 0).min().unwrap_or(0),
            last: sum.last.max(cpu.last),
            longest_silence: sum.longest_silence.max(cpu.longest_silence),
            missing: sum.missing + cpu.missing,
            expected: sum.expected.max(cpu.expected),
            window: 0,
            late: sum.late + cpu.late,
        }))
    }

    /// What the numbers of one flow tell that [`Role::FollowEach`] follows.
    pub(crate) fn followed(&self, flow: u32) -> Result<Arrivals> {
        Ok(self.followed.get(&flow, 0)?)
    }

    /// Forgets when the first packet arrived: the next one is the first.
    pub(crate) fn forget_first(&self) -> Result<()> {
        let each = self.arrivals.borrow().get(&0, 0)?;
        let forgotten = each.iter().map(|arrivals| Arrivals { first: 0, ..*arrivals });
        self.arrivals.borrow_mut().set(0, PerCpuValues::try_from(forgotten.collect::<Vec<_>>())?, 0)?;
        Ok(())
    }

    /// The delays that were kept, in nanoseconds; forgets them.
    pub(crate) fn take_delays(&mut self) -> Result<Vec<u32>> {
        let each = self.arrivals.borrow().get(&0, 0)?;
        let mut delays = Vec::new();
        for (cpu, arrivals) in (0..CPUS).zip(each.iter()) {
            let kept = u32::try_from(arrivals.samples).unwrap_or(u32::MAX).min(SAMPLES_PER_CPU);
            for at in 0..kept {
                delays.push(self.delays.get(&(cpu * SAMPLES_PER_CPU + at), 0)?);
            }
        }
        let forgotten = each.iter().map(|arrivals| Arrivals { samples: 0, ..*arrivals });
        self.arrivals.borrow_mut().set(0, PerCpuValues::try_from(forgotten.collect::<Vec<_>>())?, 0)?;
        Ok(delays)
    }
}

/// Takes a map out of the object, as the type that it must have.
fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).with_context(|| format!("the bench's object has no map `{name}`"))?;
    Ok(map.try_into()?)
}
