//! The handle of the data plane: start, install, change, remove, read.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aya::programs::{TestRun, TestRunOptions};
use aya::util::nr_cpus;
use relay_common::verdict::Pass;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::LoadError;
use crate::af_xdp::{DEFAULT_PUNT_FRAMES, PuntPath, Punts};
use crate::attach::{AttachedInterface, Attachments, ModeChoice};
use crate::audience::{self, Audience};
use crate::backend::{self, Backend, PlainInterfaces, Ports};
use crate::counters::Counters;
use crate::device_counters::DeviceCounters;
use crate::error::{RouteError, StartError};
use crate::event::Event;
use crate::fan_out::{self, FanOut, FanOutChoice, FanOutSetup};
use crate::hints::Hints;
use crate::interfaces::{self, Devices, Interfaces};
use crate::kernel::{Capacity, Kernel};
use crate::leg::{LegId, LegSpec};
use crate::leg_table::LegTable;
use crate::netlink::{Connection, Netlink, Queries};
use crate::next_hops::NextHops;
use crate::ours::Ours;
use crate::payload_maps::PayloadMaps;
use crate::pins::Pins;
use crate::plane::{Memory, UserPlane};
use crate::receivers;
use crate::routes::Routes;
use crate::rtcp::{self, Intake, RtcpCounters, Translator};
use crate::shared::Shared;
use crate::state::{LegRecords, State};
use crate::statistics::PathCounts;
use crate::tap::{self, Tap, TapError, Taps};
use crate::unreachable;
use crate::user_path::{self, BySockets, KernelPath, Legs, Sockets};
use crate::watch;

/// Events that a slow subscriber may fall behind; it is told how many it missed.
const EVENTS: usize = 1024;

/// Legs where the caller names no other number.
pub const DEFAULT_LEGS: u32 = 16_384;

/// What the data plane needs to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of the interfaces that media arrives on and leaves by.
    pub interfaces: Vec<String>,
    /// The XDP mode.
    pub mode: ModeChoice,
    /// How many legs there is room for. Memory is taken at once: see [`crate::Memory`].
    pub legs: u32,
    /// Ports of our addresses that are for media only: what comes to one that no leg has is dropped, counted as
    /// `orphan` and reported, unless a socket has the port. Other ports are the network stack's.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Folder on a BPF file system for what outlives the process, such as `/sys/fs/bpf/culvert/default`: media runs on
    /// when the process is killed, left ([`Relay::leave`]) or replaced, and the next one with the same folder goes on
    /// with its legs. `None`: media ends with the process.
    pub state: Option<PathBuf>,
    /// AF_XDP frames for each receive queue of each interface, for packets that need user space: a power of two from 128
    /// to 65,536. Half of them is for packets that come in, half for packets that leave. Memory is taken at once: 2 KiB
    /// for each, 4 where an interface's MTU is above 1,770.
    pub punt_frames: u32,
    /// Who makes the copies for groups ([`Relay::join`]), where there is a program.
    pub fan_out: FanOutChoice,
    /// Shortest time between two [`Event::KeyFrameWanted`] of one group.
    pub key_frame_interval: Duration,
    /// After this time without RTCP, a receiver of a group that used to send it is reported ([`Event::ReceiverGone`]); those
    /// that never sent any are not expected to. `None`: never.
    pub receiver_silence: Option<Duration>,
}

impl Default for Options {
    /// No interface, which is refused; [`DEFAULT_LEGS`], [`DEFAULT_PUNT_FRAMES`], no ports that are for media only, and no
    /// state. A key frame once a second, and receivers are reported after 30 seconds of silence.
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: ModeChoice::Auto,
            legs: DEFAULT_LEGS,
            ports: Vec::new(),
            state: None,
            punt_frames: DEFAULT_PUNT_FRAMES,
            fan_out: FanOutChoice::Auto,
            key_frame_interval: audience::KEY_FRAME_INTERVAL,
            receiver_silence: Some(audience::SILENCE),
        }
    }
}

/// How a destination is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the interface that packets leave by.
    pub interface: String,
    /// Its index.
    pub interface_index: u32,
    /// Our address there: what the destination sees as the source.
    pub source: IpAddr,
    /// The router, if the destination is not a neighbour.
    pub gateway: Option<IpAddr>,
}

/// What the program did with a frame that was handed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The XDP action: 1 drop, 2 pass, 3 transmit, 4 redirect (`enum xdp_action` in linux/bpf.h).
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean time of one run.
    pub duration: Duration,
}

