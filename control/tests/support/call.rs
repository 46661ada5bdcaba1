//! A call in relay mode: the real binary, the real XDP program, and two terminals in network namespaces.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use control::sip::message::Message;
use testbed::{Namespace, Side, Topology};

use super::gateway::{Gateway, PATIENCE};
use super::terminal::{Terminal, audio};

/// Which IP a side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn relay(self, side: Side) -> IpAddr {
        match self {
            Self::V4 => side.relay.into(),
            Self::V6 => side.relay6.into(),
        }
    }

    pub(crate) fn terminal(self, side: Side) -> IpAddr {
        match self {
            Self::V4 => side.terminal.into(),
            Self::V6 => side.terminal6.into(),
        }
    }

    fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

/// Two terminals and the gateway between them.
pub(crate) struct Call {
    pub(crate) gateway: Gateway,
    pub(crate) viewer: Terminal,
    pub(crate) camera: Terminal,
    pub(crate) viewer_rtp: UdpSocket,
    pub(crate) camera_rtp: UdpSocket,
    pub(crate) topology: Topology,
}

impl Call {
    pub(crate) fn prepare(relay_keys: &str) -> Self {
        Self::between(Family::V4, Family::V4, relay_keys)
    }

    /// A viewer of one family and a camera of another.
    pub(crate) fn between(viewer_family: Family, camera_family: Family, relay_keys: &str) -> Self {
        let topology = Topology::create().unwrap();
        let (viewer_side, camera_side) = (Topology::VIEWER, Topology::CAMERA);
        let configuration = format!(
            r#"
[sip]
listen = ["udp:{viewer_sip}", "udp:{camera_sip}"]
realm = "culvert.example"
[[account]]
user = "viewer"
authenticate = "never"
from = ["{viewer}/{viewer_prefix}"]
[[account]]
user = "camera"
authenticate = "never"
from = ["{camera}/{camera_prefix}"]
[relay]
interfaces = ["{viewer_device}", "{camera_device}"]
{relay_keys}
[[network]]
name = "operators"
interface = "{viewer_device}"
address = "{viewer}"
[[network]]
name = "cameras"
interface = "{camera_device}"
address = "{camera}"
[[rule]]
from = "*"
to = "*"
mode = "relay"
"#,
            viewer = viewer_family.relay(viewer_side),
            camera = camera_family.relay(camera_side),
            viewer_sip = SocketAddr::new(viewer_family.relay(viewer_side), 5060),
            camera_sip = SocketAddr::new(camera_family.relay(camera_side), 5060),
            viewer_prefix = viewer_family.prefix(),
            camera_prefix = camera_family.prefix(),
            viewer_device = viewer_side.device,
            camera_device = camera_side.device,
        );
        let gateway = Gateway::start(Some(&topology.relay), &configuration);
        let terminal = |namespace: &Namespace, user, side: Side, family: Family| {
            let address = SocketAddr::new(family.terminal(side), 5070);
            Terminal::new(Some(namespace), user, address, SocketAddr::new(family.relay(side), 5060))
        };
        let camera = terminal(&topology.camera, "camera", camera_side, camera_family);
        camera.register();
        Self {
            viewer: terminal(&topology.viewer, "viewer", viewer_side, viewer_family),
            viewer_rtp: media_socket(&topology.viewer, viewer_family.terminal(viewer_side), 4000),
            camera_rtp: media_socket(&topology.camera, camera_family.terminal(camera_side), 4000),
            camera,
            gateway,
            topology,
        }
    }

    /// INVITE and 200; returns what the camera received and what the viewer received.
    pub(crate) fn answer(&self) -> (Message, Message) {
        self.viewer.invite("camera", "call", &audio(self.viewer_rtp.local_addr().unwrap()));
        let invite = self.camera.receive_request("INVITE");
        self.camera.respond(&invite, 200, "camera1", &audio(self.camera_rtp.local_addr().unwrap()));
        let answer = self.viewer.receive_response();
        assert_eq!(answer.status_code(), Some(200));
        (invite, answer)
    }

    pub(crate) fn acknowledge(&self, answer: &Message) {
        self.viewer.request_in_dialog("ACK", answer, 1, "");
        self.camera.receive_request("ACK");
    }
}

/// A terminal's socket for media.
pub(crate) fn media_socket(namespace: &Namespace, address: IpAddr, port: u16) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((address, port)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Where a session description wants its only medium.
pub(crate) fn media_address(message: &Message) -> SocketAddr {
    let text = String::from_utf8(message.body.to_vec()).unwrap();
    let field = |start: &str, index: usize| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap_or_else(|| panic!("{start} in {text}"));
        line.split_whitespace().nth(index).unwrap().to_owned()
    };
    SocketAddr::new(field("c=IN IP", 1).parse().unwrap(), field("m=audio ", 0).parse().unwrap())
}

/// The smallest RTP packet: version 2, payload type 0.
pub(crate) fn rtp(sequence: u8) -> Vec<u8> {
    [&[0x80, 0, 0, sequence, 0, 0, 0, 0, 1, 2, 3, 4][..], b"payload"].concat()
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1_500];
    let (length, from) = loop {
        match socket.recv_from(&mut buffer) {
            // A read with a timeout is not restarted after a signal, such as that of a child that ends.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    (buffer[..length].to_vec(), from)
}
