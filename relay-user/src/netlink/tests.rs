//! Netlink messages as their bytes, put together by hand after linux/if_link.h, linux/neighbour.h and
//! linux/rtnetlink.h: the devices that some of them speak of need kernel modules that not every machine has. And the
//! kernel's own answers, while others change the network; that takes root.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::Socket;
use rtnetlink::sys::constants::NETLINK_ROUTE;
use testbed::Namespace;

use super::*;
use crate::vlan::TagKind;

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const NEW_NEIGHBOUR: u16 = 28;
const DEL_NEIGHBOUR: u16 = 29;
const NEW_ADDRESS: u16 = 20;

const UP_WITH_CARRIER: u32 = 1 << 16 | 1;
const AF_BRIDGE: u8 = 7;

/// One attribute, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What a message says.
fn told(kind: u16, body: &[u8]) -> Option<Change> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
    let NetlinkPayload::InnerMessage(message) = message.payload else { panic!("{message:?}") };
    message::change(message)
}

/// `struct ifinfomsg` of an Ethernet device, name, MAC address, MTU, and more attributes.
fn link(family: u8, index: i32, flags: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![family, 0, 1, 0];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attribute(3, b"eth0.100\0"));
    body.extend(attribute(1, &[2, 0, 0, 0, 0, 9]));
    body.extend(attribute(4, &1496_u32.to_ne_bytes()));
    body.extend(more);
    body
}

/// IFLA_LINK and IFLA_LINKINFO of a VLAN device.
fn vlan(parent: u32, protocol: u16, id: u16, more: &[u8]) -> Vec<u8> {
    let mut data = attribute(1, &id.to_ne_bytes());
    data.extend(attribute(5, &protocol.to_be_bytes()));
    data.extend(more);
    let info = [attribute(1, b"vlan\0"), attribute(2, &data)].concat();
    [attribute(5, &parent.to_ne_bytes()), attribute(18, &info)].concat()
}

