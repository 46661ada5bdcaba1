//! A relay between a camera and a viewer, and media that runs from one to the other all the time.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use relay_user::{
    AttachedInterface, LegId, LegSpec, LegStatistics, ModeChoice, Options, Plan, PuntCounters, Relay,
    StreamSpec,
};
use testbed::{Namespace, Topology};
use tokio::runtime::Runtime;

/// Long enough for every change on a slow and busy machine: only a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// One packet in this time.
const PACE: Duration = Duration::from_millis(1);
/// As many in a row are media that flows.
const FLOWS: u64 = 50;
/// No packet is under way for longer, be the machine slow and busy.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// As many that were tried in a row and did not arrive are media that has stopped.
const STOPPED: u64 = 100;

/// AF_XDP frames of each queue where they shall be few: as few as there may be.
pub(crate) const PUNT_FRAMES: u32 = 128;

/// The relay's ports, and the terminals'.
pub(crate) const LEG_PORT: u16 = 30000;
pub(crate) const TERMINAL_PORT: u16 = 5004;

/// The running relay and the namespaces around it.
pub(crate) struct Bench {
    pub(crate) relay: Relay,
    pub(crate) runtime: Runtime,
    pub(crate) topology: Topology,
    /// User space sends on what its legs receive.
    punting: bool,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::on(Topology::create().expect("these tests take root, iproute2 and ethtool"), &[])
    }

    /// A relay that runs on the two wires of a topology, and on more interfaces.
    pub(crate) fn on(topology: Topology, more: &[&str]) -> Self {
        let mut interfaces = vec![Topology::CAMERA.device, Topology::VIEWER.device];
        interfaces.extend(more);
        Self::across(topology, &interfaces, Options::default())
    }

    /// The same on the two wires, with legs whose packets user space sends on, and as few frames for them as there may be:
    /// each is used again and again.
    pub(crate) fn punting() -> Self {
        let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
        Self::punting_across(topology, &[Topology::CAMERA.device, Topology::VIEWER.device])
    }

    /// The same on these interfaces.
    pub(crate) fn punting_across(topology: Topology, interfaces: &[&str]) -> Self {
        let options = Options { punt_frames: PUNT_FRAMES, ..Options::default() };
        Self { punting: true, ..Self::across(topology, interfaces, options) }
    }

    fn across(topology: Topology, interfaces: &[&str], options: Options) -> Self {
        let interfaces = interfaces.iter().map(ToString::to_string).collect();
        let start = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            // The threads of the runtime, and so its sockets, are in the namespace of the thread that makes it.
            let runtime = runtime.unwrap();
            let options = Options { interfaces, mode: ModeChoice::Native, legs: 64, ..options };
            let relay = runtime.block_on(Relay::start(&options)).expect("the relay starts");
            (runtime, relay)
        };
        let (runtime, relay) = topology.relay.run(start).unwrap();
        Self { relay, runtime, topology, punting: false }
    }

    /// Runs `ip` in the relay's namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        self.topology.relay.ip(&arguments.split(' ').collect::<Vec<_>>()).unwrap();
    }

    /// What the relay says of an interface, by its place in the list.
    pub(crate) fn interface(&self, at: usize) -> AttachedInterface {
        self.relay.interfaces().swap_remove(at)
    }

    /// Waits until what the relay says of an interface is as wanted.
    pub(crate) fn interface_when(&self, at: usize, wanted: impl Fn(&AttachedInterface) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.interface(at)) {
            assert!(Instant::now() < deadline, "{:?}", self.interface(at));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Installs legs, and a stream from the first to the second.
    pub(crate) fn install(&self, legs: [LegSpec; 2]) -> [LegId; 2] {
        let plan = Plan { legs: legs.into(), streams: vec![StreamSpec { ingress: 0, egress: 1 }] };
        self.install_plan(plan).try_into().unwrap()
    }

    /// Installs a plan, each leg on the path that this is about.
    pub(crate) fn install_plan(&self, mut plan: Plan) -> Vec<LegId> {
        for leg in &mut plan.legs {
            leg.punted |= self.punting;
        }
        self.runtime.block_on(self.relay.install(&plan)).unwrap()
    }

    /// What was counted on the way through user space; it runs, and no frame was ever where it cannot be.
    pub(crate) fn punts(&self) -> PuntCounters {
        let path = self.relay.punt_path().unwrap();
        assert_eq!((path.problem, path.counters.misplaced), (None, 0));
        path.counters
    }

    /// Media from the camera to the viewer, over IPv4, once it flows.
    pub(crate) fn media(&self) -> Media<'_> {
        let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
        self.media_between(
            (camera.relay.into(), camera.terminal.into()),
            (viewer.relay.into(), viewer.terminal.into()),
        )
    }

    /// The same over IPv6.
    pub(crate) fn media6(&self) -> Media<'_> {
        let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
        self.media_between(
            (camera.relay6.into(), camera.terminal6.into()),
            (viewer.relay6.into(), viewer.terminal6.into()),
        )
    }

    /// Media between addresses, each pair the relay's and the terminal's, once it flows.
    pub(crate) fn media_between(
        &self,
        camera: (std::net::IpAddr, std::net::IpAddr),
        viewer: (std::net::IpAddr, std::net::IpAddr),
    ) -> Media<'_> {
        let leg = |(relay, terminal)| {
            LegSpec::new(SocketAddr::new(relay, LEG_PORT)).remote(SocketAddr::new(terminal, TERMINAL_PORT))
        };
        let [leg, _] = self.install([leg(camera), leg(viewer)]);
        let sender = socket(&self.topology.camera, SocketAddr::new(camera.1, TERMINAL_PORT));
        let receiver = socket(&self.topology.viewer, SocketAddr::new(viewer.1, TERMINAL_PORT));
        let media = Media::start(self, leg, sender, receiver, SocketAddr::new(camera.0, LEG_PORT));
        media.flows();
        media
    }
}

