//! A platform that relays between the networks of cameras and viewers: the real binary in network namespaces.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use control::admin::{Playing, Reply, Request, Stream};
use testbed::Topology;

use super::device::platform;
use super::gateway::{Gateway, PATIENCE};

/// What cameras in tests are called as channels.
pub(crate) const CHANNEL: &str = "34020000001310000002";

pub(crate) struct Live {
    pub(crate) gateway: Gateway,
    pub(crate) topology: Topology,
}

impl Live {
    /// With these keys of `[gb28181]`.
    pub(crate) fn start(keys: &str) -> Self {
        let topology = Topology::create().unwrap();
        let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
        let relay = format!(
            "[relay]\ninterfaces = [\"{0}\", \"{2}\"]\nquarantine_seconds = 1\nstate = \"none\"\n\
             [[network]]\nname = \"cameras\"\ninterface = \"{0}\"\naddress = \"{1}\"\n\
             [[network]]\nname = \"operators\"\ninterface = \"{2}\"\naddress = \"{3}\"\n",
            camera.device, camera.relay, viewer.device, viewer.relay
        );
        let configuration = format!("{}{relay}", platform(Self::platform(), keys));
        let gateway = Gateway::start(Some(&topology.relay), &configuration);
        Self { gateway, topology }
    }

    /// Where devices register.
    pub(crate) fn platform() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Topology::CAMERA.relay), 5060)
    }

    /// A viewer's socket.
    pub(crate) fn viewer(&self) -> UdpSocket {
        let bind = || UdpSocket::bind((Topology::VIEWER.terminal, 0));
        let socket = self.topology.viewer.run(bind).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Asks for a channel; the answer.
    pub(crate) fn ask(&self, channel: &str, to: SocketAddr) -> Reply {
        let channel = channel.parse().unwrap();
        self.gateway.ask(&Request::Play { device: None, channel, to, ssrc: None })
    }

    /// Plays the channel to an address.
    pub(crate) fn play(&self, to: SocketAddr) -> Playing {
        match self.ask(CHANNEL, to) {
            Reply::Playing(playing) => *playing,
            other => panic!("{other:?}\n{}", self.gateway.log()),
        }
    }

    /// What is refused, and why.
    pub(crate) fn refused(&self, channel: &str, to: SocketAddr) -> String {
        match self.ask(channel, to) {
            Reply::Refused { message } | Reply::NoSuchChannel { message } => message,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn streams(&self) -> Vec<Stream> {
        match self.gateway.ask(&Request::Streams) {
            Reply::Streams { streams } => streams,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until streams are as wanted.
    pub(crate) fn wait_for_streams(&self, what: &str, wanted: impl Fn(&[Stream]) -> bool) -> Vec<Stream> {
        let start = Instant::now();
        loop {
            let streams = self.streams();
            if wanted(&streams) {
                return streams;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{what} did not come about: {streams:#?}\n{}",
                self.gateway.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An RTP packet that arrives: sequence number, SSRC and payload.
pub(crate) fn receive_rtp(socket: &UdpSocket) -> (u16, u32, Vec<u8>) {
    let mut buffer = [0; 2_048];
    let (length, _) =
        socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("no media arrives: {error}"));
    assert!(length >= 12 && buffer[0] == 0x80, "no RTP: {:?}", &buffer[..length]);
    let sequence = u16::from_be_bytes([buffer[2], buffer[3]]);
    let ssrc = u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]);
    (sequence, ssrc, buffer[12..length].to_vec())
}
