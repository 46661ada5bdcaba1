//! Packet in, packet out: what the program does with one frame (BPF_PROG_TEST_RUN), for every verdict and reason.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use crate::support::*;
use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, PacketBuilder, TransportHeader, UdpHeader,
};
use relay_user::{LegSpec, MediaKind, PayloadTypes, Plan, SourcePolicy, StreamSpec, Trial};
use testbed::Topology;

/// `enum xdp_action` of linux/bpf.h.
const DROP: u32 = 1;
const PASS: u32 = 2;
const TRANSMIT: u32 = 3;
const REDIRECT: u32 = 4;

const ETHERNET: usize = 14;
const TTL: u8 = 64;
const SSRC: u32 = 0x1122_3344;

/// A frame as the camera would send it, to be bent by a test.
#[derive(Clone)]
struct Frame {
    ip: Ipv4Header,
    udp: UdpHeader,
    payload: Vec<u8>,
}

impl Frame {
    fn new() -> Self {
        Self::between(Topology::CAMERA.terminal, CAMERA_PORT, Topology::CAMERA.relay, CAMERA_LEG)
    }

    fn between(source: Ipv4Addr, source_port: u16, destination: Ipv4Addr, destination_port: u16) -> Self {
        let payload = rtp(1, SSRC);
        let length = u16::try_from(UdpHeader::LEN + payload.len()).unwrap();
        let mut ip =
            Ipv4Header::new(length, TTL, IpNumber::UDP, source.octets(), destination.octets()).unwrap();
        ip.dont_fragment = false;
        let udp = UdpHeader { source_port, destination_port, length, checksum: 0 };
        Self { ip, udp, payload }
    }

    fn source_port(mut self, port: u16) -> Self {
        self.udp.source_port = port;
        self
    }

    fn ip(mut self, bend: impl FnOnce(&mut Ipv4Header)) -> Self {
        bend(&mut self.ip);
        self
    }

    fn payload(mut self, payload: Vec<u8>) -> Self {
        self.udp.length = u16::try_from(UdpHeader::LEN + payload.len()).unwrap();
        self.ip.set_payload_len(usize::from(self.udp.length)).unwrap();
        self.payload = payload;
        self
    }

    /// The frame with these MAC addresses and right checksums.
    fn bytes_between(&self, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        let mut udp = self.udp.clone();
        udp.checksum = udp.calc_checksum_ipv4(&self.ip, &self.payload).unwrap();
        self.raw(destination, source, &udp)
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes_between([2; 6], [4; 6])
    }

    /// The frame without a UDP checksum.
    fn bytes_without_checksum(&self, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        self.raw(destination, source, &self.udp)
    }

    fn raw(&self, destination: [u8; 6], source: [u8; 6], udp: &UdpHeader) -> Vec<u8> {
        let mut bytes = [destination, source].concat();
        bytes.extend([0x08, 0x00]);
        self.ip.write(&mut bytes).unwrap();
        udp.write(&mut bytes).unwrap();
        bytes.extend(&self.payload);
        bytes
    }
}

impl Bench {
    fn try_bytes(&self, frame: &[u8]) -> Trial {
        self.relay.try_frame(frame, 1).unwrap()
    }

    /// Asserts that the frame goes to the kernel untouched, for this reason.
    fn assert_passes(&self, frame: &[u8], reason: &str) {
        let before = self.counted(reason);
        let trial = self.try_bytes(frame);
        assert_eq!((trial.action, trial.frame.as_slice()), (PASS, frame), "{reason}");
        assert!(self.counted(reason) > before, "{reason} is not counted: {:?}", self.relay.counters());
    }

    /// Asserts that the frame is dropped and counted for exactly this reason.
    fn assert_drops(&self, frame: &[u8], reason: &str) {
        let before = self.counted(reason);
        let trial = self.try_bytes(frame);
        assert_eq!(trial.action, DROP, "{reason}: {:?}", self.relay.counters());
        assert_eq!(self.counted(reason), before + 1, "{reason}: {:?}", self.relay.counters());
    }

    fn counted(&self, name: &str) -> u64 {
        self.relay.counters().iter().find(|(found, _)| *found == name).map_or(0, |(_, count)| *count)
    }

