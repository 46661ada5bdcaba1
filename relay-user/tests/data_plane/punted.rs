//! Legs whose packets are sent on by user space over AF_XDP: the same behaviour as in the kernel, and exact books.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::support::*;
use relay_user::{LegId, LegSpec, ModeChoice, Path, SourcePolicy};
use testbed::{Namespace, Topology};

/// Tests of media in the kernel, run once more with every leg on the path `af_xdp`.
macro_rules! as_in_the_kernel {
    ($($module:ident::{$($test:ident),+ $(,)?};)+) => {
        $(mod $module {
            $(#[test]
            fn $test() {
                crate::support::all_punted(|| crate::$module::$test(relay_user::ModeChoice::Native));
            })+
        })+
    };
}

as_in_the_kernel! {
    unicast::{the_first_packet_of_a_learning_leg_arrives, media_flows_both_ways_and_is_counted, answers_follow_the_learned_source, another_source_is_dropped_counted_and_reported, a_moved_remote_side_is_followed_and_admitted, a_port_that_is_not_told_yet_is_learned_from_the_told_address_until_it_is, nothing_is_forwarded_after_removal, a_neighbour_that_changes_its_address_is_followed, a_route_that_changes_is_followed};
    families::{media_flows_both_ways_between_all_families, a_source_of_ipv6_is_learned_whole_and_no_other_is_admitted, a_side_may_move_to_another_address_of_its_family_and_to_no_other};
    measured::{loss_order_and_duplicates_are_counted_where_they_happened, a_camera_beyond_its_limit_is_cut_and_others_are_not, an_idle_leg_learns_its_source_anew};
    retag::{every_field_is_changed_as_told_and_the_checksum_follows, the_other_direction_stays_as_it_is, payload_types_without_a_rule_and_the_marker_stay, a_switched_stream_goes_on_without_a_jump};
    loops::{what_two_relays_send_in_circles_ends, what_a_far_end_echoes_comes_back_once};
    taps::{a_tap_sees_both_directions_of_its_leg, packets_beyond_a_limit_are_seen_as_they_arrived};
    shared_port::{sources_on_one_port_are_told_apart_by_ssrc_and_by_source, both_directions_of_a_leg_on_a_shared_port_work, legs_come_and_go_while_others_run_and_strangers_are_reported};
}

#[test]
fn a_punted_leg_forwards_both_ways_and_user_space_counts_it() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let bench = Bench::with_mode(mode);
        assert_eq!(bench.relay.punt_path().unwrap().problem, None);
        bench.call(
            camera_leg(SourcePolicy::Pinned).punted(true),
            viewer_leg(SourcePolicy::Pinned).punted(true),
        );
        let camera = bench.camera_socket(CAMERA_PORT);
        let viewer = bench.viewer_socket(VIEWER_PORT);

        for sequence in 0..100 {
            camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
            let (packet, source) = receive(&viewer);
            assert_eq!((packet, source), (rtp(sequence, 7), to_relay_from_viewer()), "{mode:?}");
        }
        for sequence in 0..50 {
            viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
            assert_eq!(receive(&camera).0, rtp(sequence, 8));
        }
        // What left is counted once it left.
        wait_until("every packet is counted", || {
            let counters = bench.relay.punt_path().unwrap().counters;
            (counters.received, counters.sent) == (150, 150)
        });
    }
}

/// A call of punted legs whose viewer takes no packet of more than 1,300 bytes, and the camera's socket.
fn narrow(mode: ModeChoice, is_v6: bool) -> (Bench, [LegId; 2], UdpSocket, UdpSocket, SocketAddr) {
    let bench = Bench::with_mode(mode);
    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let ends = |side: testbed::Side| -> [IpAddr; 2] {
        if is_v6 {
            [side.relay6.into(), side.terminal6.into()]
        } else {
            [side.relay.into(), side.terminal.into()]
        }
    };
    let ([at, from], [out, to]) = (ends(camera), ends(viewer));
    let leg = |local, port, remote, remote_port| {
        LegSpec::new(SocketAddr::new(local, port)).remote(SocketAddr::new(remote, remote_port)).punted(true)
    };
    let legs = bench.call(leg(at, CAMERA_LEG, from, CAMERA_PORT), leg(out, VIEWER_LEG, to, VIEWER_PORT));
    bench.topology.relay.ip(&["link", "set", viewer.device, "mtu", "1300"]).unwrap();
    bench.topology.viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "mtu", "1300"]).unwrap();
    let camera = socket(&bench.topology.camera, SocketAddr::new(from, CAMERA_PORT));
    let viewer = socket(&bench.topology.viewer, SocketAddr::new(to, VIEWER_PORT));
    (bench, legs, camera, viewer, SocketAddr::new(at, CAMERA_LEG))
}

