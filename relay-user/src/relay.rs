//! The handle of the data plane: start, install, change, remove, read.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aya::programs::{TestRun, TestRunOptions};
use aya::util::nr_cpus;
use relay_common::limits::DEVICES;
use relay_common::verdict::Pass;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use crate::LoadError;
use crate::attach::{self, AttachedInterface, ModeChoice};
use crate::counters::Counters;
use crate::device_counters::DeviceCounters;
use crate::error::{InstallError, RouteError, StartError};
use crate::event::Event;
use crate::kernel::Kernel;
use crate::leg::LegId;
use crate::leg_table::LegTable;
use crate::netlink::{Connection, Netlink};
use crate::next_hops::NextHops;
use crate::plan::{self, Checked, Plan};
use crate::shared::Shared;
use crate::state::{Prepared, State};
use crate::statistics::LegStatistics;
use crate::tap::{self, Tap, TapError, Taps};
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
    /// How many legs there is room for. Memory is taken at once: 64 bytes a leg, and 128 for each leg and CPU.
    pub legs: u32,
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

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The running data plane. A cheap handle: clones share it, and with the last one the program is detached.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

impl Relay {
    /// Loads the program, attaches it to the interfaces, and keeps next hops up to date from then on. Works in the
    /// network namespace of the calling thread, inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing stays attached then.
    pub async fn start(options: &Options) -> Result<Self, StartError> {
        if options.interfaces.is_empty() {
            return Err(StartError::NoInterface);
        }
        if options.interfaces.len() > DEVICES as usize {
            return Err(StartError::TooManyInterfaces { found: options.interfaces.len(), most: DEVICES });
        }
        let cpus = nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).ok_or(StartError::Cpus)?;
        let kernel = Kernel::load(options.legs, cpus)?;
        let Kernel {
            mut program,
            next_hops,
            passed,
            mut devices,
            mut device_slots,
            mut device_drops,
            events,
            taps,
            tapped,
            ..
        } = kernel;
        let table = LegTable::new(kernel.buckets, kernel.legs, kernel.admissions);
        let counters = Counters::new(kernel.traffic, kernel.drops, table.slots(), cpus);
        // Changes that happen while the lists below are read are reported again: no gap.
        let (netlink, connection, changes) = Netlink::connect().map_err(StartError::Netlink)?;
        let links = netlink.links().await.map_err(StartError::Netlink)?;
        let neighbours = netlink.neighbours().await.map_err(StartError::Netlink)?;