    /// MAC addresses of the wire to the viewer: the viewer's, the relay's.
    fn viewer_macs(&self) -> ([u8; 6], [u8; 6]) {
        let mac = |namespace: &testbed::Namespace, device: &str| {
            let path = format!("/sys/class/net/{device}/address");
            let output = namespace.command("cat").arg(path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let bytes: Vec<u8> =
                text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            <[u8; 6]>::try_from(bytes).unwrap()
        };
        let viewer = mac(&self.topology.viewer, Topology::TERMINAL_DEVICE);
        (viewer, mac(&self.topology.relay, Topology::VIEWER.device))
    }

    /// Installs legs at the camera's side that stand alone or lead to the viewer.
    fn install(&self, legs: Vec<LegSpec>, streams: &[(usize, usize)]) {
        let streams =
            streams.iter().map(|(ingress, egress)| StreamSpec { ingress: *ingress, egress: *egress });
        let plan = Plan { legs, streams: streams.collect() };
        self.runtime.block_on(self.relay.install(&plan)).unwrap();
    }
}

fn pinned_call() -> Bench {
    let bench = Bench::start();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    bench
}

#[test]
fn a_forwarded_frame_is_rewritten_to_the_last_bit() {
    let bench = pinned_call();
    let (viewer, relay) = bench.viewer_macs();
    let expected = |original: &Frame| {
        let out = Frame::between(Topology::VIEWER.relay, VIEWER_LEG, Topology::VIEWER.terminal, VIEWER_PORT);
        let mut out = out.payload(original.payload.clone()).ip(|ip| {
            ip.time_to_live = original.ip.time_to_live - 1;
            ip.dont_fragment = original.ip.dont_fragment;
            ip.identification = original.ip.identification;
            ip.dscp = original.ip.dscp;
        });
        out.ip.header_checksum = out.ip.calc_header_checksum();
        out
    };
    let variants = [
        Frame::new(),
        Frame::new().payload(vec![]),
        Frame::new().payload(vec![0xff; 3]),
        Frame::new().payload(vec![7; 1458]),
        Frame::new().ip(|ip| ip.dont_fragment = true),
        Frame::new().ip(|ip| ip.identification = 0xffff),
        Frame::new().ip(|ip| ip.dscp = 46.try_into().unwrap()),
        Frame::new().ip(|ip| ip.time_to_live = 255),
        Frame::new().ip(|ip| ip.time_to_live = 2),
    ];
    for frame in variants {
        let frame = frame.ip(|ip| ip.header_checksum = ip.calc_header_checksum());
        let trial = bench.try_bytes(&frame.bytes());
        assert_eq!(trial.action, REDIRECT);
        assert_eq!(trial.frame, expected(&frame).bytes_between(viewer, relay));
        // Without a UDP checksum there is none afterwards.
        let trial = bench.try_bytes(&frame.bytes_without_checksum([2; 6], [4; 6]));
        assert_eq!(trial.frame, expected(&frame).bytes_without_checksum(viewer, relay));
    }
}

#[test]
fn padding_of_short_frames_is_kept() {
    let bench = pinned_call();
    let mut frame = Frame::new().payload(vec![1; 4]).bytes();
    frame.resize(60, 0);
    let trial = bench.try_bytes(&frame);
    assert_eq!((trial.action, trial.frame.len()), (REDIRECT, 60));
}

#[test]
fn whatever_is_no_plain_udp_over_ipv4_goes_to_the_kernel() {
    let bench = pinned_call();
    let plain = Frame::new();
    let bent = |bend: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.bytes();
        bend(&mut bytes);
        bytes
    };

    bench.assert_passes(&bent(&|bytes| bytes[12..14].copy_from_slice(&[0x08, 0x06])), "not_ip");
    bench.assert_passes(&bent(&|bytes| bytes[12..14].copy_from_slice(&[0x86, 0xdd])), "not_ip");
    bench.assert_passes(&bent(&|bytes| bytes[12..14].copy_from_slice(&[0x81, 0x00])), "not_ip");
    bench.assert_passes(&bent(&|bytes| bytes[ETHERNET] = 0x65), "not_ip");
    let options = Frame::new().ip(|ip| ip.options = Ipv4Options::try_from(&[1_u8, 1, 1, 0][..]).unwrap());
    bench.assert_passes(&options.bytes(), "ip_options");
    bench.assert_passes(&Frame::new().ip(|ip| ip.more_fragments = true).bytes(), "fragment");
    let last = Frame::new().ip(|ip| ip.fragment_offset = IpFragOffset::try_new(100).unwrap());
    bench.assert_passes(&last.bytes(), "fragment");
    for protocol in [1, 6, 47, 132] {
        bench.assert_passes(&bent(&|bytes| bytes[ETHERNET + 9] = protocol), "not_udp");
    }
}

