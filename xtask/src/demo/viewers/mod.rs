//! One camera, many viewers, which join and leave while media runs: every packet of every viewer against what the camera sent,
//! and every picture of three real decoders against the camera's own.

mod camera;
mod decoder;
mod film;
mod relay;
mod report;
mod schedule;
mod seat;
mod showing;
mod stay;

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use testbed::{Namespace, Topology};

use self::decoder::{Decoder, Pictures};
use self::film::Film;
use self::relay::Relay;
use self::report::Report;
use self::schedule::Step;
use self::seat::{LENS, Seat};
use self::showing::Showing;
use self::stay::{Account, Stay};
use super::capture::Seen;
use super::captures::Captures;
use super::folder::Folder;
use super::interrupt::{sleep, wait_for};
use super::process::Process;
use super::wires::VIEWER;
use super::{Outcome, PATIENCE, SETTLING, explain};

/// How many viewers there may be: one of the three decoders joins at once, two later, and another viewer leaves and returns; and
/// each has an address in the network of the topology's terminal.
pub(super) const FEWEST: i64 = 4;
pub(super) const MOST: i64 = 250;
/// Media must flow for so many seconds that the last decoder sees several key pictures.
const SHORTEST: u64 = 5;
/// Every packet of every viewer is kept until the end: about 180 KB for each viewer and second, and 450 MB for all of these.
const MOST_VIEWER_SECONDS: u64 = 2_500;

/// Fails if media would flow for too short or too long a time.
pub(super) fn check(viewers: u8, seconds: u64) -> Result<()> {
    if seconds < SHORTEST {
        bail!("{seconds} s are too short for viewers who join later: say `--seconds {SHORTEST}`, or more");
    }
    let longest = MOST_VIEWER_SECONDS / u64::from(viewers);
    if seconds > longest {
        bail!(
            "{seconds} s are too long for {viewers} viewers, as each packet is kept in memory: \
             say `--seconds {longest}`, or less"
        );
    }
    Ok(())
}

/// Sets everything up, lets media flow, measures, and takes everything down again, whatever happens.
pub(super) fn watch(viewers: u8, seconds: u64) -> Result<impl Outcome> {
    let folder = Folder::create()?;
    let clip = camera::clip(folder.path(), seconds)?;
    let pictures = decoder::decode(&clip)?;
    let topology = Topology::create().context("cannot make network namespaces")?;
    let seats: Vec<_> = (1..=viewers).map(Seat::new).collect();
    let sockets = sit(&topology.viewer, &seats)?;
    eprintln!(
        "demo: camera {LENS} -- relay -- {viewers} viewers from {} on, behind one device",
        VIEWER.terminal
    );
    let captures = Captures::start(&topology)?;
    let relay = Relay::start(&topology.relay, folder.path())?;
    let decoders = schedule::decoding(viewers).map(Seat::new).into_iter();
    let decoders = decoders.map(|seat| Decoder::start(&topology.viewer, seat, folder.path()));
    let decoders = decoders.collect::<Result<_>>()?;
    let mut audience =
        Audience { camera: None, relay, decoders, stays: Vec::new(), captures, _sockets: sockets, topology };
    let watched = audience.follow(viewers, Duration::from_secs(seconds), &clip, folder.path());
    let report = watched.and_then(|()| audience.measure(seconds, &pictures));
    let report = report.map_err(|error| explain(error, &audience.logs()))?;
    audience.captures.finish()?;
    Ok(report)
}

/// Gives each viewer its address, and those without a decoder a socket, which nobody reads: without, their machine would say
/// that they are unreachable.
fn sit(namespace: &Namespace, seats: &[Seat]) -> Result<Vec<UdpSocket>> {
    let decoding = schedule::decoding(seats.last().map_or(0, |seat| seat.number));
    for seat in seats.iter().filter(|seat| *seat.address.ip() != VIEWER.terminal) {
        let address = format!("{}/24", seat.address.ip());
        namespace.ip(&["address", "add", &address, "dev", Topology::TERMINAL_DEVICE])?;
    }
    let idle = seats.iter().filter(|seat| !decoding.contains(&seat.number));
    let open = || idle.map(|seat| UdpSocket::bind(seat.address)).collect::<std::io::Result<_>>();
    namespace.run(open)?.context("cannot open the viewers' ports")
}

/// The programs that take part, and what happened so far; they end in this order.
struct Audience {
    /// None until the first viewers have joined.
    camera: Option<Process>,
    decoders: Vec<Decoder>,
    relay: Relay,
    /// By the time of joining.
    stays: Vec<Stay>,
    captures: Captures,
    _sockets: Vec<UdpSocket>,
    topology: Topology,
}