/// A socket of a terminal.
pub(crate) fn socket(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Media that runs until it is dropped.
pub(crate) struct Media<'a> {
    bench: &'a Bench,
    leg: LegId,
    sender: UdpSocket,
    /// Bytes of payload.
    pub(crate) size: Arc<AtomicUsize>,
    /// Packets that the sender had its socket send, and those of them that it took.
    tried: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    arrived: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Media<'a> {
    pub(crate) fn start(
        bench: &'a Bench,
        leg: LegId,
        sender: UdpSocket,
        receiver: UdpSocket,
        to: SocketAddr,
    ) -> Self {
        let size = Arc::new(AtomicUsize::new(160));
        let [tried, sent, arrived] = [(); 3].map(|()| Arc::<AtomicU64>::default());
        let over = Arc::<AtomicBool>::default();
        let socket = sender.try_clone().unwrap();
        receiver.set_read_timeout(Some(UNDER_WAY)).unwrap();
        let send = {
            let (size, tried) = (Arc::clone(&size), Arc::clone(&tried));
            let (sent, over) = (Arc::clone(&sent), Arc::clone(&over));
            move || {
                let mut sequence = 0_u16;
                while !over.load(Ordering::Relaxed) {
                    sequence = sequence.wrapping_add(1);
                    let payload = vec![0xab; size.load(Ordering::Relaxed)];
                    // A device that is down refuses it: then it was not sent.
                    if sender.send_to(&rtp(sequence, &payload), to).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    tried.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PACE);
                }
            }
        };
        let receive = {
            let (arrived, over) = (Arc::clone(&arrived), Arc::clone(&over));
            move || {
                let mut buffer = [0; 2048];
                loop {
                    if receiver.recv_from(&mut buffer).is_ok() {
                        arrived.fetch_add(1, Ordering::Relaxed);
                    } else if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        };
        let threads = vec![thread::spawn(send), thread::spawn(receive)];
        Self { bench, leg, sender: socket, size, tried, sent, arrived, over, threads }
    }

    /// From now on packets leave in one piece, whatever the sender is told of the way.
    pub(crate) fn never_fragment(&self) {
        let value = libc::IP_PMTUDISC_PROBE;
        // SAFETY: an open socket, and a value that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.sender.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                (&raw const value).cast(),
                size_of_val(&value).try_into().unwrap(),
            )
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Waits until media flows.
    pub(crate) fn flows(&self) {
        let start = self.arrived.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while self.arrived.load(Ordering::Relaxed) < start + FLOWS {
            assert!(
                Instant::now() < deadline,
                "no media: {:?} {:?}",
                self.statistics(),
                self.bench.relay.interfaces()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until media has stopped.
    pub(crate) fn stops(&self) {
        let deadline = Instant::now() + PATIENCE;
        let now = || (self.tried.load(Ordering::Relaxed), self.arrived.load(Ordering::Relaxed));
        let (mut since, mut last) = now();
        loop {
            thread::sleep(Duration::from_millis(5));
            let (tried, arrived) = now();
            if arrived != last {
                (since, last) = (tried, arrived);
            } else if tried >= since + STOPPED {
                return;
            }
            assert!(Instant::now() < deadline, "media still flows: {:?}", self.statistics());
        }
    }

    /// Waits until packets were dropped for this reason.
    pub(crate) fn is_dropped_as(&self, reason: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.dropped(&[reason]) == 0 {
            assert!(Instant::now() < deadline, "not {reason}: {:?}", self.statistics());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn statistics(&self) -> LegStatistics {
        self.bench.relay.statistics(self.leg).unwrap()
    }

    /// Packets that were dropped for one of these reasons.
    pub(crate) fn dropped(&self, reasons: &[&str]) -> u64 {
        let dropped = self.statistics().dropped;
        dropped.iter().filter(|(name, _)| reasons.contains(name)).map(|(_, count)| count).sum()
    }

    /// Ends the media and balances the books: every packet was delivered, or dropped for one of these reasons, or
    /// refused by the egress device, which at most `in_flight` may have swallowed when it went. Returns how many were
    /// lost.
    pub(crate) fn end(mut self, reasons: &[&str], in_flight: u64) -> u64 {
        self.finish();
        let statistics = self.statistics();
        let (sent, arrived) = (self.sent.load(Ordering::Relaxed), self.arrived.load(Ordering::Relaxed));
        let dropped = self.dropped(reasons);
        let devices = self.bench.relay.device_counters();
        let refused = devices.iter().map(|device| device.refused + device.unsent).sum::<u64>()
            + self.bench.punts().device_refused;
        let books = format!("sent {sent}, arrived {arrived}, refused {refused}, {statistics:?}");
        assert_eq!(statistics.received, sent, "lost before the relay: {books}");
        assert_eq!(statistics.received, statistics.forwarded + dropped, "another reason: {books}");
        let unaccounted = statistics.forwarded - refused - arrived;
        assert!(unaccounted <= in_flight, "lost after the relay: {books}");
        sent - arrived
    }

    fn finish(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Media<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// An RTP packet of payload type 96.
pub(crate) fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(3600).to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend(payload);
    packet
}