/// Ends the tasks with the last handle.
struct Tasks {
    tasks: Vec<JoinHandle<()>>,
    _connection: Connection,
}

impl Tasks {
    fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

/// Nobody has said anything yet.
fn audience(options: &Options) -> Audience {
    Audience::new(options.key_frame_interval, options.receiver_silence)
}

/// The running data plane. A cheap handle: clones share it. With the last one the program is detached, unless it is
/// pinned in a state folder ([`Options::state`]).
#[derive(Clone)]
pub struct Relay {
    pub(crate) shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

impl Relay {
    /// Loads the program, attaches it to the interfaces, and keeps next hops up to date from then on; or has sockets do
    /// the work, which [`Relay::backend`] tells. Works in the network namespace of the calling thread, inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing stays attached then.
    pub async fn start(options: &Options) -> Result<Self, StartError> {
        if options.mode == ModeChoice::User {
            return Self::start_on_sockets(options, "the configuration asks for sockets").await;
        }
        match Self::start_on_program(options).await {
            Err(error) if options.mode == ModeChoice::Auto => match backend::reason_for_sockets(&error) {
                Some(reason) => {
                    tracing::warn!(%reason, "media is forwarded by sockets, several times slower");
                    Self::start_on_sockets(options, &reason).await
                }
                None => Err(error),
            },
            result => result,
        }
    }

    async fn start_on_program(options: &Options) -> Result<Self, StartError> {
        let cpus = nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).ok_or(StartError::Cpus)?;
        let wanted = Capacity::new(options.legs, cpus);
        let mut pins = options.state.as_ref().map(|state| Pins::open(state, wanted)).transpose()?;
        let capacity = pins.as_ref().map_or(wanted, Pins::capacity);
        let kernel = Kernel::load(capacity, pins.as_ref().map(Pins::maps).as_deref())?;
        let plane_records = kernel.records();
        let Kernel {
            mut program,
            next_hops,
            passed,
            devices,
            device_slots,
            device_drops,
            events,
            taps,
            tapped,
            punts,
            port_ranges,
            local_addresses,
            steered,
            fan_out,
            ..
        } = kernel;
        let (rtcp_inbox, rtcp_arrivals) = rtcp::inbox();
        let (retags, quality) = (kernel.retags.clone(), kernel.quality.clone());
        let translator =
            Translator::new(retags, quality, kernel.admissions.clone()).map_err(StartError::Memory)?;
        let rtcp_intake = Intake::new(rtcp_inbox, translator.clone());
        let (worker_events, from_workers) = mpsc::channel(EVENTS);
        let (tap_inlet, copies) = tap::inlet();
        let hints = Hints::new(kernel.hints, &options.ports, kernel.legs.length());
        let table = LegTable::new(kernel.buckets, kernel.legs, kernel.admissions, Some(hints));
        let counters = Counters::new(kernel.traffic, kernel.user_traffic, kernel.drops, table.slots(), cpus);
        let records = LegRecords {
            addresses6: kernel.addresses6,
            retags: kernel.retags,
            police: kernel.police,
            quality: kernel.quality,
            ledger: kernel.ledger,
            translator,
        };
        let payload_maps = PayloadMaps::new(kernel.payload_maps);
        // Changes that happen while the lists below are read are reported again: no gap.
        let (netlink, connection, changes) = Netlink::connect().map_err(StartError::Netlink)?;
        let links = netlink.links().await.map_err(StartError::Netlink)?;
        let neighbours = netlink.neighbours().await.map_err(StartError::Netlink)?;
        let mut ours = Ours::new(local_addresses, &port_ranges, &options.ports);
        ours.set_addresses(&netlink.addresses().await.map_err(StartError::Netlink)?);
        let plane = UserPlane {
            records: plane_records,
            // Behind those of the CPUs.
            stretch: cpus,
            local_addresses: ours.local_addresses(),
            events: worker_events,
            taps: tap_inlet.clone(),
        };
        let (fan_out, mut fan_out_setup) = FanOut::new(fan_out, table.slots(), cpus, options.fan_out);
        let (intake, groups) = (rtcp_intake.clone(), fan_out.records());
        let mut punts = Punts::new(punts, options.punt_frames, plane.clone(), intake, groups, cpus)?;
        if let Some(pins) = &mut pins {
            fan_out_setup.keep_in(pins.pair());
            let has_groups = fan_out_setup.is_left();
            pins.migrate(
                program.xdp()?.fd().map_err(|error| LoadError::Refused(error.into()))?.as_fd(),
                |devices| if has_groups { fan_out_setup.prepare(devices).map(drop) } else { Ok(()) },
            )?;
        }