impl Audience {
    /// Half of the viewers join, the camera sends its clip, and the others join meanwhile.
    fn follow(&mut self, viewers: u8, duration: Duration, clip: &Path, folder: &Path) -> Result<()> {
        for viewer in schedule::punctual(viewers) {
            self.join(viewer)?;
        }
        eprintln!(
            "demo: {} viewers have joined; the camera sends for {} s",
            self.stays.len(),
            duration.as_secs()
        );
        let mut camera = camera::start(&self.topology.camera, clip, folder)?;
        let wire = &self.captures.camera;
        let sends = wait_for("the camera to send", PATIENCE, || {
            camera.check()?;
            Ok(wire.look(|seen| (!seen.media.is_empty()).then_some(())))
        });
        self.camera = Some(camera);
        sends?;
        let start = Instant::now();
        for (time, step) in schedule::while_media_runs(viewers, duration) {
            sleep(time.saturating_sub(start.elapsed()))?;
            match step {
                Step::Join(viewer) => self.join(viewer)?,
                Step::Leave(viewer) => self.leave(viewer)?,
            }
            eprintln!("demo: {:.1} s: {step}", time.as_secs_f64());
        }
        wait_for("the camera to end", duration + PATIENCE, || {
            let is_done = self.camera.as_mut().map_or(Ok(true), Process::is_done)?;
            Ok(is_done.then_some(()))
        })?;
        sleep(SETTLING)
    }

    fn join(&mut self, viewer: u8) -> Result<()> {
        let seat = Seat::new(viewer);
        let asked = now();
        let join_us = self.relay.join(&seat)?;
        let joined = now();
        self.stays.push(Stay { seat, asked, joined, join_us, left: None, copies: Default::default() });
        Ok(())
    }

    fn leave(&mut self, viewer: u8) -> Result<()> {
        let seat = Seat::new(viewer);
        let asked = now();
        let copies = self.relay.leave(&seat)?;
        let stay = self.stays.iter_mut().find(|stay| stay.seat == seat && stay.left.is_none());
        let stay = stay.with_context(|| format!("viewer {viewer} was never there"))?;
        (stay.left, stay.copies) = (Some((asked, now())), copies);
        Ok(())
    }

    /// Asks everybody what they counted and saw.
    fn measure(&mut self, seconds: u64, pictures: &[String]) -> Result<Report> {
        let staying = self.stays.iter_mut().filter(|stay| stay.left.is_none());
        let mut staying: Vec<_> = staying.collect();
        let seats: Vec<_> = staying.iter().map(|stay| stay.seat).collect();
        let (group, copies) = self.relay.show(&seats)?;
        for (stay, copies) in staying.iter_mut().zip(copies) {
            stay.copies = copies;
        }
        let film = self.captures.camera.look(Film::new);
        let stays: Vec<_> = self.captures.viewer.look(|seen| accounts(&self.stays, &film, seen));
        let in_network_stack = self.captures.relay.look(Seen::received);
        let showings = self.decoders.iter_mut().map(|decoder| {
            let viewer = decoder.seat.number;
            let decoded: Pictures = decoder.finish(&self.topology.viewer)?;
            let stay = stays.iter().find(|(stay, _)| stay.seat.number == viewer);
            let (_, account) = stay.with_context(|| format!("viewer {viewer} was never there"))?;
            let due = account.first_picture.and_then(|first| pictures.get(first..)).unwrap_or_default();
            Ok(Showing::compare(viewer, &decoded, due, account.early_pictures))
        });
        let showings = showings.collect::<Result<_>>()?;
        Ok(Report {
            seconds,
            backend: self.relay.backend.clone(),
            packets: film.shots.len() as u64,
            start: film.shots.first().map_or(0.0, |first| first.time),
            stays,
            showings,
            group,
            in_network_stack,
            key_frames_wanted: self.relay.key_frames_wanted(),
        })
    }

    /// The ends of everybody's logs.
    fn logs(&self) -> String {
        let processes = std::iter::once(&self.relay.process).chain(&self.camera);
        let processes = processes.chain(self.decoders.iter().map(|decoder| &decoder.process));
        processes.map(Process::log).collect::<Vec<_>>().join("\n")
    }
}

/// What became of the packets of each stay. What arrives at an address belongs to the last stay there that had begun.
fn accounts(stays: &[Stay], film: &Film, seen: &Seen) -> Vec<(Stay, Account)> {
    let account = |(nth, stay): (usize, &Stay)| {
        let later = stays.iter().skip(nth + 1).find(|later| later.seat == stay.seat);
        let end = later.map_or(f64::INFINITY, |later| later.asked);
        let arrivals = seen.media.iter().filter(|packet| {
            !packet.is_outgoing
                && packet.terminal.ip() == stay.seat.address.ip()
                && (stay.asked..end).contains(&packet.time)
        });
        (*stay, stay.account(film, arrivals))
    };
    stays.iter().enumerate().map(account).collect()
}

/// Seconds since the epoch: the clock that the kernel stamps frames with.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
