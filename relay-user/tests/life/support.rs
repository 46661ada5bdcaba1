//! A state folder of the test's own, processes that hold a data plane in it, and media at a steady rate whose every
//! packet is accounted for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::Topology;

/// Packets a second that media has in these tests, as far as the machine can.
const RATE: u32 = 20_000;
/// No test lasts so long.
const LONGEST: Duration = Duration::from_secs(240);
/// Packets that may be under way. Fewer than the ring of a wire has room for (`VETH_RING_SIZE`, 256): a busy machine may leave
/// them there for a while, and what is lost must not have been lost on the wires.
const UNDER_WAY: u32 = 200;
/// When nothing has arrived for so long, nothing is under way any more.
const LOST: Duration = Duration::from_millis(500);
/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A BPF file system, gone with this.
pub(crate) struct State(PathBuf);

impl State {
    pub(crate) fn mount() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("culvert-state-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder).status().unwrap();
        assert!(mounted.success());
        Self(folder)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.0.join("instance")
    }

    /// A folder for another instance.
    pub(crate) fn other_folder(&self) -> PathBuf {
        self.0.join("other")
    }

    /// The pins, relative to the state folder.
    pub(crate) fn pins(&self) -> Vec<PathBuf> {
        let mut pins = Vec::new();
        let mut folders = vec![self.folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    pins.push(path.strip_prefix(self.folder()).unwrap().to_owned());
                }
            }
        }
        pins.sort();
        pins
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A process that holds a data plane.
pub(crate) struct Holder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) adopted: usize,
}

/// What the data plane says of a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) local: SocketAddr,
    pub(crate) owner: u64,
    pub(crate) received: u64,
    pub(crate) forwarded: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) adopted: bool,
}

impl Holder {
    pub(crate) fn start(topology: &Topology, state: &Path, legs: u32) -> Self {
        Self::try_start(topology, state, legs).unwrap()
    }

