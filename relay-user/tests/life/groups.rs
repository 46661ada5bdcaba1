//! A group and its receivers outlive the process.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::{Side, Topology};

use crate::support::*;

/// Packets a second: each is copied for every receiver.
const RATE: u32 = 1_000;
/// The first of the receivers' ports, theirs and ours.
const FIRST: u16 = 10_000;
/// More than two blocks.
const RECEIVERS: u16 = 40;

/// The receiver with this number on a side: our leg, and where it is.
fn receiver(side: Side, number: u16) -> (SocketAddr, SocketAddr) {
    let address = |address| SocketAddrV4::new(address, FIRST + number).into();
    (address(side.relay), address(side.terminal))
}

fn at_viewer(numbers: std::ops::Range<u16>) -> Vec<(SocketAddr, SocketAddr)> {
    numbers.map(|number| receiver(Topology::VIEWER, number)).collect()
}

/// The camera's leg, and these.
fn group(receivers: &[(SocketAddr, SocketAddr)]) -> Vec<(SocketAddr, SocketAddr)> {
    std::iter::once((camera_leg(), camera())).chain(receivers.iter().copied()).collect()
}

/// Media from the camera, and what each receiver gets of it.
struct Audience {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u32>,
    receivers: JoinHandle<Vec<Vec<u32>>>,
    arrived: Arc<AtomicU32>,
}

impl Audience {
    /// The camera sends as long as the first `steady` of these receivers get what it sends.
    fn start(topology: &Topology, receivers: &[(SocketAddr, SocketAddr)], steady: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(AtomicU32::new(0));
        let from = topology.camera.run(|| UdpSocket::bind(camera()).unwrap()).unwrap();
        let sockets: Vec<UdpSocket> = receivers.iter().map(|(_, remote)| socket(topology, *remote)).collect();
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&arrived));
        let (ended, counted) = (Arc::clone(&stop), Arc::clone(&arrived));
        let sender = std::thread::spawn(move || send(&from, RATE, &seen, &stopped));
        let receivers = std::thread::spawn(move || receive(&sockets, steady, &ended, &counted));
        Self { stop, sender, receivers, arrived }
    }

    /// Waits until so many more packets have arrived everywhere.
    fn flows(&self, packets: u32) {
        let before = self.arrived.load(Ordering::Relaxed);
        wait_until("every receiver gets media", || self.arrived.load(Ordering::Relaxed) >= before + packets);
    }

    /// Stops sending and returns how many packets were sent, and the numbers of those that each receiver got, in their order.
    fn stop(self) -> (u32, Vec<Vec<u32>>) {
        self.stop.store(true, Ordering::Relaxed);
        (self.sender.join().unwrap(), self.receivers.join().unwrap())
    }
}

fn socket(topology: &Topology, address: SocketAddr) -> UdpSocket {
    let is_camera = address.ip() == Topology::CAMERA.terminal;
    let namespace = if is_camera { &topology.camera } else { &topology.viewer };
    let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(16 << 20).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Receives until nothing comes for a second after the sender was stopped.
fn receive(sockets: &[UdpSocket], steady: usize, stop: &AtomicBool, arrived: &AtomicU32) -> Vec<Vec<u32>> {
    const SILENCE: Duration = Duration::from_secs(1);
    let mut numbers = vec![Vec::new(); sockets.len()];
    let mut packet = [0; 2048];
    let mut last = Instant::now();
    loop {
        for (socket, numbers) in sockets.iter().zip(&mut numbers) {
            while socket.recv(&mut packet).is_ok() {
                numbers.push(u32::from_be_bytes(packet[12..16].try_into().unwrap()));
                last = Instant::now();
            }
        }
        let least = numbers[..steady].iter().map(Vec::len).min().unwrap();
        arrived.store(u32::try_from(least).unwrap(), Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) && last.elapsed() > SILENCE {
            return numbers;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Each of these receivers got everything, once, in order.
fn assert_whole(sent: u32, numbers: &[Vec<u32>]) {
    for (receiver, numbers) in numbers.iter().enumerate() {
        let wrong = numbers.iter().zip(0..).find(|(found, expected)| **found != *expected);
        assert_eq!(wrong, None, "receiver {receiver}: found and expected, of {sent}");
        assert_eq!(numbers.len(), sent as usize, "receiver {receiver}");
    }
}

/// What was counted is what was sent.
fn assert_counted(holder: &mut Holder, sent: u32, receivers: &[(SocketAddr, SocketAddr)]) {
    let sent = u64::from(sent);
    let [_, _, entered] = holder.group(camera_leg()).unwrap();
    assert_eq!(entered, sent);
    for leg in holder.legs() {
        if leg.local == camera_leg() {
            assert_eq!((leg.received, leg.forwarded, leg.dropped), (sent, sent, 0));
        } else if receivers.iter().any(|(local, _)| *local == leg.local) {
            assert_eq!(leg.sent, sent, "{leg:?}");
        }
    }
}

/// Devices of the relay's own in its namespace.
fn pairs(topology: &Topology) -> usize {
    let output = topology.relay.command("ip").args(["-brief", "link"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("fan")).count()
}

#[test]
fn a_group_loses_nothing_while_no_process_runs_nor_when_the_next_takes_over() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    let receivers = at_viewer(0..RECEIVERS);
    holder.join(&group(&receivers));
    let audience = Audience::start(&topology, &receivers, receivers.len());
    audience.flows(500);
    holder.kill();
    audience.flows(500);
    for end in ["leave", "leave"] {
        let holder = Holder::start(&topology, &state.folder(), 64);
        assert_eq!(holder.adopted, receivers.len() + 1);
        audience.flows(500);
        holder.end(end);
        audience.flows(200);
    }
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    audience.flows(500);
    let (sent, numbers) = audience.stop();
    assert_whole(sent, &numbers);
    assert_counted(&mut holder, sent, &receivers);
    assert_eq!(holder.group(camera_leg()), Some([40, 3, sent.into()]));
    assert_eq!(pairs(&topology), 2);
    holder.end("stop");
    assert_eq!(state.pins(), [] as [std::path::PathBuf; 0]);
    assert_eq!(pairs(&topology), 0);
}

#[test]
fn who_was_adopted_may_leave_and_others_may_join() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 128);
    let receivers = at_viewer(0..60);
    let (steady, leaving) = receivers[..RECEIVERS as usize].split_at(20);
    holder.join(&group(&receivers[..RECEIVERS as usize]));
    let audience = Audience::start(&topology, &receivers, steady.len());
    audience.flows(300);
    holder.kill();
    let mut holder = Holder::start(&topology, &state.folder(), 128);
    let locals: Vec<SocketAddr> = leaving.iter().map(|(local, _)| *local).collect();
    // A block in the middle, and part of others.
    holder.remove(&locals);
    assert_eq!(holder.group(camera_leg()).map(|[receivers, passes, _]| [receivers, passes]), Some([20, 2]));
    audience.flows(300);
    holder.join(&group(&receivers[RECEIVERS as usize..]));
    assert_eq!(holder.group(camera_leg()).map(|[receivers, ..]| receivers), Some(40));
    audience.flows(300);
    holder.kill();
    let mut holder = Holder::start(&topology, &state.folder(), 128);
    audience.flows(300);
    let (sent, numbers) = audience.stop();
    assert_whole(sent, &numbers[..steady.len()]);
    assert_counted(&mut holder, sent, steady);
    for (receiver, numbers) in numbers.iter().enumerate().skip(steady.len()) {
        let is_new = receiver >= RECEIVERS as usize;
        let gap = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]);
        assert_eq!(gap, None, "receiver {receiver}");
        let expected = if is_new { Some(sent - 1) } else { Some(0) };
        let found = if is_new { numbers.last() } else { numbers.first() };
        assert_eq!(found.copied(), expected, "receiver {receiver}");
    }
    let locals: Vec<SocketAddr> = receivers.iter().map(|(local, _)| *local).collect();
    holder.remove(&locals);
    assert_eq!(holder.group(camera_leg()), None);
    // Blocks that an adopted group had are used again.
    holder.join(&group(&receivers));
    assert_eq!(holder.group(camera_leg()).map(|[receivers, passes, _]| [receivers, passes]), Some([60, 4]));
}

