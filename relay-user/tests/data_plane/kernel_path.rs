//! What XDP leaves to the network stack is relayed all the same: fragments, options, extension headers, and packets that
//! must leave as fragments.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Instant;

use crate::support::*;
use relay_user::{Event, LegId, LegSpec, LegStatistics, Path, RateLimit, SourcePolicy};
use testbed::{Side, Topology};

/// Larger than any wire here takes at once.
const LARGE: usize = 4096;
/// A family of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ip {
    V4,
    V6,
}
use Ip::{V4, V6};

impl Ip {
    /// The relay's and the terminal's address on a wire.
    fn ends(self, side: Side) -> [IpAddr; 2] {
        match self {
            V4 => [side.relay.into(), side.terminal.into()],
            V6 => [side.relay6.into(), side.terminal6.into()],
        }
    }
}

/// Camera and viewer with a call between them, each over its own version of IP.
struct Call {
    bench: Bench,
    camera: UdpSocket,
    viewer: UdpSocket,
    legs: [LegId; 2],
    to_relay: [SocketAddr; 2],
}

impl Call {
    fn new(camera: Ip, viewer: Ip) -> Self {
        Self::with(camera, viewer, |leg| leg)
    }

    /// `bend` changes the camera's leg.
    fn with(camera: Ip, viewer: Ip, bend: impl FnOnce(LegSpec) -> LegSpec) -> Self {
        let bench = Bench::start();
        let [camera_relay, camera_terminal] = camera.ends(Topology::CAMERA);
        let [viewer_relay, viewer_terminal] = viewer.ends(Topology::VIEWER);
        let to_relay = [SocketAddr::new(camera_relay, CAMERA_LEG), SocketAddr::new(viewer_relay, VIEWER_LEG)];
        let camera_at = SocketAddr::new(camera_terminal, CAMERA_PORT);
        let viewer_at = SocketAddr::new(viewer_terminal, VIEWER_PORT);
        let camera_leg = bend(LegSpec::new(to_relay[0]).remote(camera_at));
        let legs = bench.call(camera_leg, LegSpec::new(to_relay[1]).remote(viewer_at));
        let bind = |namespace: &testbed::Namespace, address| {
            let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let (camera, viewer) =
            (bind(&bench.topology.camera, camera_at), bind(&bench.topology.viewer, viewer_at));
        Self { bench, camera, viewer, legs, to_relay }
    }

    /// The viewer gets what the camera sends, from the relay's own leg.
    fn relays(&self, packet: &[u8]) {
        self.camera.send_to(packet, self.to_relay[0]).unwrap();
        let (arrived, from) = receive(&self.viewer);
        assert_eq!((arrived.len(), from), (packet.len(), self.to_relay[1]));
        assert!(arrived == packet, "the payload is untouched");
    }

    fn statistics(&self, wanted: impl Fn(&LegStatistics) -> bool) -> LegStatistics {
        self.bench.statistics_when(self.legs[0], wanted)
    }
}

/// An RTP packet of so many bytes.
fn large(sequence: u16, bytes: usize) -> Vec<u8> {
    let mut packet = rtp(sequence, 7);
    packet.extend((packet.len()..bytes).map(|at| u8::try_from(at % 251).unwrap()));
    packet
}

fn set_option(socket: &UdpSocket, level: i32, name: i32, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap();
    // SAFETY: the value outlives the call, and the length is its own.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_datagram_in_fragments_arrives_whole() {
    for (camera, viewer) in [(V4, V4), (V6, V6), (V4, V6), (V6, V4)] {
        let call = Call::new(camera, viewer);
        call.relays(&large(1, LARGE));
        call.relays(&large(2, 60_000));
        let statistics = call.statistics(|leg| leg.paths.user == 2);
        assert_eq!((statistics.received, statistics.forwarded), (2, 2), "{camera:?} {viewer:?}");
        assert_eq!(statistics.path, Path::User);
        assert!(statistics.dropped.is_empty(), "{statistics:?}");
    }
}

#[test]
fn both_paths_carry_one_leg() {
    let call = Call::new(V4, V4);
    for sequence in 0..20_u16 {
        call.relays(&large(sequence, if sequence % 2 == 0 { 200 } else { LARGE }));
    }
    let statistics = call.statistics(|leg| leg.forwarded == 20);
    assert_eq!((statistics.paths.xdp, statistics.paths.user), (10, 10));
}

#[test]
fn answers_in_fragments_go_back() {
    let call = Call::new(V4, V6);
    call.viewer.send_to(&large(1, LARGE), call.to_relay[1]).unwrap();
    assert!(receive(&call.camera).0 == large(1, LARGE));
}

#[test]
fn packets_with_options_are_relayed() {
    let call = Call::new(V4, V4);
    // Three no-operations and an end (RFC 791 section 3.1).
    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_OPTIONS, &[1, 1, 1, 0]);
    call.relays(&large(1, 200));
    call.statistics(|leg| leg.paths.user == 1);
    let counters = call.bench.relay.counters();
    assert!(counters.iter().any(|(name, count)| *name == "ip_options" && *count == 1), "{counters:?}");
}