#[test]
fn a_sender_of_a_punted_leg_learns_the_path_mtu() {
    for (mode, is_v6) in
        [(ModeChoice::Native, false), (ModeChoice::Native, true), (ModeChoice::Generic, false)]
    {
        let (bench, [leg, _], camera, viewer, to) = narrow(mode, is_v6);
        forbid_fragments(&camera, is_v6);
        let large = [0x80; 1400];
        wait_until("the camera's own network stack refuses what is too big", || {
            camera.send_to(&large, to).is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE))
        });
        // Packets of just that size go through.
        let fits = vec![0x80; 1300 - if is_v6 { 48 } else { 28 }];
        camera.send_to(&fits, to).unwrap();
        while receive(&viewer).0 != fits {}
        assert!(camera.send_to(&vec![0x80; fits.len() + 1], to).is_err(), "and not a byte more");
        let counters = bench.relay.punt_path().unwrap().counters;
        let statistics = bench.statistics_when(leg, |leg| leg.forwarded > 0);
        let dropped: u64 = statistics.dropped.iter().map(|(_, count)| count).sum();
        assert!(statistics.dropped.iter().all(|(reason, _)| *reason == "too_big"), "{statistics:?}");
        assert!((1..=dropped).contains(&counters.answered), "{counters:?} {statistics:?}");
        assert_eq!(counters.received, counters.sent - counters.answered + dropped, "{counters:?}");
    }
}

#[test]
fn a_punted_packet_that_is_too_big_leaves_in_fragments_where_it_may() {
    let (bench, [leg, _], camera, viewer, to) = narrow(ModeChoice::Native, false);
    let never = libc::IP_PMTUDISC_DONT;
    set_discovery(&camera, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, never);
    let large = [0x80; 1400];
    wait_until("the kernel path has it", || {
        camera.send_to(&large, to).unwrap();
        bench.relay.statistics(leg).unwrap().paths.user > 0
    });
    assert_eq!(receive(&viewer).0, large);
    let dropped = bench.relay.statistics(leg).unwrap().dropped;
    assert!(dropped.iter().all(|(reason, _)| *reason == "too_big"), "{dropped:?}");
    // Smaller ones go on through user space.
    let before = bench.relay.statistics(leg).unwrap().paths.af_xdp;
    camera.send_to(&rtp(1, 7), to).unwrap();
    while receive(&viewer).0 != rtp(1, 7) {}
    bench.statistics_when(leg, |leg| leg.paths.af_xdp == before + 1);
}

fn forbid_fragments(socket: &UdpSocket, is_v6: bool) {
    if is_v6 {
        set_discovery(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO);
    } else {
        set_discovery(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
    }
}

fn set_discovery(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    let length = u32::try_from(size_of_val(&value)).unwrap();
    // SAFETY: an open socket, and a value that outlives the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A flood of punted packets, more than one processor may be able to carry: whatever is lost is counted by its reason.
#[test]
fn the_books_of_a_flood_add_up() {
    const PACKETS: u64 = 400_000;
    let bench = Bench::start();
    let [camera_leg, _] =
        bench.call(camera_leg(SourcePolicy::Pinned).punted(true), viewer_leg(SourcePolicy::Pinned));
    let camera = bench.camera_socket(CAMERA_PORT);
    // Whoever has the port: without it the terminal would answer each packet with an ICMP error.
    let _viewer = bench.viewer_socket(VIEWER_PORT);
    let arrived_before = ip_counter(&bench.topology.viewer, "InReceives");
    let lost_before = lost_by_wire(&bench.topology.camera);

    let sent = flood(&camera, to_relay_from_camera(), PACKETS, 200_000);

    // Until nothing is on its way: on a busy machine that takes a while.
    let deadline = Instant::now() + PATIENCE;
    let (counters, arrived, statistics) = loop {
        let counters = bench.relay.punt_path().unwrap().counters;
        let arrived = ip_counter(&bench.topology.viewer, "InReceives") - arrived_before;
        let lost = lost_by_wire(&bench.topology.camera) - lost_before;
        let statistics = bench.relay.statistics(camera_leg).unwrap();
        let dropped: u64 = statistics.dropped.iter().map(|(_, count)| count).sum();
        let taken = lost + counters.received + counters.no_frame + counters.ring_full;
        let books = [
            (sent, taken, "on the way in"),
            (counters.received, counters.sent + dropped, "in user space"),
            (counters.sent, arrived + counters.device_refused, "on the way out"),
        ];
        if books.iter().all(|(came, went, _)| came == went) {
            break (counters, arrived, statistics);
        }
        assert!(
            Instant::now() < deadline,
            "{books:?}: {lost} lost by the wire, {counters:?}, {:?}",
            statistics.dropped
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(counters.misplaced, 0);
    assert!(arrived > PACKETS / 100, "something was carried at all");
    assert_eq!((statistics.path, statistics.paths.af_xdp), (Path::AfXdp, counters.sent));
}

/// Sends so many RTP packets at so many a second, as far as the machine can; returns how many the kernel took.
fn flood(socket: &UdpSocket, to: SocketAddr, packets: u64, rate: u64) -> u64 {
    const BATCH: usize = 64;
    socket.connect(to).unwrap();
    let payload = rtp(1, 7);
    let mut parts: Vec<libc::iovec> = (0..BATCH)
        .map(|_| libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a structure for which zero is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let start = Instant::now();
    let mut sent = 0;
    while sent < packets {
        let due = u64::try_from(start.elapsed().as_micros()).unwrap() * rate / 1_000_000;
        if due < sent + BATCH as u64 {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        // SAFETY: the messages point to memory that outlives the call.
        let result = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH.try_into().unwrap(), 0)
        };
        sent += u64::try_from(result).expect("the kernel takes packets");
    }
    sent
}

/// A counter of the namespace's IPv4 (/proc/net/snmp).
fn ip_counter(namespace: &Namespace, name: &str) -> u64 {
    let output = namespace.command("cat").arg("/proc/net/snmp").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Ip: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|found| found == name).unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}
