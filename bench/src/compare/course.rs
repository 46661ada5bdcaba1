//! One subject with everything around it: generator, wires, sink; and what becomes of packets that are offered to it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData};
use testbed::Topology;

use super::cameras;
use super::offer::{Offer, Packets, loads};
use super::precedence::Precedence;
use super::reading::{Outcome, Reading};
use super::stream::Stream;
use super::subject::{Running, Subject};
use crate::clock;
use crate::generator::{self, Drive};
use crate::lane::{index, inside, wait_for_packets};
use crate::machine;
use crate::programs::{Programs, Role};
use crate::records::{ArrivingStream, SAMPLES_PER_CPU, SLOTS_PER_CPU, SentStream, Slot, Slots, StreamLoad};
use crate::wire;

/// Packets that the kernel's generator makes at once; it looks at the clock for each.
const BATCH: u32 = 64;
/// Until the rate is steady.
const SETTLE: Duration = Duration::from_millis(20);
/// Packets that have not come for so long do not come.
const DRAIN: Duration = Duration::from_millis(20);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(4);

/// A subject, and the instruments around it.
pub(crate) struct Course {
    pub(crate) subject: Subject,
    running: Box<dyn Running>,
    programs: Programs,
    load: Array<MapData, StreamLoad>,
    sent: Array<MapData, SentStream>,
    arriving: Array<MapData, ArrivingStream>,
    timetable: Array<MapData, Slot>,
    slots: Array<MapData, Slots>,
    /// The packets that the instruments know.
    known: Option<Packets>,
    /// Packets that arrived after a later one of their stream, before the streams were told anew.
    late: u64,
    /// Bytes of memory that the subject took when it started with all its streams.
    pub(crate) memory: u64,
    /// Last, because the devices must outlive what is attached to them.
    _topology: Topology,
}

impl Course {
    /// Lays the wires and starts the subject with so many streams, or as many as it can.
    pub(crate) fn lay(subject: Subject, streams: u32) -> Result<Self> {
        let topology = wire::lay()?;
        let mut programs =
            Programs::load(&[Role::SendSteadily, Role::SendByTimetable, Role::Bare, Role::CheckStreams])?;
        inside(&topology.camera, || programs.set_device(0, index(Topology::TERMINAL_DEVICE)?))?;
        let (sink, device) = match subject {
            Subject::Instruments => (&topology.relay, Topology::CAMERA.device),
            _ => (&topology.viewer, Topology::TERMINAL_DEVICE),
        };
        inside(sink, || programs.attach(Role::CheckStreams, device))?;
        if subject == Subject::Bare {
            inside(&topology.relay, || {
                programs.set_device(1, index(Topology::VIEWER.device)?)?;
                programs.attach(Role::Bare, Topology::CAMERA.device)?;
                programs.attach(Role::Bare, Topology::VIEWER.device)
            })?;
        }
        let before = machine::available_memory()?;
        let running = subject
            .start(&topology, streams.min(subject.limit().0))
            .with_context(|| format!("starting {}", subject.title()))?;
        Ok(Self {
            subject,
            running,
            load: programs.take_map("STREAM_LOAD")?,
            sent: programs.take_map("SENT_STREAMS")?,
            arriving: programs.take_map("ARRIVING_STREAMS")?,
            timetable: programs.take_map("TIMETABLE")?,
            slots: programs.take_map("SLOTS")?,
            programs,
            known: None,
            late: 0,
            memory: before.saturating_sub(machine::available_memory()?),
            _topology: topology,
        })
    }

    /// Whether the subject has so many streams.
    pub(crate) fn has(&self, streams: u32) -> bool {
        self.running.streams().len() >= streams as usize
    }

    /// Offers packets and returns what became of them.
    ///
    /// # Errors
    /// A packet arrived that is not as it must be, or more arrived than were sent.
    pub(crate) fn offer(&mut self, offer: Offer) -> Result<Outcome> {
        self.measure(offer, u64::MAX)
    }