    /// Starts the process and waits until its data plane runs, or says why it does not.
    pub(crate) fn try_start(topology: &Topology, state: &Path, legs: u32) -> Result<Self, String> {
        let program =
            std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("hold");
        assert!(program.exists(), "{}: `cargo build -p relay-user --examples` makes it", program.display());
        let mut command = topology.relay.command(program);
        command.arg(state).arg(legs.to_string()).args([Topology::CAMERA.device, Topology::VIEWER.device]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        match line.trim().strip_prefix("ready ") {
            Some(adopted) => Ok(Self { process, input, output, adopted: adopted.parse().unwrap() }),
            None => Err(String::from_utf8(process.wait_with_output().unwrap().stderr).unwrap()),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Installs a call between camera and viewer.
    pub(crate) fn call(&mut self) {
        self.say(&format!("call {} {} {} {}", camera_leg(), camera(), viewer_leg(), viewer()));
        assert_eq!(self.hear(), "called");
    }

    /// The same, and user space sends its packets on.
    pub(crate) fn punted_call(&mut self) {
        self.say(&format!("punt {} {} {} {}", camera_leg(), camera(), viewer_leg(), viewer()));
        assert_eq!(self.hear(), "called");
    }

    /// What arrives on the first leg goes to the others from now on.
    pub(crate) fn join(&mut self, legs: &[(SocketAddr, SocketAddr)]) {
        let legs: Vec<String> = legs.iter().map(|(local, remote)| format!("{local} {remote}")).collect();
        self.say(&format!("join - {}", legs.join(" ")));
        assert_eq!(self.hear(), "joined");
    }

    /// The receivers of the first leg get the second as their source.
    pub(crate) fn switch(&mut self, source: SocketAddr, next: SocketAddr) {
        self.say(&format!("switch {source} {next}"));
        assert_eq!(self.hear(), "switched");
    }

    /// Removes the legs at these addresses.
    pub(crate) fn remove(&mut self, locals: &[SocketAddr]) {
        let locals: Vec<String> = locals.iter().map(ToString::to_string).collect();
        self.say(&format!("remove {}", locals.join(" ")));
        assert_eq!(self.hear(), "removed");
    }

    /// Receivers, passes and packets of a leg's group; `None` if it has none.
    pub(crate) fn group(&mut self, local: SocketAddr) -> Option<[u64; 3]> {
        self.say(&format!("group {local}"));
        let line = self.hear();
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().ok()
    }

    /// A counter of the relay's, by its name.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        self.say("counters");
        let lines: Vec<String> =
            std::iter::repeat_with(|| self.hear()).take_while(|line| line != "end").collect();
        let found = lines.iter().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or(0)
    }

    /// The legs, that of the camera first.
    pub(crate) fn legs(&mut self) -> Vec<Leg> {
        self.say("legs");
        let mut legs = Vec::new();
        loop {
            let line = self.hear();
            if line == "end" {
                return legs;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |name| {
                let at = words.iter().position(|word| *word == name).unwrap();
                words[at + 1].parse::<u64>().unwrap()
            };
            legs.push(Leg {
                local: words[0].parse().unwrap(),
                owner: words[1].parse().unwrap(),
                received: number("received"),
                forwarded: number("forwarded"),
                sent: number("sent"),
                dropped: number("dropped"),
                adopted: words.last() == Some(&"true"),
            });
        }
    }

    /// What the devices did not take, as the example prints it.
    pub(crate) fn devices(&mut self) -> Vec<String> {
        self.say("devices");
        std::iter::repeat_with(|| self.hear()).take_while(|line| line != "end").collect()
    }

    /// SIGKILL: nothing can be tidied up.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends by a command, `leave` or `stop`.
    pub(crate) fn end(mut self, command: &str) {
        self.say(command);
        assert!(self.process.wait().unwrap().success());
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something is so; it is looked at again and again.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn camera() -> SocketAddr {
    SocketAddrV4::new(Topology::CAMERA.terminal, 5004).into()
}

pub(crate) fn camera_leg() -> SocketAddr {
    SocketAddrV4::new(Topology::CAMERA.relay, 30000).into()
}

pub(crate) fn viewer() -> SocketAddr {
    SocketAddrV4::new(Topology::VIEWER.terminal, 6004).into()
}

pub(crate) fn viewer_leg() -> SocketAddr {
    SocketAddrV4::new(Topology::VIEWER.relay, 30002).into()
}

/// Media from camera to viewer, 20,000 numbered packets a second, until it is stopped.
pub(crate) struct Media {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u32>,
    receiver: JoinHandle<Vec<u32>>,
    arrived: Arc<AtomicU32>,
}

impl Media {
    pub(crate) fn start(topology: &Topology) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(AtomicU32::new(0));
        let from = topology.camera.run(|| UdpSocket::bind(camera()).unwrap()).unwrap();
        let to = topology.viewer.run(|| UdpSocket::bind(viewer()).unwrap()).unwrap();
        // The kernel takes as much as a privileged process asks for: the test is not about this socket.
        socket2::SockRef::from(&to).set_recv_buffer_size(64 << 20).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&arrived));
        let (seen, ended) = (Arc::clone(&arrived), Arc::clone(&stop));
        let sender = std::thread::spawn(move || send(&from, RATE, &seen, &stopped));
        let receiver = std::thread::spawn(move || receive(&to, &ended, &counted));
        Self { stop, sender, receiver, arrived }
    }

    /// Waits until so many more packets have arrived.
    pub(crate) fn flows(&self, packets: u32) {
        let (start, before) = (Instant::now(), self.arrived.load(Ordering::Relaxed));
        while self.arrived.load(Ordering::Relaxed) - before < packets {
            assert!(start.elapsed() < PATIENCE, "media does not flow");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until nothing arrives any more.
    pub(crate) fn stops(&self) {
        const SILENCE: Duration = Duration::from_millis(100);
        let start = Instant::now();
        loop {
            let before = self.arrived.load(Ordering::Relaxed);
            std::thread::sleep(SILENCE);
            if self.arrived.load(Ordering::Relaxed) == before {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "media flows on");
        }
    }

    /// Stops sending and returns how many packets were sent, and the numbers of those that did not arrive exactly
    /// once.
    pub(crate) fn stop(self) -> (u64, Vec<u32>) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let mut arrivals = vec![0_u8; sent as usize];
        for number in self.receiver.join().unwrap() {
            arrivals[number as usize] = arrivals[number as usize].saturating_add(1);
        }
        let wrong = (0..).zip(arrivals).filter(|(_, count)| *count != 1).map(|(number, _)| number);
        (sent.into(), wrong.collect())
    }
}

/// Sends by the clock: what a busy machine delays is made up for in small bursts. Waits when too much is under way.
pub(crate) fn send(socket: &UdpSocket, rate: u32, arrived: &AtomicU32, stop: &AtomicBool) -> u32 {
    const BURST: u32 = 64;
    let start = Instant::now();
    let mut sent = 0;
    // Packets that are under way no more, arrived or lost, and when the last of them arrived.
    let (mut done, mut last, mut when) = (0, 0, start);
    while !stop.load(Ordering::Relaxed) {
        let so_far = arrived.load(Ordering::Relaxed);
        if so_far != last {
            done += so_far - last;
            (last, when) = (so_far, Instant::now());
        } else if when.elapsed() > LOST {
            (done, when) = (sent, Instant::now());
        }
        let due = u32::try_from(start.elapsed().as_micros() * u128::from(rate) / 1_000_000).unwrap();
        let room = (done + UNDER_WAY).saturating_sub(sent);
        for _ in 0..(due - sent).min(room).min(BURST) {
            let mut packet = [0xab; 172];
            packet[..4].copy_from_slice(&[0x80, 96, 0, 0]);
            packet[12..16].copy_from_slice(&sent.to_be_bytes());
            socket.send_to(&packet, camera_leg()).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    sent
}

/// Receives until nothing comes for a second after the sender was stopped.
fn receive(socket: &UdpSocket, stop: &AtomicBool, arrived: &AtomicU32) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut packet = [0; 2048];
    let start = Instant::now();
    loop {
        match socket.recv(&mut packet) {
            Ok(_) => {
                numbers.push(u32::from_be_bytes(packet[12..16].try_into().unwrap()));
                arrived.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if !stop.load(Ordering::Relaxed) && start.elapsed() < LONGEST => {}
            Err(_) => return numbers,
        }
    }
}
