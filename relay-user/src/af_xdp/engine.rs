//! The AF_XDP engine: a socket for each receive queue of each device, a worker for each set of queues, and the map that
//! leads punted packets there.
//!
//! There are as many workers as the device with the fewest queues has; worker n serves queue n of each device, and those
//! that are a multiple of the workers beyond. So each worker has a socket of its own on every device, sends without
//! asking another, and shares one UMEM among its sockets.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use aya::maps::{MapData, XskMap};
use relay_common::limits::DEVICES;
use relay_common::punt::{QUEUES_PER_DEVICE, socket_index};

use super::copier::Copier;
use super::counters::{PortCounters, PuntCounters};
use super::frames::Frames;
use super::handler::Handler;
use super::interface::{Queues, mtu_of, name_of};
use super::port::Port;
use super::socket::{Queue, Socket, SocketError};
use super::stop::Stop;
use super::turns::Turns;
use super::umem::{HEADROOM, Umem};
use super::worker::{Ports, Worker};

/// Frames for each queue where the caller names no other number: half for packets that come in, half for packets that
/// leave. 8 MiB a queue at the usual MTU.
pub const DEFAULT_PUNT_FRAMES: u32 = 4096;
/// Least and most frames for each queue.
const FRAMES: std::ops::RangeInclusive<u32> = 128..=65_536;
/// Bytes of a frame, by what it must hold: the kernel takes these two.
const FRAME_SIZES: [usize; 2] = [2048, 4096];
/// Ethernet header and two VLAN tags: what a frame may have beyond the MTU.
const LINK_HEADERS: usize = 22;
/// How long a worker waits before it tries again to send to a device that takes nothing, in milliseconds.
const RETRY_MS: libc::c_int = 1;
/// Turns that a worker may take for what had come in when it was told to end.
const LAST_TURNS: u32 = 2048;

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A number that no ring can have.
    #[error(
        "{found} AF_XDP frames for each queue (punt_frames) were asked for; it must be a power of two from {} to {}",
        FRAMES.start(), FRAMES.end()
    )]
    Frames {
        /// What was asked for.
        found: u32,
    },
    /// The frames do not fit.
    #[error("there is no memory for {frames} AF_XDP frames of {size} bytes: {source}")]
    Memory {
        /// Frames of one worker.
        frames: u32,
        /// Bytes of each.
        size: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface cannot be asked for its queues and its MTU.
    #[error("the queues and the MTU of {interface} could not be read: {source}")]
    Interface {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket cannot be entered into the map.
    #[error("entering the socket of queue {queue} of {interface} into the kernel's map failed")]
    Map {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A thread cannot be started.
    #[error("a worker thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// A device that the program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its slot in the `DEVICES` map.
    pub(crate) slot: u32,
    /// Index of the interface.
    pub(crate) interface: u32,
}

/// One socket, as others than its worker see it.
struct Opened {
    /// Its place in the `PUNTS` map.
    index: u32,
    socket: Arc<Socket>,
    counters: Arc<PortCounters>,
}

/// What runs now.
struct Running {
    opened: Vec<Opened>,
    stop: Arc<Stop>,
    /// Of each worker.
    turns: Vec<Arc<Turns>>,
    threads: Vec<JoinHandle<()>>,
}

/// The engine. What runs ends when it is dropped, after the packets that came in until then.
pub(crate) struct Engine {
    punts: XskMap<MapData>,
    frames_per_queue: u32,
    running: Option<Running>,
    /// What was counted by sockets that are closed.
    past: PuntCounters,
}

impl Engine {
    /// An engine that does not run yet, for sockets in this map.
    ///
    /// # Errors
    /// There cannot be as many frames.
    pub(crate) fn new(punts: XskMap<MapData>, frames_per_queue: u32) -> Result<Self, EngineError> {
        if !frames_per_queue.is_power_of_two() || !FRAMES.contains(&frames_per_queue) {
            return Err(EngineError::Frames { found: frames_per_queue });
        }
        Ok(Self { punts, frames_per_queue, running: None, past: PuntCounters::default() })
    }

    /// Runs on these devices from now on, and on no others: sockets are opened in the network namespace of the calling
    /// thread, and workers started, each with a handler of its own, made from its number. What ran before has ended when
    /// this begins; packets that come in between take the kernel path.
    ///
    /// # Errors
    /// See [`EngineError`]; nothing runs then.
    pub(crate) fn run<H: Handler + Copier + Send + 'static>(
        &mut self,
        devices: &[Device],
        mut handler: impl FnMut(u32) -> H,
    ) -> Result<(), EngineError> {
        self.stop();
        if devices.is_empty() {
            return Ok(());
        }
        let stop = Arc::new(Stop::new().map_err(EngineError::Thread)?);
        // Kept in its place from the start, so that a failure ends what runs already.
        let running =
            self.running.insert(Running { opened: Vec::new(), stop, turns: Vec::new(), threads: Vec::new() });
        let started = running.start(devices, self.frames_per_queue, &mut handler);
        let started = started.and_then(|()| running.enter(&mut self.punts, devices));
        started.inspect_err(|_| self.stop())
    }

    /// Ends what runs, after the packets that came in until then.
    pub(crate) fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        for opened in &running.opened {
            // It may not be there yet, if the start failed; there is nobody to tell.
            let _ = self.punts.unset(opened.index);
        }
        running.end();
        self.past += running.counters();
    }

    /// Workers, and sockets.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.running.as_ref().map_or((0, 0), |running| (running.threads.len(), running.opened.len()))
    }

    /// The turns of each worker.
    pub(crate) fn turns(&self) -> Vec<Arc<Turns>> {
        self.running.as_ref().map(|running| running.turns.clone()).unwrap_or_default()
    }

    /// What was counted until now.
    pub(crate) fn counters(&self) -> PuntCounters {
        let mut sum = self.past;
        sum += self.running.as_ref().map(Running::counters).unwrap_or_default();
        sum
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start<H: Handler + Copier + Send + 'static>(
        &mut self,
        devices: &[Device],
        frames_per_queue: u32,
        handler: &mut impl FnMut(u32) -> H,
    ) -> Result<(), EngineError> {
        let frame_size = frame_size(devices)?;
        for (number, queues) in (0..).zip(queues_of_workers(devices)?) {
            let (umem, ports) = self.open(devices, &queues, frames_per_queue, frame_size)?;
            let (worker, stop) = (Worker::new(umem, ports, handler(number)), Arc::clone(&self.stop));
            let thread = thread::Builder::new().name(format!("af-xdp-{number}"));
            let turns = Arc::<Turns>::default();
            self.turns.push(Arc::clone(&turns));
            let running = thread.spawn(move || run(worker, &stop, &turns));
            self.threads.push(running.map_err(EngineError::Thread)?);
        }
        Ok(())
    }

    /// Opens the sockets of one worker.
    fn open(
        &mut self,
        devices: &[Device],
        queues: &[(usize, u32)],
        frames_per_queue: u32,
        frame_size: usize,
    ) -> Result<(Umem, Ports<Arc<Socket>>), EngineError> {
        let frames = frames_per_queue.saturating_mul(u32::try_from(queues.len()).unwrap_or(u32::MAX));
        let umem = Umem::new(frames, frame_size).map_err(|source| EngineError::Memory {
            frames,
            size: frame_size,
            source,
        })?;
        let mut ports =
            Ports { frames: Frames::new(frames), ports: Vec::new(), egress: vec![None; DEVICES as usize] };
        let (first, ring) = (self.opened.len(), frames_per_queue / 2);
        for (number, (at, queue)) in (0_u16..).zip(queues) {
            let Some(device) = devices.get(*at) else { continue };
            let Some(index) = socket_index(device.slot, *queue) else { continue };
            let shared = self.opened.get(first).map(|opened| Arc::clone(&opened.socket));
            let place = Queue { interface: device.interface, number: *queue };
            let (socket, rings) = Socket::open(place, &umem, ring, shared.as_deref())?;
            let (socket, counters) = (Arc::new(socket), Arc::new(PortCounters::default()));
            ports.ports.push(Port::new(number, rings, Arc::clone(&socket), ring, Arc::clone(&counters)));
            self.opened.push(Opened { index, socket, counters });
            if let Some(egress) = ports.egress.get_mut(device.slot as usize) {
                // The lowest queue of each device, which is one that the device can send by.
                egress.get_or_insert(number);
            }
        }
        Ok((umem, ports))
    }

    /// Leads packets here, now that every worker runs.
    fn enter(&self, punts: &mut XskMap<MapData>, devices: &[Device]) -> Result<(), EngineError> {
        for opened in &self.opened {
            punts.set(opened.index, opened.socket.as_fd().as_raw_fd(), 0).map_err(|source| {
                let (slot, queue) = (opened.index / QUEUES_PER_DEVICE, opened.index % QUEUES_PER_DEVICE);
                let interface = devices.iter().find(|device| device.slot == slot);
                let interface = interface.map_or_else(String::new, |device| name_of(device.interface));
                EngineError::Map { interface, queue, source: Box::new(source) }
            })?;
        }
        Ok(())
    }

    fn end(&mut self) {
        self.stop.request();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }

    fn counters(&self) -> PuntCounters {
        let mut sum = PuntCounters::default();
        for opened in &self.opened {
            sum += opened.counters.read();
            // A socket whose device is gone does not tell any more.
            if let Ok(kernel) = opened.socket.statistics() {
                sum.no_frame += kernel.rx_dropped;
                sum.ring_full += kernel.rx_ring_full;
            }
        }
        sum
    }
}

