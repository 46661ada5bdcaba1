//! A relay between a camera and a viewer, in namespaces of its own, with everything that a test needs to send through
//! it.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use relay_user::{
    Event, LegId, LegSpec, LegStatistics, ModeChoice, Options, Plan, Relay, Sharing, SourcePolicy, StreamSpec,
};
use testbed::Topology;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// Makes tests of functions that take a mode: each on every backend.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        on_every_backend! { native Native: $($name)+ }
        on_every_backend! { generic Generic: $($name)+ }
        on_every_backend! { user User: $($name)+ }
    };
    ($module:ident $mode:ident: $($name:ident)+) => {
        mod $module {
            $(#[test]
            fn $name() {
                super::$name(relay_user::ModeChoice::$mode);
            })+
        }
    };
}
pub(crate) use on_every_backend;

/// The relay's ports.
pub(crate) const CAMERA_LEG: u16 = 30000;
pub(crate) const VIEWER_LEG: u16 = 30002;
/// The terminals' ports.
pub(crate) const CAMERA_PORT: u16 = 5004;
pub(crate) const VIEWER_PORT: u16 = 6004;

/// Long enough for whatever is to come, be the machine slow and busy: only a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to say that a packet does not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// The running relay and the namespaces around it.
pub(crate) struct Bench {
    pub(crate) relay: Relay,
    pub(crate) runtime: Runtime,
    pub(crate) topology: Topology,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::with_mode(ModeChoice::Native)
    }

    pub(crate) fn with_mode(mode: ModeChoice) -> Self {
        Self::with_mode_and_room(mode, 64)
    }

    /// A relay with room for so many legs.
    pub(crate) fn with_room(legs: u32) -> Self {
        Self::with_mode_and_room(ModeChoice::Native, legs)
    }

    /// The same, in a mode.
    pub(crate) fn with_mode_and_room(mode: ModeChoice, legs: u32) -> Self {
        Self::with_options(Options { mode, legs, ..Options::default() })
    }

    /// A relay with these options, between camera and viewer.
    pub(crate) fn with_options(options: Options) -> Self {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self::on(runtime, options)
    }

    /// A relay whose tasks stand still: nobody tells it what changes around it.
    pub(crate) fn unattended() -> Self {
        Self::on(
            || tokio::runtime::Builder::new_current_thread().enable_all().build(),
            Options { mode: ModeChoice::Native, legs: 64, ..Options::default() },
        )
    }

    /// A relay that gets no AF_XDP sockets, because it may lock no memory.
    pub(crate) fn without_af_xdp(mode: ModeChoice) -> Self {
        Self::without_af_xdp_as(Options { mode, legs: 64, ..Options::default() })
    }

    /// The same with these options.
    pub(crate) fn without_af_xdp_as(options: Options) -> Self {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes and reads the structure, which outlives the calls.
        let result = unsafe {
            libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit);
            limit.rlim_cur = 0;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit)
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        let bench = Self::lacking(options, CAP_IPC_LOCK);
        let problem = bench.relay.punt_path().unwrap().problem;
        assert!(problem.is_some(), "there are AF_XDP sockets");
        bench
    }

    /// A relay that gets neither AF_XDP sockets nor a kernel path.
    pub(crate) fn without_user_space(mode: ModeChoice) -> Self {
        Self::lacking(Options { mode, legs: 64, ..Options::default() }, CAP_NET_RAW)
    }

    /// A relay that is started without a capability.
    fn lacking(options: Options, capability: u32) -> Self {
        let runtime = move || {
            // Of this thread alone, which starts the relay and ends.
            give_up(capability);
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        };
        Self::on(runtime, options)
    }

    fn on(runtime: impl FnOnce() -> std::io::Result<Runtime> + Send, options: Options) -> Self {
        let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
        let interfaces = vec![Topology::CAMERA.device.into(), Topology::VIEWER.device.into()];
        let start = || {
            // The threads of the runtime, and so its sockets, are in the namespace of the thread that makes it.
            let runtime = runtime().unwrap();
            let relay = runtime.block_on(Relay::start(&Options {
                interfaces,
                ports: vec![CAMERA_LEG + 10..=CAMERA_LEG + 99],
                ..options
            }));
            (runtime, relay.expect("the relay starts"))
        };
        let (runtime, relay) = topology.relay.run(start).unwrap();
        if ALL_PUNTED.get() {
            RELAYS.with_borrow_mut(|relays| relays.push(relay.clone()));
        }
        Self { relay, runtime, topology }
    }

    /// Installs a call between camera and viewer.
    pub(crate) fn call(&self, camera: LegSpec, viewer: LegSpec) -> [LegId; 2] {
        let plan = call(camera, viewer);
        let legs = self.runtime.block_on(self.relay.install(&plan)).unwrap();
        legs.try_into().unwrap()
    }

    pub(crate) fn camera_socket(&self, port: u16) -> UdpSocket {
        socket(&self.topology.camera, SocketAddrV4::new(Topology::CAMERA.terminal, port).into())
    }

    pub(crate) fn viewer_socket(&self, port: u16) -> UdpSocket {
        socket(&self.topology.viewer, SocketAddrV4::new(Topology::VIEWER.terminal, port).into())
    }

    /// What is told next.
    pub(crate) fn next(&self, events: &mut broadcast::Receiver<Event>) -> Event {
        let event = async { tokio::time::timeout(PATIENCE, events.recv()).await };
        self.runtime.block_on(event).expect("an event comes").unwrap()
    }

    /// Waits until the statistics of a leg are as wanted.
    pub(crate) fn statistics_when(
        &self,
        leg: LegId,
        wanted: impl Fn(&LegStatistics) -> bool,
    ) -> LegStatistics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statistics = self.relay.statistics(leg).unwrap();
            if wanted(&statistics) {
                return statistics;
            }
            assert!(Instant::now() < deadline, "{statistics:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Numbers of capabilities (linux/capability.h).
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;

/// Takes a capability from the calling thread.
fn give_up(capability: u32) {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    let mut header = [VERSION, 0];
    // Effective, permitted, inheritable; for the lower 32 capabilities, and for those above.
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel writes and reads these arrays, which outlive the calls.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    sets[0] &= !(1 << capability);
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Waits until something is so; it is looked at again and again.
pub(crate) fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, is_so);
}