#[test]
fn udp_that_no_leg_wants_goes_to_the_kernel() {
    let bench = pinned_call();
    let (camera, relay) = (Topology::CAMERA.terminal, Topology::CAMERA.relay);
    for port in [0, 1, 5060, CAMERA_LEG - 1, CAMERA_LEG + 1, VIEWER_LEG, u16::MAX] {
        bench.assert_passes(&Frame::between(camera, CAMERA_PORT, relay, port).bytes(), "no_leg");
    }
    // The leg's port, at another of our addresses.
    let elsewhere = Frame::between(camera, CAMERA_PORT, Topology::VIEWER.relay, CAMERA_LEG);
    bench.assert_passes(&elsewhere.bytes(), "no_leg");
}

#[test]
fn a_frame_that_ends_early_is_never_forwarded() {
    let bench = pinned_call();
    let whole = Frame::new().bytes();
    // The kernel runs no program on less than an Ethernet header.
    for length in ETHERNET..whole.len() {
        let frame = &whole[..length];
        if length < ETHERNET + 28 {
            bench.assert_passes(frame, "too_short");
        } else {
            bench.assert_drops(frame, "length_mismatch");
        }
    }
    assert_eq!(bench.try_bytes(&whole).action, REDIRECT);
}

#[test]
fn lengths_that_contradict_each_other_are_dropped() {
    let bench = pinned_call();
    let with = |offset: usize, value: u16| {
        let mut bytes = Frame::new().bytes();
        bytes[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    let (ip_length, udp_length) = (ETHERNET + 2, ETHERNET + 24);
    for value in [0, 19, 27, 28, 199, 201, u16::MAX] {
        bench.assert_drops(&with(ip_length, value), "length_mismatch");
    }
    for value in [0, 7, 181, u16::MAX] {
        bench.assert_drops(&with(udp_length, value), "length_mismatch");
    }
    // RFC 768 lets the IP packet be longer than its datagram.
    assert_eq!(bench.try_bytes(&with(udp_length, 179)).action, REDIRECT);
}

#[test]
fn packets_that_have_gone_too_far_are_dropped() {
    let bench = pinned_call();
    for hops in [0, 1] {
        bench.assert_drops(&Frame::new().ip(|ip| ip.time_to_live = hops).bytes(), "ttl_expired");
    }
}

#[test]
fn a_pinned_leg_admits_its_source_alone() {
    let bench = pinned_call();
    assert_eq!(bench.try_bytes(&Frame::new().bytes()).action, REDIRECT);
    bench.assert_drops(&Frame::new().source_port(CAMERA_PORT + 1).bytes(), "source_mismatch");
    bench.assert_drops(&Frame::new().ip(|ip| ip.source = [10, 78, 1, 3]).bytes(), "source_mismatch");
}

#[test]
fn a_leg_that_learns_its_port_admits_the_told_address_alone() {
    let bench = Bench::start();
    bench.call(camera_leg(SourcePolicy::LearnPort), viewer_leg(SourcePolicy::Learn));
    bench.assert_drops(&Frame::new().ip(|ip| ip.source = [10, 78, 1, 3]).bytes(), "source_mismatch");
    assert_eq!(bench.try_bytes(&Frame::new().source_port(40000).bytes()).action, REDIRECT);
    bench.assert_drops(&Frame::new().bytes(), "source_mismatch");
    assert_eq!(bench.try_bytes(&Frame::new().source_port(40000).bytes()).action, REDIRECT);
}

#[test]
fn a_learning_leg_admits_what_looks_right() {
    let told = LegSpec {
        ssrc: Some(SSRC),
        payload_types: PayloadTypes::ANY.with(96),
        ..camera_leg(SourcePolicy::Learn)
    };
    let bench = Bench::start();
    bench.call(told, viewer_leg(SourcePolicy::Learn));
    let packet = |bend: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = rtp(1, SSRC);
        bend(&mut payload);
        Frame::new().payload(payload).bytes()
    };

    bench.assert_drops(&packet(&|rtp| rtp.truncate(11)), "not_media");
    bench.assert_drops(&packet(&Vec::clear), "not_media");
    bench.assert_drops(&packet(&|rtp| rtp[0] = 0x40), "not_media");
    // STUN (RFC 8489) starts with two zero bits.
    bench.assert_drops(&packet(&|rtp| rtp[0] = 0), "not_media");
    // RTCP on an RTP leg.
    bench.assert_drops(&packet(&|rtp| rtp[1] = 200), "not_media");
    bench.assert_drops(&packet(&|rtp| rtp[1] = 97), "unexpected_payload_type");
    bench.assert_drops(&packet(&|rtp| rtp[11] ^= 1), "unexpected_ssrc");
    assert_eq!(bench.try_bytes(&packet(&|rtp| rtp[1] |= 0x80)).action, REDIRECT, "with the marker bit");
    // Once learned, the source is all that counts: telephone events and keep-alives go through.
    assert_eq!(bench.try_bytes(&packet(&|rtp| rtp[1] = 101)).action, REDIRECT);
    assert_eq!(bench.try_bytes(&packet(&Vec::clear)).action, REDIRECT);
}

#[test]
fn an_rtcp_leg_learns_from_rtcp_and_a_muxed_leg_from_both() {
    for (media, second, learned) in [
        (MediaKind::Rtcp, 200, true),
        (MediaKind::Rtcp, 96, false),
        (MediaKind::Rtp, 96, true),
        (MediaKind::Muxed, 96, true),
        (MediaKind::Muxed, 201, true),
    ] {
        let bench = Bench::start();
        bench.call(LegSpec { media, ..camera_leg(SourcePolicy::Learn) }, viewer_leg(SourcePolicy::Learn));
        let mut payload = rtp(1, SSRC);
        payload[1] = second;
        let frame = Frame::new().payload(payload).bytes();
        if learned {
            assert_eq!(bench.try_bytes(&frame).action, REDIRECT, "{media:?} {second}");
        } else {
            bench.assert_drops(&frame, "not_media");
        }
    }
}

#[test]
fn strangers_whose_neighbour_is_silent_hold_nobody_up() {
    let bench = Bench::start();
    let learning = |port| LegSpec {
        local: SocketAddrV4::new(Topology::CAMERA.relay, port).into(),
        ..camera_leg(SourcePolicy::Learn)
    };
    // Waiting for each would take longer than the test does.
    let strangers = (91..97).zip((31000..).step_by(2));
    let honest = (2, 31020);
    let installed =
        strangers.clone().chain([honest]).map(|(_, port)| bench.call(learning(port), viewer_leg_at(port))[0]);
    let installed: Vec<_> = installed.collect();
    let from = |host: u8, port| {
        let source = Ipv4Addr::new(10, 78, 1, host);
        Frame::between(source, CAMERA_PORT + 50, Topology::CAMERA.relay, port).bytes()
    };

    for (host, port) in strangers.chain([honest]) {
        assert_eq!(bench.try_bytes(&from(host, port)).action, REDIRECT);
    }

    let learned = SocketAddrV4::new(Topology::CAMERA.terminal, CAMERA_PORT + 50);
    bench.statistics_when(installed[6], |leg| leg.remote == Some(learned.into()));
}

#[test]
fn a_leg_that_leads_nowhere_says_why() {
    let bench = Bench::start();
    bench.install(vec![camera_leg(SourcePolicy::Pinned)], &[]);
    bench.assert_drops(&Frame::new().bytes(), "no_stream");

    let bench = Bench::start();
    let silent = LegSpec { remote: None, ..viewer_leg(SourcePolicy::Learn) };
    bench.install(vec![camera_leg(SourcePolicy::Pinned), silent], &[(0, 1)]);
    bench.assert_drops(&Frame::new().bytes(), "remote_unknown");

    let bench = Bench::start();
    let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 78, 2, 99), VIEWER_PORT);
    let absent = LegSpec { remote: Some(nobody.into()), ..viewer_leg(SourcePolicy::Learn) };
    bench.install(vec![camera_leg(SourcePolicy::Pinned), absent], &[(0, 1)]);
    bench.assert_drops(&Frame::new().bytes(), "next_hop_unresolved");
}