#[test]
fn groups_on_two_devices_are_adopted_as_they_are() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    let sides = [Topology::VIEWER, Topology::CAMERA];
    let receivers: Vec<_> =
        (0..RECEIVERS).map(|number| receiver(sides[usize::from(number % 2)], number)).collect();
    holder.join(&group(&receivers));
    let audience = Audience::start(&topology, &receivers, receivers.len());
    audience.flows(300);
    holder.kill();
    audience.flows(300);
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    audience.flows(300);
    let (sent, numbers) = audience.stop();
    assert_whole(sent, &numbers);
    assert_counted(&mut holder, sent, &receivers);
    assert_eq!(holder.group(camera_leg()), Some([40, 4, sent.into()]));
    // The new process follows the devices of receivers that it did not seat itself.
    for state in ["down", "up"] {
        topology.relay.ip(&["link", "set", Topology::VIEWER.device, state]).unwrap();
    }
    let audience = Audience::start(&topology, &receivers, receivers.len());
    audience.flows(100);
    audience.stop();
}

#[test]
fn groups_move_to_maps_with_more_room() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    let receivers = at_viewer(0..RECEIVERS);
    holder.join(&group(&receivers));
    let audience = Audience::start(&topology, &receivers, receivers.len());
    audience.flows(500);
    holder.kill();
    audience.flows(200);
    for room in [20_000, 40_000] {
        let mut holder = Holder::start(&topology, &state.folder(), room);
        assert_eq!(holder.adopted, receivers.len() + 1);
        audience.flows(500);
        assert_eq!(holder.group(camera_leg()).map(|[receivers, ..]| receivers), Some(40));
        holder.end("leave");
    }
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    audience.flows(200);
    let (sent, numbers) = audience.stop();
    assert_whole(sent, &numbers);
    assert_counted(&mut holder, sent, &receivers);
    assert_eq!(pairs(&topology), 2);
    holder.end("stop");
    assert_eq!(pairs(&topology), 0);
}

#[test]
fn a_group_whose_source_was_switched_is_that_of_the_new_source() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    let receivers = at_viewer(0..20);
    let other = (SocketAddr::new(camera_leg().ip(), 30_100), SocketAddr::new(camera().ip(), 5_100));
    // Another camera has them first.
    let first: Vec<_> = std::iter::once(other).chain(receivers.iter().copied()).collect();
    holder.join(&first);
    holder.join(&group(&[receiver(Topology::CAMERA, 99)]));
    holder.remove(&[receiver(Topology::CAMERA, 99).0]);
    holder.switch(other.0, camera_leg());
    let audience = Audience::start(&topology, &receivers, receivers.len());
    audience.flows(300);
    holder.kill();
    audience.flows(300);
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.group(other.0), None);
    audience.flows(300);
    let (sent, numbers) = audience.stop();
    assert_whole(sent, &numbers);
    assert_counted(&mut holder, sent, &receivers);
    // And back, by another process.
    holder.switch(camera_leg(), other.0);
    assert_eq!(holder.group(camera_leg()), None);
    assert_eq!(holder.group(other.0).map(|[receivers, passes, _]| [receivers, passes]), Some([20, 2]));
}