        let queries = Queries::open().map_err(StartError::Netlink)?;
        let mut devices = Devices { map: devices, slots: device_slots, drops: device_drops };
        let indexes = interfaces::find(&options.interfaces, &links)?;
        let slots = devices
            .assign(&indexes)
            .map_err(|error| StartError::Device(options.interfaces.join(", "), error))?;
        let mut hops = NextHops::new(next_hops, slots.clone()).remembering(kernel.neighbours);
        hops.read_anew(links.clone(), &neighbours);
        let mut state = State::new(table, records, counters, hops, payload_maps, fan_out)
            .with_audience(audience(options));
        let adopted = state.adopt(Instant::now()).into_iter().collect();
        state.tell_devices();
        if options.mode != ModeChoice::Generic
            && options.fan_out != FanOutChoice::AfXdp
            && (fan_out_setup.is_left() || state.has_groups())
            && let Err(error) = fan_out_setup.prepare(&slots)
        {
            tracing::warn!(%error, "groups go on with the programs of the process before");
        }
        let decider = Legs::new(plane, rtcp_intake.clone());
        let kernel_path = KernelPath::start(&mut program, steered, decider).inspect_err(|error| {
            tracing::warn!(%error, "fragments and packets with options are not relayed");
        });
        // Everything is in place: from here on packets are this program's.
        let attachments = Attachments::open(pins.as_ref().map(Pins::links)).map_err(StartError::Links)?;
        let (names, mode) = (&options.interfaces, options.mode);
        let interfaces = Interfaces::attach(program, attachments, devices, names, mode, &links, &slots)?;
        punts.run(&slots);
        if let Some(pins) = &pins {
            pins.complete();
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            interfaces: Mutex::new(Ports::Program(Box::new(interfaces))),
            punts: Some(Mutex::new(punts)),
            backend: Backend::Xdp,
            sockets: None,
            kernel_path: Mutex::new(kernel_path.ok()),
            ours: Mutex::new(ours),
            routes: Mutex::new(Routes::new(queries)),
            passed: Some(passed),
            netlink,
            events: broadcast::Sender::new(EVENTS),
            resolved: Notify::new(),
            reroute: Notify::new(),
            fan_out: tokio::sync::Mutex::new(Some(fan_out_setup)),
            wire: tokio::sync::Mutex::new(None),
            taps: Taps::new(Some(tapped), &tap_inlet),
            pins: Mutex::new(pins),
            adopted,
            closed: AtomicBool::new(false),
            rtcp: Arc::clone(rtcp_intake.counts()),
        });
        receivers::go_on(&shared).await;
        let mut tasks =
            watch::start(&shared, changes, Some(events), from_workers).map_err(StartError::Netlink)?;
        match unreachable::start(&shared) {
            Ok(listeners) => tasks.extend(listeners),
            Err(error) => tracing::warn!(%error, "receivers of groups that are unreachable are not reported"),
        }
        tasks.push(tap::start(&shared, taps).map_err(StartError::Netlink)?);
        tasks.push(tap::start_copies(&shared, copies));
        tasks.push(tokio::spawn(rtcp::run(
            Arc::clone(&shared),
            rtcp_arrivals,
            Arc::clone(rtcp_intake.counts()),
            rtcp::SocketEach,
        )));
        Ok(Self { shared, tasks: Arc::new(Tasks { tasks, _connection: connection }) })
    }

