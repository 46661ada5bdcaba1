//! What belongs to an engine that makes copies, or not to all of them: tags, what devices do not take, and what is refused.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use relay_user::{
    Continuity, FanOutChoice, FanOutError, InstallError, LegId, LegSpec, ModeChoice, Options, Path,
    RetagSpec, SourcePolicy, Tag, Tags,
};
use testbed::{Frames, Topology};

use crate::engines::*;
use crate::support::*;

with_every_program! {
    each_receiver_has_its_own_tags,
    what_is_too_big_for_a_device_is_counted_for_each_receiver,
    what_a_ring_refuses_is_counted_for_each_receiver,
    a_packet_without_checksum_gets_one_over_ipv6_from_user_space_alone,
    what_comes_in_fragments_is_not_copied_and_says_so,
}

fn each_receiver_has_its_own_tags(engine: Engine) {
    let group = Group::start(engine, 64);
    let frames = Frames::on(&group.bench.topology.viewer, Topology::TERMINAL_DEVICE).unwrap();
    group.join(&[
        receiver(0).vlan(Tags::one(Tag::vlan(7))),
        receiver(1),
        receiver(2).vlan(Tags::one(Tag::vlan(9))).retag(RetagSpec::default().dscp(10)),
    ]);
    group.send(1);
    assert_eq!(headers_of(&frames, 3), [(FIRST, 7, 0), (FIRST + 1, 0, 0), (FIRST + 2, 9, 10)]);
}

#[test]
fn what_arrives_together_goes_to_each_receiver_together_and_whole() {
    // More than are copied at a time.
    const AT_ONCE: u16 = 60;
    const BURSTS: u16 = 6;
    let group = Group::start(Engine::User, 64);
    let sockets = group.sockets(3);
    let legs = group.join(&[
        receiver(0).retag(RetagSpec::default().ssrc(9)),
        receiver(1),
        receiver(2)
            .retag(RetagSpec::default().continuity(Continuity::Offset { sequence: 500, timestamp: 0 })),
    ]);
    // The kernel makes packets of this size of what the camera sends.
    let size = i32::try_from(rtp(0, 7).len()).unwrap();
    set(&group.camera, libc::SOL_UDP, libc::UDP_SEGMENT, size);
    sockets.iter().for_each(|socket| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20));
    for burst in 0..BURSTS {
        let packets = (burst * AT_ONCE..(burst + 1) * AT_ONCE).flat_map(|sequence| rtp(sequence, 7));
        group.camera.send_to(&packets.collect::<Vec<_>>(), to_relay_from_camera()).unwrap();
    }
    for sequence in 0..AT_ONCE * BURSTS {
        let [first, second, third] = [0, 1, 2].map(|at: usize| receive(&sockets[at]).0);
        assert_eq!((first, second), (rtp(sequence, 9), rtp(sequence, 7)));
        assert_eq!(sequence_of(&third), sequence + 500);
        assert_eq!(third[4..], rtp(sequence, 7)[4..]);
    }
    for leg in legs {
        let counted = group.bench.statistics_when(leg, |counted| counted.sent == u64::from(AT_ONCE * BURSTS));
        // With the headers of Ethernet, IPv4 and UDP, as the packets came.
        assert_eq!(counted.sent_bytes, counted.sent * (14 + 20 + 8 + rtp(0, 7).len() as u64));
    }
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    let file = socket.as_raw_fd();
    // SAFETY: the kernel reads an integer that outlives the call.
    let result = unsafe { libc::setsockopt(file, level, name, (&raw const value).cast(), 4) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn what_is_too_big_for_a_device_is_counted_for_each_receiver(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(20);
    let legs = group.join(&(0..20).map(receiver).collect::<Vec<_>>());
    group.bench.topology.relay.ip(&["link", "set", Topology::VIEWER.device, "mtu", "300"]).unwrap();
    let mut large = rtp(1, 7);
    large.resize(400, 0);
    // Until the relay has heard of the new MTU, XDP makes no copies of such packets, and AF_XDP sends them.
    let deadline = Instant::now() + Duration::from_secs(10);
    let too_big = |leg: &LegId| group.bench.relay.statistics(*leg).unwrap().lost.contains(&("too_big", 1));
    while !too_big(&legs[0]) {
        assert!(Instant::now() < deadline);
        group.camera.send_to(&large, to_relay_from_camera()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    for leg in &legs {
        group
            .bench
            .statistics_when(*leg, |counted| counted.lost.iter().any(|(reason, _)| *reason == "too_big"));
    }
    group.send(9);
    sockets.iter().for_each(|socket| while receive(socket).0 != rtp(9, 7) {});
}

fn what_a_ring_refuses_is_counted_for_each_receiver(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(20);
    let legs = group.join(&(0..20).map(receiver).collect::<Vec<_>>());
    group.send(0);
    sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(0, 7)));
    // While the only thread of the runtime is busy, nobody tells the relay that the far end is down.
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    group.bench.runtime.spawn(async move {
        held.send(()).unwrap();
        let _ = released.recv();
    });
    is_held.recv().unwrap();
    group.bench.topology.viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "down"]).unwrap();
    for sequence in 1..9 {
        group.send(sequence);
    }
    for leg in &legs {
        let counted = group.bench.statistics_when(*leg, |counted| counted.lost == [("refused", 8)]);
        assert_eq!(counted.sent, 9);
    }
    if engine == Engine::Xdp {
        let devices = group.bench.relay.device_counters();
        let of_device = devices.iter().find(|device| device.name == Topology::VIEWER.device).unwrap();
        assert_eq!((of_device.refused, of_device.unsent), (160, 0));
    } else {
        let counters = group.bench.relay.punt_path().unwrap().counters;
        assert_eq!((counters.copied, counters.device_refused), (180, 160));
    }
    drop(release);
}