        let mut interfaces = Vec::with_capacity(options.interfaces.len());
        let mut slots = HashMap::new();
        for (slot, name) in (0..DEVICES).zip(&options.interfaces) {
            let interface = attach::attach(program.xdp()?, name, options.mode)?;
            if !links.iter().any(|link| link.index == interface.index && link.ethernet) {
                return Err(StartError::NotEthernet(name.clone()));
            }
            devices
                .set(slot, interface.index, None, 0)
                .map_err(|error| StartError::Device(name.clone(), error.into()))?;
            device_slots
                .insert(interface.index, slot, 0)
                .map_err(|error| StartError::Device(name.clone(), error.into()))?;
            device_drops
                .watch(slot, &interface)
                .map_err(|error| StartError::Device(name.clone(), error.into()))?;
            slots.insert(interface.index, slot);
            interfaces.push(interface);
        }
        let mut hops = NextHops::new(next_hops, slots);
        for link in links {
            hops.link_changed(link);
        }
        for neighbour in &neighbours {
            hops.neighbour_changed(neighbour);
        }
        let state = State::new(table, counters, hops, options.legs);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            program: Mutex::new(program),
            passed,
            device_drops,
            netlink,
            events: broadcast::Sender::new(EVENTS),
            resolved: Notify::new(),
            interfaces,
            taps: Taps::new(tapped),
        });
        let mut tasks = watch::start(&shared, changes, events).map_err(StartError::Netlink)?;
        tasks.push(tap::start(&shared, taps).map_err(StartError::Netlink)?);
        Ok(Self { shared, _tasks: Arc::new(Tasks { tasks, _connection: connection }) })
    }

    /// The interfaces that the program runs on, and in which mode.
    pub fn interfaces(&self) -> &[AttachedInterface] {
        &self.shared.interfaces
    }

    /// Installs the legs and streams of a plan, all or none. When it returns, the kernel forwards. The identifiers
    /// are in the order of the plan's legs.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing is installed then.
    pub async fn install(&self, plan: &Plan) -> Result<Vec<LegId>, InstallError> {
        let Checked { egress, sends } = plan::check(plan)?;
        let families = plan.legs.iter().flat_map(|leg| [Some(leg.local), leg.remote]).flatten();
        if let Some(address) = families.into_iter().find(SocketAddr::is_ipv6) {
            return Err(RouteError::NotIpv4 { destination: address.ip() }.into());
        }
        let mut hops = vec![None; plan.legs.len()];
        for (at, leg) in plan.legs.iter().enumerate() {
            let Some(remote) = leg.remote.filter(|remote| sends[at] && remote.port() != 0) else {
                continue;
            };
            match self.shared.next_hop(remote, leg.local).await {
                Ok(hop) => hops[at] = Some(hop),
                Err(error) => {
                    self.release(&hops);
                    return Err(error);
                }
            }
        }
        let prepared = plan.legs.iter().cloned().zip(egress).zip(&hops);
        let prepared = prepared.map(|((spec, egress), hop)| Prepared { spec, hop: *hop, egress }).collect();
        let installed = self.shared.state().install(prepared, Instant::now());
        installed.inspect_err(|_| self.release(&hops))
    }

    /// Removes legs and every stream from or to them. Returns what was counted, in the order of `legs`; legs that are
    /// not installed count nothing.
    pub fn remove(&self, legs: &[LegId]) -> Vec<LegStatistics> {
        let now = Instant::now();
        let mut state = self.shared.state();
        // What a leg sent is counted where it was received: read everything before the first is gone.
        let last = legs.iter().map(|leg| state.statistics(*leg, now).unwrap_or_default()).collect();
        for leg in legs {
            state.remove(*leg, now);
        }
        last
    }

    /// The other side says that it is somewhere else (or, with `None`, nowhere): media follows, and the source policy
    /// starts anew. The leg's statistics go on.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing has changed then.
    pub async fn set_remote(&self, leg: LegId, remote: Option<SocketAddr>) -> Result<(), InstallError> {
        let (local, sends) = self.shared.state().local(leg).ok_or(InstallError::Gone)?;
        let mut told = None;
        let mut hop = None;
        if let Some(remote) = remote {
            plan::check_remote(remote)?;
            plan::check_family(local, remote)?;
            told = match remote {
                SocketAddr::V4(remote) if remote.port() != 0 => Some(remote),
                _ => None,
            };
            if sends && told.is_some() {
                hop = Some(self.shared.next_hop(remote, local).await?);
            }
        }
        let mut state = self.shared.state();
        state.tell_remote(leg, remote);
        state.move_remote(leg, told, hop);
        Ok(())
    }

    /// What was counted for a leg until now.
    pub fn statistics(&self, leg: LegId) -> Option<LegStatistics> {
        self.shared.state().statistics(leg, Instant::now())
    }

    /// Everything that the program counts that is not tied to a leg that still exists: packets forwarded since the
    /// start, dropped by reason, and left to the kernel by reason, each under its name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let (forwarded, dropped) = self.shared.state().totals();
        let mut counters = vec![("forwarded", forwarded)];
        counters.extend(dropped);
        for reason in Pass::ALL {
            let count = self.shared.passed.get(&(reason as u32), 0).map_or(0, |values| values.iter().sum());
            if count > 0 {
                counters.push((reason.name(), count));
            }
        }
        counters
    }

    /// Opens a tap: copies of the packets that arrive for a leg, and of those that leave by it, from now on.
    ///
    /// # Errors
    /// See [`TapError`]; nothing is copied then.
    pub fn tap(&self, leg: LegId) -> Result<Tap, TapError> {
        Tap::open(&self.shared, leg)
    }

    /// What the devices did not take of the packets that are counted as forwarded, for each interface: forwarded less
    /// these is what left. Always 0 in generic mode, where the kernel does not tell.
    pub fn device_counters(&self) -> Vec<DeviceCounters> {
        self.shared.device_drops.read()
    }

    /// Legs that are installed, and legs that still fit.
    pub fn occupancy(&self) -> (usize, usize) {
        self.shared.state().occupancy()
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
        let IpAddr::V4(address) = destination else {
            return Err(RouteError::NotIpv4 { destination });
        };
        let route = self.shared.kernel_route(address, None).await?;
        let none = |problem| RouteError::None { destination, source: std::io::Error::other(problem) };
        let state = self.shared.state();
        let interface = state.next_hops.interface_name(route.interface).unwrap_or_default();
        Ok(Route {
            interface: interface.to_owned(),
            interface_index: route.interface,
            source: route.source.map(IpAddr::V4).ok_or_else(|| none("its interface has no address"))?,
            gateway: route.gateway.map(IpAddr::V4),
        })
    }

    /// Hands a frame to the program without sending it anywhere (BPF_PROG_TEST_RUN): what would become of it? The
    /// legs' counters count it. With `repeat` above 1 the program sees its own output again, which is for measuring.
    ///
    /// # Errors
    /// The kernel refused the run; a frame shorter than an Ethernet header, for one.
    pub fn try_frame(&self, frame: &[u8], repeat: u32) -> Result<Trial, LoadError> {
        let mut program = self.shared.program.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program.xdp()?.test_run(options).map_err(|error| LoadError::Refused(error.into()))?;
        let length = usize::try_from(result.data_size_out).unwrap_or(out.len());
        out.truncate(length);
        Ok(Trial { action: result.return_value, frame: out, duration: result.duration })
    }

    fn release(&self, hops: &[Option<u32>]) {
        let mut state = self.shared.state();
        for hop in hops.iter().flatten() {
            state.next_hops.release(*hop);
        }
    }
}