    /// The same on sockets, without any privilege. Nothing outlives the process: `state` means nothing here.
    async fn start_on_sockets(options: &Options, reason: &str) -> Result<Self, StartError> {
        let (netlink, connection, changes) = Netlink::connect().map_err(StartError::Netlink)?;
        let links = netlink.links().await.map_err(StartError::Netlink)?;
        let neighbours = netlink.neighbours().await.map_err(StartError::Netlink)?;
        let interfaces = PlainInterfaces::find(&options.interfaces, &links, reason)?;
        let mut ours = Ours::without_program();
        ours.set_addresses(&netlink.addresses().await.map_err(StartError::Netlink)?);
        let queries = Queries::open().map_err(StartError::Netlink)?;

        let workers = user_path::workers();
        let Memory { records, traffic, ledger } =
            Memory::for_legs(options.legs, workers).map_err(StartError::Memory)?;
        let groups = fan_out::Records::for_legs(options.legs, workers).map_err(StartError::Memory)?;
        let (worker_events, from_workers) = mpsc::channel(EVENTS);
        let (tap_inlet, copies) = tap::inlet();
        let plane = UserPlane {
            records: records.clone(),
            stretch: 0,
            local_addresses: ours.local_addresses(),
            events: worker_events,
            taps: tap_inlet.clone(),
        };
        let (rtcp_inbox, rtcp_arrivals) = rtcp::inbox();
        let (retags, quality) = (records.retags.clone(), records.quality.clone());
        let translator =
            Translator::new(retags, quality, records.admissions.clone()).map_err(StartError::Memory)?;
        let rtcp_intake = Intake::new(rtcp_inbox, translator.clone());
        let sockets = Sockets::start(options.legs, workers, plane, &rtcp_intake, &groups)?;
        let table = LegTable::new(records.buckets, records.legs, records.admissions, None);
        let counters = Counters::new(traffic, records.user_traffic, records.drops, table.slots(), workers);
        let leg_records = LegRecords {
            addresses6: records.addresses6,
            retags: records.retags,
            police: records.police,
            quality: records.quality,
            ledger,
            translator,
        };
        let payload_maps = PayloadMaps::new(records.payload_maps);
        let mut hops = NextHops::for_sockets(records.next_hops, interfaces.slots());
        hops.read_anew(links, &neighbours);
        let groups = FanOut::by_sockets(groups, table.slots(), workers, reason);
        let shared = Arc::new(Shared {
            state: Mutex::new(
                State::new(table, leg_records, counters, hops, payload_maps, groups)
                    .with_audience(audience(options)),
            ),
            interfaces: Mutex::new(Ports::Sockets(interfaces)),
            punts: None,
            backend: Backend::User { reason: reason.to_owned() },
            sockets: Some(sockets),
            kernel_path: Mutex::new(None),
            ours: Mutex::new(ours),
            routes: Mutex::new(Routes::new(queries)),
            passed: None,
            netlink,
            events: broadcast::Sender::new(EVENTS),
            resolved: Notify::new(),
            reroute: Notify::new(),
            fan_out: tokio::sync::Mutex::new(None),
            wire: tokio::sync::Mutex::new(None),
            taps: Taps::new(None, &tap_inlet),
            pins: Mutex::new(None),
            adopted: HashSet::new(),
            closed: AtomicBool::new(false),
            rtcp: Arc::clone(rtcp_intake.counts()),
        });
        let mut tasks = watch::start(&shared, changes, None, from_workers).map_err(StartError::Netlink)?;
        match unreachable::start(&shared) {
            Ok(listeners) => tasks.extend(listeners),
            // Nobody asked for that privilege.
            Err(error) => {
                tracing::debug!(%error, "receivers of groups that are unreachable are not reported");
            }
        }
        tasks.push(tap::start_copies(&shared, copies));
        tasks.push(tokio::spawn(rtcp::run(
            Arc::clone(&shared),
            rtcp_arrivals,
            Arc::clone(rtcp_intake.counts()),
            BySockets(Arc::downgrade(&shared)),
        )));
        Ok(Self { shared, tasks: Arc::new(Tasks { tasks, _connection: connection }) })
    }

    /// Who forwards packets.
    pub fn backend(&self) -> Backend {
        self.shared.backend.clone()
    }

    /// Lets media run on without this process, as a crash would, and frees the state folder for the next one. Every
    /// handle is useless from then on. Without a state folder this is [`Relay::stop`].
    pub fn leave(&self) {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.end_tasks();
        self.end_punts();
        if self.shared.pins().take().is_none() {
            self.shared.interfaces().detach();
            self.end_fan_out();
        }
    }

    /// Removes the devices that groups need.
    fn end_fan_out(&self) {
        // Who makes them at this moment finds the data plane closed; with the last handle they go, too.
        if let Ok(mut fan_out) = self.shared.fan_out.try_lock() {
            fan_out.iter_mut().for_each(FanOutSetup::end);
        }
    }

    /// The queues are free for the next process.
    fn end_punts(&self) {
        if let Some(mut punts) = self.shared.punts() {
            punts.end();
        }
    }