#[test]
fn what_came_out_of_the_queue_makes_room_for_more() {
    // With three blocks, each packet takes three places: more of them than there are.
    const PACKETS: u64 = 6_000;
    let group = Group::start(Engine::Xdp, 64);
    group.join(&(0..40).map(receiver).collect::<Vec<_>>());
    let entered = || group.bench.relay.group(group.source).unwrap().entered;
    for sent in (100..=PACKETS).step_by(100) {
        (0..100).for_each(|sequence| group.send(sequence));
        wait_until("packets are copied", || entered() == sent);
    }
    let source = group.bench.relay.statistics(group.source).unwrap();
    assert_eq!((source.forwarded, source.dropped), (PACKETS, vec![]));
}

#[test]
fn what_is_lost_between_two_blocks_is_counted() {
    let group = Group::start(Engine::Xdp, 64);
    let sockets = group.sockets(20);
    group.join(&(0..20).map(receiver).collect::<Vec<_>>());
    let pair = || group.bench.relay.device_counters().pop().unwrap();
    let far = format!("{}b", pair().name.strip_suffix('a').expect("our name for a near end"));
    assert_eq!(pair().refused, 0);
    group.bench.topology.relay.ip(&["link", "set", &far, "down"]).unwrap();
    for sequence in 0..9 {
        group.send(sequence);
        sockets[..15].iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(sequence, 7)));
    }
    wait_until("nine packets are counted", || pair().refused == 9);
    sockets[15..].iter().for_each(assert_silent);
    assert_eq!(group.bench.relay.group(group.source).unwrap().entered, 9);
}

