//! Neighbours that change their MAC address, are deleted, or go.

use testbed::Topology;

use crate::media::*;

#[test]
fn media_follows_a_neighbour_to_its_new_mac_address() {
    let bench = Bench::start();
    let media = bench.media();
    let viewer = &bench.topology.viewer;
    // The terminal says so itself, as a machine does that takes over an address.
    viewer.sysctl("net/ipv4/conf/eth0/arp_notify", "1").unwrap();
    for last in 1..=3 {
        let mac = format!("02:00:00:00:00:{last:02x}");
        viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "address", &mac]).unwrap();
        media.flows();
    }
}

#[test]
fn media_follows_an_ipv6_neighbour_to_its_new_mac_address() {
    let bench = Bench::start();
    let media = bench.media6();
    let viewer = &bench.topology.viewer;
    viewer.sysctl("net/ipv6/conf/eth0/ndisc_notify", "1").unwrap();
    for last in 1..=3 {
        let mac = format!("02:00:00:00:00:{last:02x}");
        viewer.ip(&["link", "set", Topology::TERMINAL_DEVICE, "address", &mac]).unwrap();
        media.flows();
    }
}

#[test]
fn media_resumes_when_a_neighbour_is_deleted() {
    for (v6, neighbour) in [(false, "10.78.2.2"), (true, "fd78:2::2")] {
        let bench = Bench::start();
        let media = if v6 { bench.media6() } else { bench.media() };
        let lost_by_three = || {
            let before = media.dropped(&["next_hop_unresolved"]);
            for _ in 0..3 {
                bench.ip(&format!("neigh del {neighbour} dev viewer"));
                media.flows();
            }
            media.dropped(&["next_hop_unresolved"]) - before
        };
        // It is asked for at once, not when the tables are looked over, each second. Packets come one a millisecond; on a
        // busy machine more than these may be lost now and then, but not each time.
        assert!((0..4).any(|_| lost_by_three() < 600), "{:?}", media.statistics());
        media.end(&["next_hop_unresolved"], 0);
    }
}

#[test]
fn media_stops_when_the_kernel_finds_that_a_neighbour_is_gone() {
    let bench = Bench::start();
    bench.topology.relay.sysctl("net/ipv4/neigh/viewer/retrans_time_ms", "50").unwrap();
    let media = bench.media();
    // It keeps its wire, but answers for its address no more.
    bench.topology.viewer.sysctl("net/ipv4/conf/eth0/arp_ignore", "8").unwrap();
    bench.ip("neigh del 10.78.2.2 dev viewer");
    media.stops();
    media.is_dropped_as("next_hop_unresolved");
    bench.topology.viewer.sysctl("net/ipv4/conf/eth0/arp_ignore", "0").unwrap();
    media.flows();
    media.end(&["next_hop_unresolved"], 0);
}