    /// Ends all media: the program is detached and nothing stays behind. Every handle is useless from then on. Where
    /// nothing is pinned, dropping the last handle does the same.
    ///
    /// # Errors
    /// The state folder cannot be emptied. The program is detached all the same.
    pub fn stop(&self) -> std::io::Result<()> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.end_tasks();
        self.end_punts();
        self.shared.interfaces().detach();
        self.end_fan_out();
        self.shared.pins().take().map_or(Ok(()), Pins::remove)
    }

    /// The legs that a process before this one installed and that still are, with what was asked for.
    pub fn adopted(&self) -> Vec<(LegId, LegSpec)> {
        let mut legs = self.legs();
        legs.retain(|(leg, _)| self.shared.adopted.contains(leg));
        legs
    }

    /// Ends everything that works beside the callers.
    fn end_tasks(&self) {
        self.tasks.end();
        if let Ok(mut wire) = self.shared.wire.try_lock() {
            *wire = None;
        }
        if let Some(mut punts) = self.shared.punts() {
            punts.run(&HashMap::new());
        }
        drop(self.shared.kernel_path().take());
        if let Some(sockets) = &self.shared.sockets {
            sockets.end();
        }
    }

    /// The interfaces that were asked for, as they are now, and in which mode the program runs on them.
    pub fn interfaces(&self) -> Vec<AttachedInterface> {
        self.shared.interfaces().report()
    }

    /// Everything that the program counts that is not tied to a leg that still exists: packets forwarded since the
    /// start, dropped by reason, and left to the kernel by reason, each under its name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let (forwarded, dropped) = self.shared.state().totals();
        let mut counters = vec![("forwarded", forwarded.total())];
        counters.extend(dropped);
        for reason in Pass::ALL {
            let Some(passed) = &self.shared.passed else { break };
            let count = passed.get(&(reason as u32), 0).map_or(0, |values| values.iter().sum());
            if count > 0 {
                counters.push((reason.name(), count));
            }
        }
        counters.extend(self.punt_path().iter().flat_map(|path| path.counters.named()));
        counters
    }

    /// Who sent on what [`Relay::counters`] has as forwarded.
    pub fn forwarded(&self) -> PathCounts {
        self.shared.state().totals().0
    }

    /// What became of RTCP that ends at the relay ([`crate::RtcpMode::Terminate`]), over all legs.
    pub fn rtcp_counters(&self) -> RtcpCounters {
        self.shared.rtcp.read()
    }

    /// Opens a tap: copies of the packets that arrive for a leg, and of those that leave by it, also as copies for a receiver, from
    /// now on.
    ///
    /// # Errors
    /// See [`TapError`]; nothing is copied then.
    pub fn tap(&self, leg: LegId) -> Result<Tap, TapError> {
        Tap::open(&self.shared, leg)
    }

    /// What the devices did not take of the packets that are counted as forwarded, for each interface: forwarded less
    /// these is what left. Always 0 in generic mode, where the kernel does not tell. Where XDP makes copies, the last one is the
    /// pair of devices between blocks: what it refuses, all receivers behind the next block miss.
    pub fn device_counters(&self) -> Vec<DeviceCounters> {
        self.shared.interfaces().drops()
    }

    /// How the path `af_xdp` does, which takes packets that need user space; `None` where everything is in user space.
    pub fn punt_path(&self) -> Option<PuntPath> {
        self.shared.punts().map(|punts| punts.report())
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// How a destination is reached now.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn route(&self, destination: IpAddr) -> Result<Route, RouteError> {
        let route = self.shared.routes().to(destination)?;
        let none = |problem| RouteError::None { destination, source: std::io::Error::other(problem) };
        let state = self.shared.state();
        let interface = state.next_hops.interface_name(route.interface).map(str::to_owned);
        Ok(Route {
            interface: interface.unwrap_or_default(),
            interface_index: route.interface,
            source: route.source.ok_or_else(|| none("its interface has no address"))?,
            gateway: route.gateway,
        })
    }

    /// Hands a frame to the program without sending it anywhere (BPF_PROG_TEST_RUN): what would become of it? The
    /// legs' counters count it. With `repeat` above 1 the program sees its own output again, which is for measuring.
    ///
    /// # Errors
    /// The kernel refused the run; a frame shorter than an Ethernet header, for one.
    pub fn try_frame(&self, frame: &[u8], repeat: u32) -> Result<Trial, LoadError> {
        let mut interfaces = self.shared.interfaces();
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::default()
        };
        let result = interfaces
            .program()
            .ok_or(LoadError::NoProgram)?
            .xdp()?
            .test_run(options)
            .map_err(|error| LoadError::Refused(error.into()))?;
        let length = usize::try_from(result.data_size_out).unwrap_or(out.len());
        out.truncate(length);
        Ok(Trial { action: result.return_value, frame: out, duration: result.duration })
    }
}
