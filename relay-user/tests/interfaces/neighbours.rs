//! Neighbours that change their MAC address, and that the kernel forgets.

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
fn media_flows_on_when_the_kernel_forgets_the_neighbour() {
    for (v6, neighbour) in [(false, "10.78.2.2"), (true, "fd78:2::2")] {
        let bench = Bench::start();
        let media = if v6 { bench.media6() } else { bench.media() };
        for _ in 0..3 {
            bench.ip(&format!("neigh del {neighbour} dev viewer"));
            media.flows();
        }
        media.end(&["next_hop_unresolved"], 0);
    }
}
