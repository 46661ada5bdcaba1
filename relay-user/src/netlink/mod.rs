//! What the kernel knows of the network around us: links, addresses, neighbours, routes, and when they change. Both
//! address families.

mod message;
mod queries;

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteType;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

#[cfg(fuzzing)]
pub(crate) use message::read;
pub(crate) use queries::{Queries, RouteKey};

use crate::vlan::Tag;

/// Changes that wait to be applied. When more come than are applied, everything is read anew instead.
const CHANGES: usize = 1024;

/// Bytes of the kernel's queue of changes, for bursts: a flapping link is a message for each of its routes.
const QUEUE_BYTES: usize = 4 << 20;

/// A network device with a MAC address, be it zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) ethernet: bool,
    /// It may send, and its cable is plugged in.
    pub(crate) up: bool,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    /// For a VLAN device: what it stands on.
    pub(crate) vlan: Option<Vlan>,
}

/// What makes a device a VLAN device: frames leave by its parent, with this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlan {
    pub(crate) parent: u32,
    pub(crate) tag: Tag,
}

/// A neighbour on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
    pub(crate) state: NeighbourState,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeighbourState {
    /// Its MAC address.
    Known([u8; 6]),
    /// It did not answer, and the kernel has given up.
    Failed,
    /// It is being looked for, or forgotten.
    Unknown,
}

/// How the kernel would send to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    pub(crate) interface: u32,
    /// The router; of the other family where a route says so (RFC 5549).
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) kind: RouteType,
}

/// What changed.
#[derive(Debug)]
pub(crate) enum Change {
    Link(Link),
    LinkGone(u32),
    Neighbour(Neighbour),
    /// Routes, rules or addresses: ask again for what you use.
    Routes,
    /// Changes were lost: read everything anew.
    Lost,
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

/// Turns messages into changes. Never leaves messages lying, because they pile up in front of it without a bound: what
/// finds the queue full is dropped, and said to be lost once there is room.
async fn translate(
    mut messages: impl Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Unpin,
    sender: mpsc::Sender<Change>,
) {
    let mut lost = false;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            place = sender.reserve(), if lost => match place {
                Ok(place) => {
                    place.send(Change::Lost);
                    lost = false;
                    continue;
                }
                Err(_) => return,
            },
        };
        let change = match message.map(|(message, _)| message.payload) {
            None => break,
            Some(NetlinkPayload::InnerMessage(message)) => message::change(message),
            Some(NetlinkPayload::Overrun(_)) => Some(Change::Lost),
            Some(_) => None,
        };
        let Some(change) = change.filter(|_| !lost) else { continue };
        match sender.try_send(change) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => lost = true,
            Err(TrySendError::Closed(_)) => return,
        }
    }
    tracing::error!(
        "the kernel reports no more changes of the network: next hops are read at intervals only"
    );
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
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ];
        let (mut listener, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        // The kernel may allow less; then bursts are lost sooner, which is told and made good.
        let _ = listener.socket_mut().socket_mut().set_rx_buf_sz(QUEUE_BYTES);
        // Not by the same socket: what the kernel tells everybody of a change carries the number of the request that made it,
        // which is any program's, and would be taken for an answer to our own request of that number.
        let (asker, handle, _) = rtnetlink::new_connection()?;
        let (sender, changes) = mpsc::channel(CHANGES);
        let tasks =
            vec![tokio::spawn(listener), tokio::spawn(translate(messages, sender)), tokio::spawn(asker)];
        Ok((Self { handle }, Connection(tasks), changes))
    }

    /// Every device with a MAC address.
    pub(crate) async fn links(&self) -> io::Result<Vec<Link>> {
        let messages: Vec<_> =
            self.handle.link().get().execute().try_collect().await.map_err(io::Error::other)?;
        Ok(messages.iter().filter_map(message::link).collect())
    }

    /// Every address of ours.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let messages: Vec<_> =
            self.handle.address().get().execute().try_collect().await.map_err(io::Error::other)?;
        Ok(messages.iter().filter_map(message::address).collect())
    }

    /// Every neighbour.
    pub(crate) async fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        let messages: Vec<_> =
            self.handle.neighbours().get().execute().try_collect().await.map_err(io::Error::other)?;
        Ok(messages.iter().filter_map(|message| message::neighbour(message, false)).collect())
    }
}

#[cfg(test)]
mod tests;