fn a_packet_without_checksum_gets_one_over_ipv6_from_user_space_alone(engine: Engine) {
    let group = Group::start(engine, 64);
    let side = Topology::VIEWER;
    let over_v6 = LegSpec::new((side.relay6, FIRST).into()).remote((side.terminal6, FIRST).into());
    let legs = group.join(&[over_v6, receiver(1)]);
    let there = socket(&group.bench.topology.viewer, (side.terminal6, FIRST).into());
    let over_v4 = group.bench.viewer_socket(FIRST + 1);
    set(&group.camera, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
    group.send(1);
    assert_eq!(receive(&over_v4).0, rtp(1, 7));
    if engine == Engine::Xdp {
        group.bench.statistics_when(legs[0], |counted| counted.lost == [("no_checksum", 1)]);
    } else {
        assert_eq!(receive(&there).0, rtp(1, 7), "its network stack found the checksum right");
    }
}

fn what_comes_in_fragments_is_not_copied_and_says_so(engine: Engine) {
    let group = Group::start(engine, 64);
    let sockets = group.sockets(2);
    group.join(&[receiver(0), receiver(1)]);
    let mut large = rtp(1, 7);
    large.resize(4_000, 0);
    group.camera.send_to(&large, to_relay_from_camera()).unwrap();
    group.bench.statistics_when(group.source, |counted| counted.dropped == [("no_stream", 1)]);
    group.send(2);
    sockets.iter().for_each(|socket| assert_eq!(receive(socket).0, rtp(2, 7)));
}

/// Why nobody can join on such a relay.
fn refusal(bench: Bench) -> InstallError {
    let group = Group::on(bench, camera_leg(SourcePolicy::Pinned));
    let error =
        group.bench.runtime.block_on(group.bench.relay.join(group.source, &[receiver(0)])).unwrap_err();
    assert_eq!(group.bench.relay.legs().len(), 1, "nothing is left");
    error
}

#[test]
fn in_generic_mode_xdp_makes_no_copies_and_who_asks_for_it_hears_why() {
    let options = Options { fan_out: FanOutChoice::Xdp, ..Engine::AfXdpGeneric.options(64) };
    let error = refusal(Bench::with_options(options));
    assert!(matches!(error, InstallError::FanOut(FanOutError::Generic(_))), "{error}");
}

#[test]
fn who_asks_for_af_xdp_where_there_is_none_hears_why() {
    let error = refusal(Bench::without_af_xdp_as(Engine::AfXdp.options(64)));
    assert!(matches!(error, InstallError::FanOut(FanOutError::NoAfXdp(_))), "{error}");
}

#[test]
fn without_any_engine_nobody_joins_and_the_error_says_what_each_lacks() {
    let error = refusal(Bench::without_af_xdp_as(Engine::AfXdpGeneric.options(64)));
    assert!(matches!(error, InstallError::FanOut(FanOutError::NoEngine { .. })), "{error}");
    let text = error.to_string();
    assert!(text.contains("generic mode") && text.contains("RLIMIT_MEMLOCK"), "{text}");
}

#[test]
fn native_xdp_needs_no_af_xdp() {
    let group = Group::on(Bench::without_af_xdp(ModeChoice::Native), camera_leg(SourcePolicy::Pinned));
    let sockets = group.sockets(1);
    group.join(&[receiver(0)]);
    group.send(1);
    assert_eq!(receive(&sockets[0]).0, rtp(1, 7));
    assert_eq!(group.bench.relay.group(group.source).unwrap().path, Path::Xdp);
}

#[test]
fn a_source_that_user_space_sends_on_has_no_receivers() {
    let group = Group::with(Engine::AfXdp.options(64), camera_leg(SourcePolicy::Pinned).punted(true));
    let error =
        group.bench.runtime.block_on(group.bench.relay.join(group.source, &[receiver(0)])).unwrap_err();
    assert!(matches!(error, InstallError::Unfit { .. }) && error.to_string().contains("`punted`"), "{error}");
}

#[test]
fn what_the_network_stack_refuses_is_counted_for_its_receiver_alone() {
    let group = Group::start(Engine::User, 64);
    let (side, other) = (Topology::VIEWER, Topology::CAMERA);
    let near = LegSpec::new((other.relay, FIRST).into()).remote((other.terminal, FIRST).into());
    let legs = group.join(&[receiver(0), near]);
    let here = socket(&group.bench.topology.camera, (other.terminal, FIRST).into());
    group.send(0);
    assert_eq!(receive(&here).0, rtp(0, 7));
    let counted = group.bench.statistics_when(legs[0], |counted| counted.sent == 1);
    assert_eq!(counted.lost, []);
    group
        .bench
        .topology
        .relay
        .ip(&["route", "add", "unreachable", &format!("{}/32", side.terminal)])
        .unwrap();
    for sequence in 1..9 {
        group.send(sequence);
        assert_eq!(receive(&here).0, rtp(sequence, 7));
    }
    let counted = group.bench.statistics_when(legs[0], |counted| counted.lost == [("no_route", 8)]);
    assert_eq!(counted.sent, 1);
    let counted = group.bench.statistics_when(legs[1], |counted| counted.sent == 9);
    assert_eq!(counted.lost, []);
}

#[test]
fn sockets_write_no_tags_for_a_receiver() {
    let group = Group::start(Engine::User, 64);
    let receivers = [receiver(0), receiver(1).vlan(Tags::one(Tag::vlan(7)))];
    let error = group.bench.runtime.block_on(group.bench.relay.join(group.source, &receivers)).unwrap_err();
    assert!(matches!(error, InstallError::NeedsXdp { .. }), "{error}");
    assert_eq!(group.bench.relay.legs().len(), 1);
}
