//! Which devices are at an address or behind a connection: several may share one, behind a NAT or a gateway.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use super::super::id::DeviceId;
use crate::sip::transport::{ConnectionId, Flow};

/// Devices by address and by connection.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_address: HashMap<SocketAddr, Vec<DeviceId>>,
    by_connection: HashMap<ConnectionId, Vec<DeviceId>>,
}

impl Places {
    /// A device has moved, or come.
    pub(super) fn moved(&mut self, id: DeviceId, from: Option<Flow>, to: Flow) {
        if from == Some(to) {
            return;
        }
        if let Some(from) = from {
            remove(&mut self.by_address, from.remote(), id);
            if let Some(connection) = connection(from) {
                remove(&mut self.by_connection, connection, id);
            }
        }
        self.by_address.entry(to.remote()).or_default().push(id);
        if let Some(connection) = connection(to) {
            self.by_connection.entry(connection).or_default().push(id);
        }
    }

    /// The device at an address, if there is exactly one.
    pub(super) fn alone_at(&self, address: SocketAddr) -> Option<DeviceId> {
        match self.by_address.get(&address)?.as_slice() {
            [id] => Some(*id),
            _ => None,
        }
    }

    /// Everybody who came by a connection.
    pub(super) fn behind(&self, connection: ConnectionId) -> Vec<DeviceId> {
        self.by_connection.get(&connection).cloned().unwrap_or_default()
    }
}

fn connection(flow: Flow) -> Option<ConnectionId> {
    match flow {
        Flow::Tcp { connection, .. } => connection,
        Flow::Udp { .. } => None,
    }
}

fn remove<K: Hash + Eq>(index: &mut HashMap<K, Vec<DeviceId>>, key: K, id: DeviceId) {
    let std::collections::hash_map::Entry::Occupied(mut place) = index.entry(key) else { return };
    place.get_mut().retain(|known| *known != id);
    if place.get().is_empty() {
        place.remove();
    }
}
