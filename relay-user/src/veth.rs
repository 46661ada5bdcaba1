//! Pairs of devices of our own: what enters at one end comes out at the other.

use std::io;

use rtnetlink::packet_route::RouteNetlinkMessage as Order;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::netlink::Queries;

/// One end of a pair that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    /// Its name, 15 bytes at most.
    pub(crate) name: &'a str,
    /// Its MAC address; the kernel's choice if absent.
    pub(crate) mac: Option<[u8; 6]>,
}

/// A pair; dropped, it is removed, unless it is kept for a successor.
pub(crate) struct Veth {
    /// Index of the near end.
    pub(crate) near: u32,
    /// Whether it outlives this.
    pub(crate) is_kept: bool,
    queries: Queries,
}

impl Veth {
    /// Makes a pair in the network namespace of the calling thread, with so many queues, for packets of this size at most. One
    /// whose near end has the name was left by a process that was killed, and goes. Returns the index of the far end, too.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn make(near: End<'_>, far: End<'_>, queues: u32, mtu: u32) -> io::Result<(Self, u32)> {
        let mut queries = Queries::open()?;
        if let Some(left) = queries.link_index(near.name)? {
            queries.order_link(Order::DelLink(named(left)))?;
        }
        queries.order_link(Order::NewLink(description(near, far, queues, mtu)))?;
        let mut index = |name: &str| {
            queries.link_index(name)?.ok_or_else(|| io::Error::other(format!("`{name}` was removed at once")))
        };
        let (near, far) = (index(near.name)?, index(far.name)?);
        Ok((Self { near, is_kept: false, queries }, far))
    }

    /// The pair of this near end, which a predecessor kept.
    ///
    /// # Errors
    /// The kernel cannot be asked anything.
    pub(crate) fn left(near: u32) -> io::Result<Self> {
        Ok(Self { near, is_kept: true, queries: Queries::open()? })
    }

    /// Brings both ends up. A veth takes redirected frames only if there is a program at its far end before it goes up.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn bring_up(&mut self, far: u32) -> io::Result<()> {
        for end in [self.near, far] {
            self.queries.order_link(Order::SetLink(LinkUnspec::new_with_index(end).up().build()))?;
        }
        Ok(())
    }
}

/// Both ends.
fn description(near: End<'_>, far: End<'_>, queues: u32, mtu: u32) -> LinkMessage {
    let attributes = |end: End<'_>| {
        let queues = [LinkAttribute::NumTxQueues(queues), LinkAttribute::NumRxQueues(queues)];
        let mac = end.mac.map(|mac| LinkAttribute::Address(mac.to_vec()));
        queues.into_iter().chain(mac)
    };
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new().name(far.name.to_owned()).mtu(mtu).build();
    peer.attributes.extend(attributes(far));
    let mut message = LinkVeth::new(near.name, far.name).mtu(mtu);
    for attribute in attributes(near) {
        message = message.append_extra_attribute(attribute);
    }
    message.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build()
}

impl Drop for Veth {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = self.queries.order_link(Order::DelLink(named(self.near))) {
            tracing::warn!(%error, "a pair of devices of our own cannot be removed");
        }
    }
}

/// A message about the device of this index.
fn named(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}