#[test]
fn packets_larger_than_the_next_device_takes_are_dropped() {
    let bench = pinned_call();
    let mut large = Frame::new().payload(vec![0x80; 1200]).bytes();
    assert_eq!(bench.try_bytes(&large).action, REDIRECT);
    bench.topology.relay.ip(&["link", "set", Topology::VIEWER.device, "mtu", "1227"]).unwrap();
    // The change arrives over netlink.
    wait_until("the device is known to be smaller", || bench.try_bytes(&large).action != REDIRECT);
    assert_eq!(bench.try_bytes(&large).action, PASS, "the kernel path may fragment it");
    let before = bench.counted("needs_fragments");
    bench.try_bytes(&large);
    assert_eq!(bench.counted("needs_fragments"), before + 1);
    // Don't fragment: the flag is in the header's checksum too.
    large[20] |= 0x40;
    large[24] = large[24].wrapping_sub(0x40);
    // Its sender is told why, once a second; on a busy machine more than that may pass before the next packet.
    wait_until("an answer, and within the same second none", || {
        let dropped = bench.counted("too_big");
        let start = Instant::now();
        let (first, second) = (bench.try_bytes(&large), bench.try_bytes(&large));
        let took = start.elapsed();
        assert_eq!(bench.counted("too_big"), dropped + 2, "an answer counts as a drop");
        if first.action == TRANSMIT {
            assert_eq!(first.frame[34..42], [3, 4, first.frame[36], first.frame[37], 0, 0, 0x04, 0xcb]);
        }
        assert!(took > Duration::from_millis(950) || (first.action, second.action) != (TRANSMIT, TRANSMIT));
        (first.action, second.action) == (TRANSMIT, DROP)
    });
    assert_eq!(bench.try_bytes(&Frame::new().payload(vec![0x80; 1199]).bytes()).action, REDIRECT);
}

