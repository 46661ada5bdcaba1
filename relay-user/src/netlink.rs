//! What the kernel knows of the network around us: links, neighbours, routes, and when they change.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Changes that wait to be applied; the kernel's own socket buffer holds more behind them.
const CHANGES: usize = 1024;

/// A network device with a MAC address, be it zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) ethernet: bool,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
}

/// A neighbour on a device; without a MAC address while it is being looked for, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) interface: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: Option<[u8; 6]>,
}

/// How the kernel would send to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    pub(crate) interface: u32,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) source: Option<Ipv4Addr>,
    /// The destination is one of our own addresses.
    pub(crate) local: bool,
}

/// What changed.
#[derive(Debug)]
pub(crate) enum Change {
    Link(Link),
    LinkGone(u32),
    Neighbour(Neighbour),
    /// Routes, rules or addresses: ask again for what you use.
    Routes,
}

/// A connection to the kernel's routing tables.
#[derive(Clone, Debug)]
pub(crate) struct Netlink {
    handle: Handle,
}

/// Keeps the connection's tasks running.
#[derive(Debug)]
pub(crate) struct Connection(Vec<JoinHandle<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Netlink {
    /// Connects in the network namespace of the calling thread, and reports changes from now on.
    pub(crate) fn connect() -> io::Result<(Self, Connection, mpsc::Receiver<Change>)> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
        ];
        let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
        let (sender, changes) = mpsc::channel(CHANGES);
        let reader = tokio::spawn(connection);
        let translator = tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                let NetlinkPayload::InnerMessage(message) = message.payload else {
                    continue;
                };
                let Some(change) = change(message) else { continue };
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok((Self { handle }, Connection(vec![reader, translator]), changes))
    }

    /// Every device with a MAC address.
    pub(crate) async fn links(&self) -> io::Result<Vec<Link>> {
        let messages: Vec<_> =
            self.handle.link().get().execute().try_collect().await.map_err(io::Error::other)?;
        Ok(messages.iter().filter_map(link).collect())
    }

    /// Every IPv4 neighbour.
    pub(crate) async fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        let messages: Vec<_> = request.execute().try_collect().await.map_err(io::Error::other)?;
        Ok(messages.iter().filter_map(|message| neighbour(message, false)).collect())
    }

    /// The route that a packet to `destination` takes now; with `source`, that a packet from there takes.
    pub(crate) async fn route(
        &self,
        destination: Ipv4Addr,
        source: Option<Ipv4Addr>,
    ) -> io::Result<KernelRoute> {
        let mut builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(destination, 32);
        if let Some(source) = source {
            builder = builder.source_prefix(source, 32);
        }
        let mut answers = std::pin::pin!(self.handle.route().get(builder.build()).execute());
        let answer = answers.try_next().await.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })?;
        answer.as_ref().and_then(route).ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
    }

    /// Asks the kernel to find, or to confirm, the MAC address of a neighbour. The answer comes as a change.
    pub(crate) async fn look_for(&self, interface: u32, address: Ipv4Addr) -> io::Result<()> {
        self.handle
            .neighbours()
            .add(interface, IpAddr::V4(address))
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await
            .map_err(io::Error::other)
    }
}

fn change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(&message).map(Change::Link),
        RouteNetlinkMessage::DelLink(message) => Some(Change::LinkGone(message.header.index)),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message, false).map(Change::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message, true).map(Change::Neighbour),
        RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(Change::Routes),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut mtu) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::Address(found) => mac = found.as_slice().try_into().ok(),
            LinkAttribute::Mtu(found) => mtu = Some(*found),
            _ => {}
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    Some(Link { index: message.header.index, name: name?, ethernet, mac: mac?, mtu: mtu? })
}

fn neighbour(message: &NeighbourMessage, gone: bool) -> Option<Neighbour> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let mac = if usable && !gone { mac } else { None };
    Some(Neighbour { interface: message.header.ifindex, address: address?, mac })
}

fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let (mut interface, mut gateway, mut source) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(found) => interface = Some(*found),
            RouteAttribute::Gateway(RouteAddress::Inet(found)) => gateway = Some(*found),
            RouteAttribute::PrefSource(RouteAddress::Inet(found)) => source = Some(*found),
            _ => {}
        }
    }
    let local = message.header.kind == RouteType::Local;
    Some(KernelRoute { interface: interface?, gateway, source, local })
}
