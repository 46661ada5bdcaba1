//! Netlink messages (rtnetlink(7)) as what they say about the network.

use std::net::IpAddr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
    VlanQosMapping,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as KernelState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Change, KernelRoute, Link, Neighbour, NeighbourState, Vlan};
use crate::vlan::{Tag, TagKind};

/// An address of ours.
pub(super) fn address(message: &AddressMessage) -> Option<IpAddr> {
    // On a point-to-point link the first is ours and the second the far end's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Whether a message says anything to us, asked for or not.
#[cfg(fuzzing)]
pub(crate) fn read(message: RouteNetlinkMessage) -> bool {
    if let RouteNetlinkMessage::NewRoute(answer) = &message {
        return route(answer).is_some();
    }
    if let RouteNetlinkMessage::NewAddress(ours) = &message {
        return address(ours).is_some();
    }
    change(message).is_some()
}

/// What a message says that nobody asked for.
pub(super) fn change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(&message).map(Change::Link),
        // Bridges say so too, of a device that leaves them and lives on.
        RouteNetlinkMessage::DelLink(message) => {
            is_device(&message).then_some(Change::LinkGone(message.header.index))
        }
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message, false).map(Change::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message, true).map(Change::Neighbour),
        RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_)
        | RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(Change::Routes),
        _ => None,
    }
}

/// Whether a link message is about the device itself, not about its place in a bridge.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// A device with a MAC address.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    if !is_device(message) {
        return None;
    }
    let (mut name, mut mac, mut mtu, mut parent, mut elsewhere, mut tag) =
        (None, None, None, None, false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::Address(found) => mac = found.as_slice().try_into().ok(),
            LinkAttribute::Mtu(found) => mtu = Some(*found),
            LinkAttribute::Link(found) => parent = Some(*found),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => tag = infos.iter().find_map(vlan_tag),
            _ => {}
        }
    }
    Some(Link {
        index: message.header.index,
        name: name?,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mac: mac?,
        mtu: mtu?,
        // A parent in another network namespace has an index that means another device here.
        vlan: parent.filter(|_| !elsewhere).zip(tag).map(|(parent, tag)| Vlan { parent, tag }),
    })
}

/// The tag that a VLAN device gives to packets of priority 0, which all of ours are.
fn vlan_tag(info: &LinkInfo) -> Option<Tag> {
    let LinkInfo::Data(InfoData::Vlan(infos)) = info else { return None };
    let (mut id, mut kind, mut priority) = (None, TagKind::Customer, 0);
    for info in infos {
        match info {
            InfoVlan::Id(found) => id = Some(*found),
            InfoVlan::Protocol(VlanProtocol::Ieee8021Ad) => kind = TagKind::Service,
            InfoVlan::EgressQos(mappings) => {
                for mapping in mappings {
                    if let VlanQosMapping::Mapping(0, to) = mapping {
                        priority = u8::try_from(*to).ok().filter(|to| *to <= 7).unwrap_or(0);
                    }
                }
            }
            _ => {}
        }
    }
    Some(Tag { kind, id: id?, priority })
}

/// A neighbour; `gone` says that the kernel forgot it.
pub(super) fn neighbour(message: &NeighbourMessage, gone: bool) -> Option<Neighbour> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(IpAddr::V4(*found));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some(IpAddr::V6(*found));
            }
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = match (message.header.state, mac) {
        _ if gone => NeighbourState::Unknown,
        (KernelState::Failed, _) => NeighbourState::Failed,
        (
            KernelState::Reachable
            | KernelState::Stale
            | KernelState::Delay
            | KernelState::Probe
            | KernelState::Permanent,
            Some(mac),
        ) => NeighbourState::Known(mac),
        _ => NeighbourState::Unknown,
    };
    Some(Neighbour { interface: message.header.ifindex, address: address?, state })
}

/// The answer to a question for a route.
pub(super) fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let (mut interface, mut gateway, mut source) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(found) => interface = Some(*found),
            RouteAttribute::Gateway(found) => gateway = ip(found),
            RouteAttribute::Via(RouteVia::Inet(found)) => gateway = Some(IpAddr::V4(*found)),
            RouteAttribute::Via(RouteVia::Inet6(found)) => gateway = Some(IpAddr::V6(*found)),
            RouteAttribute::PrefSource(found) => source = ip(found),
            _ => {}
        }
    }
    Some(KernelRoute { interface: interface?, gateway, source, kind: message.header.kind })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(found) => Some(IpAddr::V4(*found)),
        RouteAddress::Inet6(found) => Some(IpAddr::V6(*found)),
        _ => None,
    }
}