    /// The same; returns the delays of packets, in nanoseconds, too: of as many as there is room for, evenly chosen.
    pub(crate) fn delays(&mut self, offer: Offer) -> Result<(Outcome, Vec<u32>)> {
        let packets = offer.rate * (offer.window + SETTLE).as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "far below 2^32, and not negative"
        )]
        let chosen = (packets / f64::from(SAMPLES_PER_CPU) + 1.0) as u64;
        self.programs.take_delays()?;
        let outcome = self.measure(offer, chosen.next_power_of_two() - 1)?;
        Ok((outcome, self.programs.take_delays()?))
    }

    /// Makes the subject whole after more than it could take.
    pub(crate) fn recover(&mut self) -> Result<()> {
        let before = self.running.streams().to_vec();
        self.running.recover().with_context(|| format!("reviving {}", self.subject.title()))?;
        if self.running.streams() != before.as_slice() {
            self.forget_streams()?;
        }
        Ok(())
    }

    /// Packets that arrived after a later one of their stream.
    pub(crate) fn late(&mut self) -> Result<u64> {
        self.forget_streams()?;
        Ok(self.late)
    }

    fn measure(&mut self, offer: Offer, sampling: u64) -> Result<Outcome> {
        self.tell_streams(offer.packets)?;
        let cpus = self.subject.senders(offer.packets.streams());
        let [idle, busy] = loads(self.subject, offer, cpus, sampling)?;
        self.load.set(0, idle, 0)?;
        self.programs.rewind_turns(offer.packets.streams())?;
        let first = self.running.streams().first().context("a subject has a stream")?;
        let frame = first.template(offer.packets.size_of(0))?;
        let (sent, arrived) = (self.sent()?, self.arrived()?);
        let Self { programs, load, running, .. } = self;
        let program = programs.program(offer.packets.sender())?;
        let threads = running.threads();
        let drive = Drive { program, frame: &frame, batch: BATCH, cpus };
        let [start, end] = generator::while_sending(drive, |senders| {
            wait_for_packets(programs, cpus)?;
            senders.undisturbed(|| {
                let _precedence = Precedence::give(&threads);
                load.set(0, StreamLoad { start: clock::monotonic(), ..busy }, 0)?;
                thread::sleep(SETTLE);
                let start = Reading::take(programs, &threads)?;
                thread::sleep(offer.window);
                let end = Reading::take(programs, &threads)?;
                load.set(0, idle, 0)?;
                thread::sleep(LOOK);
                Ok([start, end])
            })
        })?;
        self.drain()?;
        let (sent, arrived) = (self.sent()? - sent, self.arrived()? - arrived);
        ensure!(
            arrived <= sent,
            "{}: {arrived} packets arrived of {sent} that were sent",
            self.subject.title()
        );
        let mut outcome = end.since(&start);
        outcome.lost = sent - arrived;
        Ok(outcome)
    }

    /// Waits for what is still on its way.
    fn drain(&self) -> Result<()> {
        let mut last = (self.arrived()?, Instant::now());
        while last.1.elapsed() < DRAIN && last.0 < self.sent()? {
            thread::sleep(LOOK);
            let arrived = self.arrived()?;
            if arrived != last.0 {
                last = (arrived, Instant::now());
            }
        }
        Ok(())
    }

    fn sent(&self) -> Result<u64> {
        Ok(self.programs.sent_by_each()?.iter().sum())
    }

    fn arrived(&self) -> Result<u64> {
        let arrivals = self.programs.arrivals()?;
        let name = self.subject.title();
        ensure!(
            arrivals.wrong == 0,
            "{name}: {} packets arrived that are not as they must be",
            arrivals.wrong
        );
        Ok(arrivals.right)
    }

    /// Tells the instruments what each stream's packets look like, and when they leave, unless they know.
    fn tell_streams(&mut self, packets: Packets) -> Result<()> {
        let streams = packets.streams();
        ensure!(self.has(streams), "{} has fewer than {streams} streams", self.subject.title());
        if self.known == Some(packets) {
            return Ok(());
        }
        self.forget_streams()?;
        let all: &[Stream] = self.running.streams();
        for (number, stream) in (0..streams).zip(all) {
            let (going, coming) = stream.records(number, packets.size_of(number))?;
            self.sent.set(number, going, 0)?;
            self.arriving.set(number, coming, 0)?;
        }
        if packets == Packets::OfCameras {
            self.tell_timetable()?;
        }
        self.known = Some(packets);
        Ok(())
    }

    fn tell_timetable(&mut self) -> Result<()> {
        let senders = self.subject.senders(cameras::STREAMS);
        let mut slots = Slots::default();
        for ((sender, base), count) in
            (0..senders).zip((0..).step_by(SLOTS_PER_CPU as usize)).zip(&mut slots.count)
        {
            let timetable = cameras::timetable(sender, senders);
            for (at, slot) in (base..).zip(&timetable) {
                self.timetable.set(at, slot, 0)?;
            }
            *count = u32::try_from(timetable.len())?;
        }
        Ok(self.slots.set(0, slots, 0)?)
    }

    /// Keeps what the sink found out about the streams before they are told anew.
    fn forget_streams(&mut self) -> Result<()> {
        let streams = self.known.take().map(Packets::streams);
        for number in 0..streams.unwrap_or_default() {
            self.late += u64::from(self.arriving.get(&number, 0)?.late);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: u32 = 4;

    fn offer(packets: Packets, rate: f64) -> Offer {
        Offer { packets, rate, window: Duration::from_millis(50) }
    }

    #[test]
    fn every_subject_that_is_there_relays_a_few_streams_whole() {
        for subject in Subject::ALL {
            // Not every kernel has flowtables.
            if subject == Subject::Flowtable || subject.missing_package().is_some() {
                continue;
            }
            let mut course = Course::lay(subject, FEW).unwrap();
            let packets = Packets::Steady { size: 300, streams: FEW };
            let outcome = course.offer(offer(packets, 2000.0)).unwrap();
            assert_eq!(outcome.lost, 0, "{subject:?}: {outcome:?}");
            assert!(outcome.goodput > 1000.0, "{subject:?}: {outcome:?}");
            let (_, delays) = course.delays(offer(packets, 2000.0)).unwrap();
            assert!(!delays.is_empty(), "{subject:?}");
            course.recover().unwrap();
            assert_eq!(course.offer(offer(packets, 2000.0)).unwrap().lost, 0, "{subject:?} after recovery");
        }
    }

    #[test]
    fn sockets_accept_the_checksums_of_cameras_packets() {
        let mut course = Course::lay(Subject::PlainRelay, cameras::STREAMS).unwrap();
        let outcome = course.offer(offer(Packets::OfCameras, 10_000.0)).unwrap();
        assert_eq!(outcome.lost, 0, "{outcome:?}");
    }

    #[test]
    fn what_does_not_arrive_is_lost() {
        let mut course = Course::lay(Subject::Nftables, FEW).unwrap();
        course._topology.relay.sysctl("net/ipv4/ip_forward", "0").unwrap();
        let outcome = course.offer(offer(Packets::Steady { size: 300, streams: FEW }, 2000.0)).unwrap();
        assert!(outcome.lost > 50 && outcome.goodput == 0.0, "{outcome:?}");
    }
}