#[test]
fn packets_with_extension_headers_are_relayed() {
    let call = Call::new(V6, V6);
    // Eight bytes of padding (RFC 8200 section 4.2): next header and length are the kernel's.
    set_option(&call.camera, libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, &[0, 0, 1, 4, 0, 0, 0, 0]);
    call.relays(&large(1, 200));
    call.statistics(|leg| leg.paths.user == 1);
}

#[test]
fn packets_larger_than_the_egress_takes_leave_as_fragments() {
    let call = Call::new(V4, V4);
    let relay = &call.bench.topology.relay;
    // May be fragmented on the way.
    let never = i32::to_ne_bytes(libc::IP_PMTUDISC_DONT);
    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &never);
    relay.ip(&["link", "set", Topology::VIEWER.device, "mtu", "1000"]).unwrap();
    // The change arrives over netlink; until then the device refuses what XDP sends it.
    wait_until("what is larger than the device takes is left to the network stack", || {
        call.camera.send_to(&large(1, 1300), call.to_relay[0]).unwrap();
        call.bench.relay.statistics(call.legs[0]).unwrap().paths.user > 0
    });
    call.camera.send_to(&large(2, 1300), call.to_relay[0]).unwrap();
    let expected = (large(2, 1300), call.to_relay[1]);
    // Behind those that were on their way.
    while receive(&call.viewer) != expected {}
}

#[test]
fn a_packet_that_grows_beyond_the_egress_leaves_as_fragments() {
    // An IPv6 header is 20 bytes longer.
    let call = Call::new(V4, V6);
    let never = i32::to_ne_bytes(libc::IP_PMTUDISC_DONT);
    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &never);
    call.relays(&large(1, 1500 - 28));
    call.statistics(|leg| leg.paths.user == 1);
}

#[test]
fn a_packet_without_a_checksum_gets_one_for_ipv6() {
    let call = Call::new(V4, V6);
    set_option(&call.camera, libc::SOL_SOCKET, libc::SO_NO_CHECK, &i32::to_ne_bytes(1));
    call.relays(&large(1, 200));
    call.statistics(|leg| leg.paths.user == 1);
}

#[test]
fn traffic_class_and_hops_are_those_of_a_router() {
    let call = Call::new(V4, V4);
    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_TOS, &i32::to_ne_bytes(0xb8));
    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_TTL, &i32::to_ne_bytes(9));
    let capture = Capture::of(&call.bench.topology.viewer);
    call.relays(&large(1, LARGE));
    let fragments = capture.ipv4_headers();
    assert!(fragments.len() >= 3, "{fragments:?}");
    assert!(fragments.iter().all(|header| (header[1], header[8]) == (0xb8, 8)), "{fragments:?}");

    set_option(&call.camera, libc::IPPROTO_IP, libc::IP_TTL, &i32::to_ne_bytes(1));
    call.camera.send_to(&large(2, LARGE), call.to_relay[0]).unwrap();
    let statistics = call.statistics(|leg| leg.received == 2);
    assert_eq!(statistics.dropped, [("ttl_expired", 1)]);
}

#[test]
fn the_source_policy_holds_and_learns() {
    let call = Call::with(V4, V4, |leg| leg.source(SourcePolicy::Learn));
    let mut events = call.bench.relay.subscribe();
    // The first packet of the leg comes in fragments, and is learned from.
    call.relays(&large(1, LARGE));
    let intruder = call.bench.camera_socket(CAMERA_PORT + 1);
    intruder.send_to(&large(2, LARGE), call.to_relay[0]).unwrap();
    assert_silent(&call.viewer);
    let statistics = call.statistics(|leg| leg.received == 2);
    assert_eq!(statistics.dropped, [("source_mismatch", 1)]);
    assert_eq!(statistics.source, call.camera.local_addr().ok());
    let mut next = || call.bench.next(&mut events);
    let leg = call.legs[0];
    assert_eq!(next(), Event::SourceLearned { leg, source: call.camera.local_addr().unwrap() });
    assert_eq!(next(), Event::SourceRefused { leg, source: intruder.local_addr().unwrap() });
    // What was learned here holds in XDP, too.
    intruder.send_to(&large(3, 200), call.to_relay[0]).unwrap();
    call.relays(&large(4, 200));
}

