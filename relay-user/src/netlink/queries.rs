//! Questions to the kernel that are answered at once: which way a destination is reached, and "look for this
//! neighbour".
//!
//! The kernel answers such a message before the system call that sends it returns, so there is nothing to wait for:
//! sending and reading from the calling thread costs microseconds, where a task in between would cost two switches of
//! threads. Many questions go out in one call.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::constants::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::{KernelRoute, message};

/// Questions in one call: the answers, a memory page each and more, must fit the socket's queue as the kernel limits it
/// by default.
const BATCH: usize = 32;

/// Longest answer.
const ANSWER_BYTES: usize = 4096;

/// Which way is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteKey {
    /// Where to.
    pub(crate) destination: IpAddr,
    /// From which address of ours; `None` if the kernel should choose.
    pub(crate) source: Option<IpAddr>,
    /// By which interface only, for link-local addresses; 0 for any.
    pub(crate) scope: u32,
}

/// A socket for questions.
pub(crate) struct Queries {
    socket: Socket,
    sequence: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Queries {
    /// Opens the socket in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, request: Vec::new(), answer: Vec::with_capacity(ANSWER_BYTES) })
    }

    /// The routes that packets take now, in the order of `keys`: each an answer, or what the kernel has against it.
    pub(crate) fn routes(&mut self, keys: &[RouteKey]) -> Vec<io::Result<KernelRoute>> {
        let mut routes = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let questions = batch.iter().map(|key| RouteNetlinkMessage::GetRoute(question(key)));
            match self.ask(questions) {
                Ok(answers) => routes.extend(answers.into_iter().map(|answer| route(answer?))),
                Err(error) => routes.extend(batch.iter().map(|_| Err(io::Error::other(error.to_string())))),
            }
        }
        routes
    }

    /// Asks the kernel to find, or to confirm, the MAC addresses of neighbours. The answers come as changes.
    ///
    /// # Errors
    /// The kernel cannot be asked, or the first refusal; the others are looked for all the same.
    pub(crate) fn look_for(&mut self, neighbours: &[(u32, IpAddr)]) -> io::Result<()> {
        let mut refused = Ok(());
        for batch in neighbours.chunks(BATCH) {
            let orders = batch.iter().map(|(interface, address)| {
                let mut message = NeighbourMessage::default();
                message.header.family = family(*address);
                message.header.ifindex = *interface;
                message.header.state = NeighbourState::None;
                message.header.flags = NeighbourFlags::Use;
                message.attributes.push(NeighbourAttribute::Destination((*address).into()));
                RouteNetlinkMessage::NewNeighbour(message)
            });
            let answers = self.ask(orders)?;
            for answer in answers {
                // An order that is obeyed is not answered.
                match answer {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock && refused.is_ok() => {
                        refused = Err(error);
                    }
                    _ => {}
                }
            }
        }
        refused
    }

    /// Index of the device of this name; `None` if there is none.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(crate) fn link_index(&mut self, name: &str) -> io::Result<Option<u32>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(std::iter::once(RouteNetlinkMessage::GetLink(message)))?.pop() {
            Some(Ok(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link.header.index)),
            Some(Err(error)) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Some(Err(error)) => Err(error),
            _ => Err(io::Error::other("the kernel answered a question for a device with something else")),
        }
    }

    /// Has the kernel make (`NewLink`), change (`SetLink`) or remove (`DelLink`) a device.
    ///
    /// # Errors
    /// The kernel cannot be asked, or refuses.
    pub(crate) fn order_link(&mut self, order: RouteNetlinkMessage) -> io::Result<()> {
        // An order that is obeyed is not answered.
        match self.ask(std::iter::once(order))?.pop() {
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends all messages in one call and collects their answers, in the order of the messages. No answer is
    /// [`io::ErrorKind::WouldBlock`].
    fn ask(
        &mut self,
        messages: impl Iterator<Item = RouteNetlinkMessage>,
    ) -> io::Result<Vec<io::Result<RouteNetlinkMessage>>> {
        // Netlink's own alignment of messages within one datagram (NLMSG_ALIGNTO).
        const ALIGNMENT: usize = 4;
        self.request.clear();
        let first = self.sequence.wrapping_add(1);
        let mut answers = Vec::with_capacity(BATCH);
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = match &message {
                RouteNetlinkMessage::NewNeighbour(_) => NLM_F_REQUEST | CREATE_OR_REPLACE,
                RouteNetlinkMessage::NewLink(_) => NLM_F_REQUEST | CREATE_ONLY,
                _ => NLM_F_REQUEST,
            };
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = self.request.len();
            let length = message.buffer_len();
            self.request.resize(start + length.next_multiple_of(ALIGNMENT), 0);
            message.serialize(&mut self.request[start..start + length]);
            answers.push(Err(io::ErrorKind::WouldBlock.into()));
        }
        retry(|| self.socket.send(&self.request, 0))?;
        loop {
            self.answer.clear();
            match retry(|| self.socket.recv(&mut self.answer, libc::MSG_DONTWAIT)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(error),
            }
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.answer);
            let message = message.map_err(io::Error::other)?;
            let at = message.header.sequence_number.wrapping_sub(first) as usize;
            let Some(answer) = answers.get_mut(at) else { continue };
            *answer = match message.payload {
                NetlinkPayload::InnerMessage(message) => Ok(message),
                NetlinkPayload::Error(error) => Err(error.to_io()),
                _ => continue,
            };
        }
    }
}

/// What `ip neigh replace` says: make the entry, or use the one that is there.
const CREATE_OR_REPLACE: u16 = rtnetlink::packet_core::NLM_F_CREATE | rtnetlink::packet_core::NLM_F_REPLACE;

/// What `ip link add` says: make it, or say that it is there.
const CREATE_ONLY: u16 = rtnetlink::packet_core::NLM_F_CREATE | rtnetlink::packet_core::NLM_F_EXCL;

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route(answer: RouteNetlinkMessage) -> io::Result<KernelRoute> {
    match answer {
        RouteNetlinkMessage::NewRoute(message) => {
            message::route(&message).ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
        }
        _ => Err(io::Error::other("the kernel answered a question for a route with something else")),
    }
}

fn question(key: &RouteKey) -> RouteMessage {
    let bits = match key.destination {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family(key.destination);
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(key.destination.into()));
    if let Some(source) = key.source {
        message.header.source_prefix_length = bits;
        message.attributes.push(RouteAttribute::Source(source.into()));
    }
    if key.scope != 0 {
        message.attributes.push(RouteAttribute::Oif(key.scope));
    }
    message
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
