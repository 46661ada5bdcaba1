//! Several groups at once: the packets of four cameras come between each other, and each goes to its own receivers alone, in
//! order and whole.

use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Barrier;
use std::time::Instant;

use relay_user::{DeviceCounters, LegId, LegSpec, LegStatistics, Plan};
use testbed::Topology;

use crate::engines::*;
use crate::support::*;

with_every_engine! {
    packets_of_several_cameras_by_turns_go_to_their_own_receivers,
    bursts_of_several_cameras_at_once_go_to_their_own_receivers,
}

const CAMERAS: u16 = 4;
/// More than one block each.
const RECEIVERS: u16 = 20;
const ROUNDS: u16 = 100;

/// Cameras and their groups on one relay.
struct Groups {
    bench: Bench,
    cameras: Vec<UdpSocket>,
    sources: Vec<LegId>,
    /// Of each camera.
    receivers: Vec<Vec<UdpSocket>>,
}

impl Groups {
    fn start(engine: Engine) -> Self {
        let bench = Bench::with_options(engine.options(256));
        // A ring for each processor that copies: one that several fill while one empties it may overflow.
        let cpus = std::thread::available_parallelism().unwrap().to_string();
        let viewer = &bench.topology.viewer;
        let mut ethtool = viewer.command("ethtool");
        assert!(ethtool.args(["-L", Topology::TERMINAL_DEVICE, "rx", &cpus]).status().unwrap().success());
        let side = Topology::CAMERA;
        // Until the cameras' kernel knows our MAC address it keeps packets back, and later ones pass them. Nobody listens there; the
        // refusal comes when it does.
        let refused = bench.topology.camera.run(|| TcpStream::connect((side.relay, 9))).unwrap();
        assert!(refused.is_err());
        let camera = |number: u16| {
            LegSpec::new(SocketAddrV4::new(side.relay, CAMERA_LEG + 2 * number).into())
                .remote(SocketAddrV4::new(side.terminal, CAMERA_PORT + 2 * number).into())
        };
        let plan = Plan { legs: (0..CAMERAS).map(camera).collect(), streams: Vec::new() };
        let sources = bench.runtime.block_on(bench.relay.install(&plan)).unwrap();
        let cameras = (0..CAMERAS).map(|number| bench.camera_socket(CAMERA_PORT + 2 * number)).collect();
        let numbers = |camera: u16| camera * RECEIVERS..(camera + 1) * RECEIVERS;
        let open = |number| bench.viewer_socket(FIRST + number);
        let receivers = (0..CAMERAS).map(|camera| numbers(camera).map(open).collect()).collect();
        for (source, camera) in sources.iter().zip(0..) {
            let legs: Vec<LegSpec> = numbers(camera).map(receiver).collect();
            bench.runtime.block_on(bench.relay.join(*source, &legs)).unwrap();
        }
        Self { bench, cameras, sources, receivers }
    }

    fn send(&self, camera: u16, sequence: u16) {
        let to = SocketAddrV4::new(Topology::CAMERA.relay, CAMERA_LEG + 2 * camera);
        self.cameras[usize::from(camera)].send_to(&rtp(sequence, ssrc(camera)), to).unwrap();
    }

    /// Every receiver of a camera gets this of it next.
    fn receive(&self, camera: u16, sequence: u16) {
        for (socket, number) in self.receivers[usize::from(camera)].iter().zip(0..) {
            let (packet, from) = receive(socket);
            assert!(
                packet == rtp(sequence, ssrc(camera)),
                "receiver {number} of camera {camera} got {} instead of {sequence}: {:?}",
                sequence_of(&packet),
                self.counted(camera, number)
            );
            assert_eq!(from.port(), FIRST + camera * RECEIVERS + number);
        }
    }

    /// What is counted for a receiver of a camera, and for the devices.
    fn counted(&self, camera: u16, number: u16) -> (LegStatistics, Vec<DeviceCounters>) {
        let receivers = self.bench.relay.receivers(self.sources[usize::from(camera)]);
        let counted = self.bench.relay.statistics(receivers[usize::from(number)]).unwrap();
        (counted, self.bench.relay.device_counters())
    }

    /// Nothing else came, and everything was counted once.
    fn end(&self, packets: u16) {
        let deadline = Instant::now() + SILENCE;
        while Instant::now() < deadline {
            std::thread::yield_now();
        }
        for socket in self.receivers.iter().flatten() {
            socket.set_nonblocking(true).unwrap();
            assert!(socket.recv(&mut [0; 2048]).is_err());
        }
        for source in &self.sources {
            let counted = self.bench.relay.statistics(*source).unwrap();
            assert_eq!((counted.forwarded, counted.dropped), (u64::from(packets), vec![]));
            assert_eq!(self.bench.relay.group(*source).unwrap().entered, u64::from(packets));
            for receiver in self.bench.relay.receivers(*source) {
                let counted = self.bench.relay.statistics(receiver).unwrap();
                assert_eq!((counted.sent, counted.lost), (u64::from(packets), vec![]));
            }
        }
    }
}

fn ssrc(camera: u16) -> u32 {
    100 + u32::from(camera)
}

fn packets_of_several_cameras_by_turns_go_to_their_own_receivers(engine: Engine) {
    let groups = Groups::start(engine);
    for sequence in 0..ROUNDS {
        (0..CAMERAS).for_each(|camera| groups.send(camera, sequence));
        (0..CAMERAS).for_each(|camera| groups.receive(camera, sequence));
    }
    groups.end(ROUNDS);
}

fn bursts_of_several_cameras_at_once_go_to_their_own_receivers(engine: Engine) {
    let groups = Groups::start(engine);
    // All copies that sockets make at a time fit one ring of the device: its 256 places are all there is.
    let packets = if engine == Engine::User { 3 } else { 10 };
    for round in 0..ROUNDS {
        let burst = round * packets..(round + 1) * packets;
        let together = Barrier::new(usize::from(CAMERAS));
        std::thread::scope(|scope| {
            for camera in 0..CAMERAS {
                let (groups, together, burst) = (&groups, &together, burst.clone());
                scope.spawn(move || {
                    together.wait();
                    burst.for_each(|sequence| groups.send(camera, sequence));
                });
            }
        });
        for camera in 0..CAMERAS {
            burst.clone().for_each(|sequence| groups.receive(camera, sequence));
        }
    }
    groups.end(ROUNDS * packets);
}