/// The same with a patience of its own.
pub(crate) fn wait_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn socket(namespace: &testbed::Namespace, address: SocketAddr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

thread_local! {
    static ALL_PUNTED: Cell<bool> = const { Cell::new(false) };
    /// The relays of such a test.
    static RELAYS: RefCell<Vec<Relay>> = const { RefCell::new(Vec::new()) };
}

/// Runs a test all of whose legs are sent on by user space.
pub(crate) fn all_punted(test: impl FnOnce()) {
    ALL_PUNTED.set(true);
    test();
    ALL_PUNTED.set(false);
    for relay in RELAYS.take() {
        assert_ne!(relay.punt_path().unwrap().counters.sent, 0, "nothing went through user space");
    }
}

/// The legs of a plan, on the path that the test wants them on.
pub(crate) fn on_their_path(mut legs: Vec<LegSpec>) -> Vec<LegSpec> {
    for leg in legs.iter_mut().filter(|leg| leg.shared != Sharing::Port) {
        leg.punted |= ALL_PUNTED.get();
    }
    legs
}

/// Two legs, and a stream each way.
pub(crate) fn call(camera: LegSpec, viewer: LegSpec) -> Plan {
    let streams = vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }];
    Plan { legs: on_their_path(vec![camera, viewer]), streams }
}

pub(crate) fn camera_leg(source: SourcePolicy) -> LegSpec {
    leg(Topology::CAMERA.relay, CAMERA_LEG, Topology::CAMERA.terminal, CAMERA_PORT, source)
}

pub(crate) fn viewer_leg(source: SourcePolicy) -> LegSpec {
    leg(Topology::VIEWER.relay, VIEWER_LEG, Topology::VIEWER.terminal, VIEWER_PORT, source)
}

fn leg(
    local: std::net::Ipv4Addr,
    port: u16,
    remote: std::net::Ipv4Addr,
    remote_port: u16,
    source: SourcePolicy,
) -> LegSpec {
    LegSpec::new(SocketAddrV4::new(local, port).into())
        .remote(SocketAddrV4::new(remote, remote_port).into())
        .source(source)
}

/// Where the camera sends.
pub(crate) fn to_relay_from_camera() -> SocketAddr {
    SocketAddrV4::new(Topology::CAMERA.relay, CAMERA_LEG).into()
}

/// Where the viewer sends.
pub(crate) fn to_relay_from_viewer() -> SocketAddr {
    SocketAddrV4::new(Topology::VIEWER.relay, VIEWER_LEG).into()
}

/// An RTP packet of payload type 96.
pub(crate) fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(3600).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xab; 160]);
    packet
}

/// Receives one packet: its bytes and where it came from.
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (length, source) = socket.recv_from(&mut buffer).expect("a packet arrives");
    (buffer[..length].to_vec(), source)
}

/// Asserts that nothing comes.
pub(crate) fn assert_silent(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut buffer = [0; 2048];
    let received = socket.recv_from(&mut buffer);
    assert!(received.is_err(), "{received:?}");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Packets of the terminal that its wire had no room for.
pub(crate) fn lost_by_wire(namespace: &testbed::Namespace) -> u64 {
    let output = namespace.command("cat").arg("/proc/net/dev").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.trim().starts_with(Topology::TERMINAL_DEVICE)).unwrap();
    // Bytes, packets, errors and drops, received and then sent.
    line.split_whitespace().nth(1 + 8 + 3).unwrap().parse().unwrap()
}