#[test]
fn quality_is_measured_over_both_paths() {
    let call = Call::with(V4, V4, |leg| leg.quality(true));
    for sequence in (0..30_u16).filter(|sequence| *sequence != 11) {
        call.relays(&large(sequence, if sequence % 3 == 0 { LARGE } else { 200 }));
    }
    let quality = call.statistics(|leg| leg.forwarded == 29).quality.unwrap();
    assert_eq!((quality.packets, quality.expected, quality.lost), (29, 30, 1), "{quality:?}");
}

#[test]
fn limits_hold() {
    let limit = RateLimit::packets(10);
    let call = Call::with(V4, V4, |leg| leg.limit(limit));
    let start = Instant::now();
    for sequence in 1..=100 {
        call.camera.send_to(&large(sequence, LARGE), call.to_relay[0]).unwrap();
        // Not more at a time than a wire and a socket have room for.
        call.statistics(|leg| leg.received == u64::from(sequence));
    }
    let statistics = call.statistics(|leg| leg.received == 100);
    // A burst of a second's worth, and ten in each second since.
    let most = 12 + 10 * start.elapsed().as_millis() / 1000;
    assert!((10..=most).contains(&u128::from(statistics.forwarded)), "{statistics:?} {most}");
    assert_eq!(statistics.dropped, [("rate_exceeded", 100 - statistics.forwarded)]);
}

#[test]
fn datagrams_for_nobody_are_the_network_stacks() {
    let call = Call::new(V4, V4);
    let address = (Topology::CAMERA.relay, 5060);
    let signalling = call.bench.topology.relay.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    signalling.set_read_timeout(Some(PATIENCE)).unwrap();
    call.camera.send_to(&large(1, LARGE), address).unwrap();
    assert!(receive(&signalling).0 == large(1, LARGE));
    assert_eq!(call.bench.relay.statistics(call.legs[0]).unwrap().received, 0);
}

#[test]
fn programs_on_the_relays_own_machine_are_no_sources() {
    let call = Call::with(V4, V4, |leg| leg.source(SourcePolicy::Learn));
    for (address, reason) in [("127.0.0.1:0", "martian"), ("10.78.1.1:0", "looped")] {
        let own = call.bench.topology.relay.run(|| UdpSocket::bind(address).unwrap()).unwrap();
        own.send_to(&large(2, 200), call.to_relay[0]).unwrap();
        assert_silent(&call.viewer);
        call.statistics(|leg| leg.dropped.contains(&(reason, 1)));
    }
    call.relays(&large(1, 200));
}

#[test]
fn nothing_is_steered_after_the_relay_has_gone() {
    let Call { bench, camera, viewer, to_relay, .. } = Call::new(V4, V4);
    let Bench { relay, runtime, topology } = bench;
    drop((relay, runtime));
    let socket = topology.relay.run(|| UdpSocket::bind(to_relay[0]).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    camera.send_to(&large(1, LARGE), to_relay[0]).unwrap();
    assert!(receive(&socket).0 == large(1, LARGE), "the port is the machine's again");
    assert_silent(&viewer);
}

/// What arrives at a terminal's device.
pub(crate) struct Capture(std::os::fd::OwnedFd);

impl Capture {
    pub(crate) fn of(namespace: &testbed::Namespace) -> Self {
        let open = || {
            let everything = i32::from(u16::try_from(libc::ETH_P_IP).unwrap().to_be());
            // SAFETY: makes a descriptor that nobody else has.
            let socket =
                unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, everything) };
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            // SAFETY: the descriptor was just made.
            unsafe { std::os::fd::FromRawFd::from_raw_fd(socket) }
        };
        Self(namespace.run(open).unwrap())
    }

    /// The IPv4 headers of what arrived until now.
    pub(crate) fn ipv4_headers(&self) -> Vec<[u8; 20]> {
        self.packets().iter().map(|packet| *packet.first_chunk().unwrap()).collect()
    }

    /// Ports, source and destination, and payload of the datagrams that arrived until now.
    pub(crate) fn datagrams(&self) -> Vec<([u16; 2], Vec<u8>)> {
        // Without options and fragments.
        let udp = self.packets().into_iter().filter(|packet| (packet[0], packet[9]) == (0x45, 17));
        let datagram = |packet: Vec<u8>| {
            let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            ([word(20), word(22)], packet[28..20 + usize::from(word(24))].to_vec())
        };
        udp.filter(|packet| packet.len() >= 28).map(datagram).collect()
    }

    fn packets(&self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut packet = [0_u8; 2048];
        loop {
            // SAFETY: writes at most as many bytes as the buffer has.
            let length =
                unsafe { libc::recv(self.0.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), 0) };
            let Some(packet) = usize::try_from(length).ok().and_then(|length| packet.get(..length)) else {
                return packets;
            };
            packets.push(packet.to_vec());
        }
    }
}