/// Bytes of a frame that holds what the largest of the devices receives, or of the largest frame that there is.
fn frame_size(devices: &[Device]) -> Result<usize, EngineError> {
    let [small, large] = FRAME_SIZES;
    for device in devices {
        let mtu = mtu_of(device.interface)
            .map_err(|source| EngineError::Interface { interface: name_of(device.interface), source })?;
        if mtu + LINK_HEADERS + HEADROOM > small {
            return Ok(large);
        }
    }
    Ok(small)
}

/// The queues of each worker: the place of the device in `devices`, and the number of its queue.
fn queues_of_workers(devices: &[Device]) -> Result<Vec<Vec<(usize, u32)>>, EngineError> {
    let mut queues = HashMap::new();
    let mut workers = QUEUES_PER_DEVICE;
    for (at, device) in devices.iter().enumerate() {
        let found = Queues::of(device.interface)
            .map_err(|source| EngineError::Interface { interface: name_of(device.interface), source })?;
        workers = workers.min(found.receive).min(found.transmit);
        queues.insert(at, found.receive.min(QUEUES_PER_DEVICE));
    }
    let set = |worker: u32| {
        let of = |at: usize| (worker..queues.get(&at).copied().unwrap_or(0)).step_by(workers as usize);
        (0..devices.len()).flat_map(|at| of(at).map(move |queue| (at, queue))).collect()
    };
    Ok((0..workers).map(set).collect())
}

/// The life of a worker's thread.
fn run<H: Handler + Copier>(mut worker: Worker<Arc<Socket>, H>, stop: &Stop, turns: &Turns) {
    let watch = |descriptor: BorrowedFd<'_>| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled = vec![watch(stop.as_fd())];
    polled.extend(worker.wakeups().map(|(socket, _)| watch(socket.as_fd())));
    let mut last_turns = LAST_TURNS;
    loop {
        turns.begin();
        let handled = worker.turn();
        turns.end();
        if stop.is_requested() {
            if handled == 0 || last_turns == 0 {
                return;
            }
            last_turns -= 1;
            continue;
        }
        if handled > 0 {
            continue;
        }
        let mut patience = -1;
        for ((socket, is_waiting), polled) in worker.wakeups().zip(polled.iter_mut().skip(1)) {
            // Polling a socket sends what waits there, and does not tell what the device drops of it. A negative number is
            // not polled.
            polled.fd = if is_waiting { -1 } else { socket.as_fd().as_raw_fd() };
            if is_waiting {
                patience = RETRY_MS;
            }
        }
        // SAFETY: the descriptors are open for as long as the worker and `stop` live, and the array has this length.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, patience) };
    }
}