#[test]
fn a_removed_device_is_no_way_out() {
    let bench = pinned_call();
    bench.topology.relay.ip(&["link", "delete", Topology::VIEWER.device]).unwrap();
    wait_until("the device is known to be gone", || {
        assert_eq!(bench.try_bytes(&Frame::new().bytes()).action, DROP);
        bench.counted("no_route") > 0
    });
    bench.assert_drops(&Frame::new().bytes(), "no_route");
}

#[test]
fn a_device_that_went_a_moment_ago_is_no_way_out() {
    let bench = Bench::unattended();
    bench.call(camera_leg(SourcePolicy::Pinned), viewer_leg(SourcePolicy::Pinned));
    assert_eq!(bench.try_bytes(&Frame::new().bytes()).action, REDIRECT);
    bench.topology.relay.ip(&["link", "delete", Topology::VIEWER.device]).unwrap();
    bench.assert_drops(&Frame::new().bytes(), "no_device");
}

#[test]
fn legs_of_one_bucket_are_told_apart() {
    let bench = pinned_call();
    // The bucket mixes port and address: these two addresses with these two ports share one.
    let (first, second) = (Ipv4Addr::new(10, 78, 1, 10), Ipv4Addr::new(10, 78, 1, 11));
    let leg = |address, port| LegSpec {
        local: SocketAddrV4::new(address, port).into(),
        ..camera_leg(SourcePolicy::Pinned)
    };
    bench.install(
        vec![leg(first, 41000), leg(second, 41001), viewer_leg_at(VIEWER_LEG + 2)],
        &[(0, 2), (1, 2)],
    );
    for (address, port) in [(first, 41000), (second, 41001)] {
        let frame = Frame::between(Topology::CAMERA.terminal, CAMERA_PORT, address, port);
        assert_eq!(bench.try_bytes(&frame.bytes()).action, REDIRECT, "{address}:{port}");
    }
    let neither = Frame::between(Topology::CAMERA.terminal, CAMERA_PORT, first, 41001);
    bench.assert_passes(&neither.bytes(), "no_leg");
}

fn viewer_leg_at(port: u16) -> LegSpec {
    LegSpec {
        local: SocketAddrV4::new(Topology::VIEWER.relay, port).into(),
        ..viewer_leg(SourcePolicy::Pinned)
    }
}

#[test]
fn the_frames_of_these_tests_are_what_another_library_says() {
    let frame = Frame::new().bytes();
    let parsed = etherparse::PacketHeaders::from_ethernet_slice(&frame).unwrap();
    let Some(TransportHeader::Udp(udp)) = parsed.transport else { panic!("no UDP: {parsed:?}") };
    assert_eq!((udp.source_port, udp.destination_port), (CAMERA_PORT, CAMERA_LEG));
    let builder = PacketBuilder::ethernet2([4; 6], [2; 6])
        .ip(etherparse::IpHeaders::Ipv4(Frame::new().ip, Default::default()))
        .udp(CAMERA_PORT, CAMERA_LEG);
    let mut built = Vec::new();
    builder.write(&mut built, &rtp(1, SSRC)).unwrap();
    assert_eq!(built, frame);
}