fn link_of(change: Option<Change>) -> Link {
    match change {
        Some(Change::Link(link)) => link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vlan_device_names_its_parent_and_its_tag() {
    let link = link_of(told(NEW_LINK, &link(0, 7, UP_WITH_CARRIER, &vlan(3, 0x8100, 100, &[]))));
    let expected = Link {
        index: 7,
        name: "eth0.100".into(),
        ethernet: true,
        up: true,
        mac: [2, 0, 0, 0, 0, 9],
        mtu: 1496,
        vlan: Some(Vlan { parent: 3, tag: Tag::vlan(100) }),
    };
    assert_eq!(link, expected);
}

#[test]
fn a_service_vlan_has_a_service_tag() {
    let link = link_of(told(NEW_LINK, &link(0, 7, UP_WITH_CARRIER, &vlan(3, 0x88a8, 4094, &[]))));
    assert_eq!(
        link.vlan,
        Some(Vlan { parent: 3, tag: Tag { kind: TagKind::Service, id: 4094, priority: 0 } })
    );
}

#[test]
fn the_priority_is_what_the_device_gives_to_packets_without_one() {
    let mapping = |from: u32, to: u32| attribute(1, &[from.to_ne_bytes(), to.to_ne_bytes()].concat());
    let egress = attribute(3, &[mapping(4, 2), mapping(0, 5)].concat());
    let link = link_of(told(NEW_LINK, &link(0, 7, UP_WITH_CARRIER, &vlan(3, 0x8100, 100, &egress))));
    assert_eq!(link.vlan.unwrap().tag.priority, 5);
}

#[test]
fn a_vlan_device_whose_parent_is_in_another_namespace_stands_on_nothing_here() {
    let elsewhere = [vlan(3, 0x8100, 100, &[]), attribute(37, &0_i32.to_ne_bytes())].concat();
    assert_eq!(link_of(told(NEW_LINK, &link(0, 7, UP_WITH_CARRIER, &elsewhere))).vlan, None);
}

#[test]
fn the_peer_of_a_veth_is_no_parent() {
    let info = attribute(1, b"veth\0");
    let veth = [attribute(5, &3_u32.to_ne_bytes()), attribute(18, &info)].concat();
    assert_eq!(link_of(told(NEW_LINK, &link(0, 7, UP_WITH_CARRIER, &veth))).vlan, None);
}

#[test]
fn a_device_is_up_with_a_carrier_only() {
    for (flags, up) in [(UP_WITH_CARRIER, true), (1, false), (1 << 16, false), (0, false)] {
        assert_eq!(link_of(told(NEW_LINK, &link(0, 7, flags, &[]))).up, up, "{flags:#x}");
    }
}

#[test]
fn a_device_that_leaves_a_bridge_is_not_gone() {
    assert!(matches!(told(DEL_LINK, &link(0, 7, 0, &[])), Some(Change::LinkGone(7))));
    assert!(told(DEL_LINK, &link(AF_BRIDGE, 7, 0, &[])).is_none());
    assert!(told(NEW_LINK, &link(AF_BRIDGE, 7, 0, &[])).is_none());
}

/// `struct ndmsg`, the address and a MAC address.
fn neighbour(family: u8, state: u16, flags: u8, address: &[u8]) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    body.extend(3_i32.to_ne_bytes());
    body.extend(state.to_ne_bytes());
    body.extend([flags, 1]);
    body.extend(attribute(1, address));
    body.extend(attribute(2, &[2, 0, 0, 0, 0, 9]));
    body
}

fn neighbour_of(change: Option<Change>) -> Neighbour {
    match change {
        Some(Change::Neighbour(neighbour)) => neighbour,
        other => panic!("{other:?}"),
    }
}

#[test]
fn neighbours_of_both_families_have_the_state_that_counts() {
    let known = NeighbourState::Known([2, 0, 0, 0, 0, 9]);
    let v6: std::net::Ipv6Addr = "fe80::9".parse().unwrap();
    for (family, bytes, address) in
        [(2, vec![10, 0, 0, 9], IpAddr::from([10, 0, 0, 9])), (10, v6.octets().to_vec(), IpAddr::V6(v6))]
    {
        for (state, expected) in [
            (0x01, NeighbourState::Unknown), // incomplete
            (0x02, known),                   // reachable
            (0x04, known),                   // stale
            (0x08, known),                   // delay
            (0x10, known),                   // probe
            (0x20, NeighbourState::Failed),
            (0x80, known), // permanent
        ] {
            let neighbour = neighbour_of(told(NEW_NEIGHBOUR, &neighbour(family, state, 0, &bytes)));
            assert_eq!(neighbour, Neighbour { interface: 3, address, state: expected }, "{state:#x}");
        }
        let gone = neighbour_of(told(DEL_NEIGHBOUR, &neighbour(family, 0x02, 0, &bytes)));
        assert_eq!(gone.state, NeighbourState::Unknown);
    }
}

#[test]
fn entries_of_bridges_and_proxies_are_no_neighbours() {
    const PROXY: u8 = 1 << 3;
    assert!(told(NEW_NEIGHBOUR, &neighbour(AF_BRIDGE, 0x80, 0, &[10, 0, 0, 9])).is_none());
    assert!(told(NEW_NEIGHBOUR, &neighbour(2, 0, PROXY, &[10, 0, 0, 9])).is_none());
}

#[test]
fn an_address_may_move_routes() {
    let mut body = vec![10, 64, 0, 0];
    body.extend(3_u32.to_ne_bytes());
    body.extend(attribute(1, &[0xfd; 16]));
    assert!(matches!(told(NEW_ADDRESS, &body), Some(Change::Routes)));
}

/// Another program that changes an address again and again, and numbers its requests like ours: what the kernel tells
/// everybody of a change carries the number.
fn change_addresses(device: u32, number: &AtomicU32, over: &AtomicBool) {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let address = IpAddr::from([192, 0, 2, 1]);
    while !over.load(Ordering::Relaxed) {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 24;
        message.header.index = device;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewAddress(message));
        message.header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
        message.header.sequence_number = number.load(Ordering::Relaxed);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        socket.send(&bytes, 0).unwrap();
    }
}

#[test]
fn lists_are_whole_whatever_others_change_meanwhile() {
    const PAIRS: usize = 20;
    let namespace = Namespace::create("lists").unwrap();
    for pair in 0..PAIRS {
        let (one, other) = (format!("one{pair}"), format!("other{pair}"));
        namespace.ip(&["link", "add", &one, "type", "veth", "peer", "name", &other]).unwrap();
    }
    let ask = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let (netlink, _connection, _changes) = runtime.block_on(async { Netlink::connect() }).unwrap();
        let links = || runtime.block_on(netlink.links());
        let device = links().unwrap().last().unwrap().index;
        let (number, over) = (AtomicU32::new(0), AtomicBool::new(false));
        let lists: Vec<_> = thread::scope(|scope| {
            scope.spawn(|| change_addresses(device, &number, &over));
            let list = |request| {
                number.store(request, Ordering::Relaxed);
                links().map(|links| links.len()).map_err(|error| error.to_string())
            };
            let lists = (2..22).map(list).collect();
            over.store(true, Ordering::Relaxed);
            lists
        });
        // The loopback device has an address, too.
        assert_eq!(lists, vec![Ok(2 * PAIRS + 1); lists.len()]);
    };
    namespace.run(ask).unwrap();
}
