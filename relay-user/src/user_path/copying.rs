//! What a worker with sockets knows of receivers: where the copies for each of them go, by the records of its group.

use std::net::SocketAddr;

use relay_common::decide::{self, Plane};
use relay_common::frame::Datagram;
use relay_common::leg::route;
use relay_common::next_hop::RESOLVED;
use relay_common::packet::Packet;
use relay_common::verdict::Loss;

use super::datagram::SocketDatagram;
use super::legs::{Legs, ends_v4, ends_v6, headers, refusal};
use super::relay::{Copier, Exit};
use crate::sockets::Sent;
use crate::tap::Direction;

impl Legs {
    fn exit_of(&self, receiver: u32) -> Result<Exit, Loss> {
        let record = self.groups.as_ref().and_then(|groups| groups.receiver(receiver));
        let record = record.ok_or(Loss::NextHopUnresolved)?;
        let hop = self.plane.next_hop(record.route.index()).ok_or(Loss::NextHopUnresolved)?;
        // SAFETY: the plane promises a valid record; each of its aligned words changes as a whole.
        let hop = unsafe { hop.read_volatile() };
        if hop.state & RESOLVED == 0 {
            return Err(hop.refusal().into());
        }
        let (from, to) = if record.route.has(route::TO_V6) {
            ends_v6(record.origin6, record.destination6, record.destination.ports)
        } else {
            ends_v4(record.origin, record.destination)
        };
        let (is_retagged, is_tapped) =
            (record.route.has(route::RETAGGED), record.route.has(route::TAPPED_OUT));
        Ok(Exit { from, to, is_retagged, is_tapped })
    }
}

impl Copier for Legs {
    fn most(&self) -> usize {
        self.groups.as_ref().map_or(0, crate::fan_out::Reader::capacity)
    }

    fn list(&self, leg: u32, receivers: &mut Vec<u32>) {
        if let Some(groups) = &self.groups {
            groups.list(leg, receivers);
        }
    }

    fn exit(&mut self, receiver: u32, packets: usize) -> Option<Exit> {
        self.exit_of(receiver)
            .inspect_err(|loss| {
                self.groups.iter().for_each(|groups| groups.lost(receiver, *loss, packets as u64));
            })
            .ok()
    }

    fn retag(&mut self, receiver: u32, exit: &Exit, payload: &mut [u8], traffic_class: u8) -> u8 {
        let Some(record) = self.groups.as_ref().and_then(|groups| groups.retag(receiver)) else {
            return traffic_class;
        };
        // It carries the traffic class; the kernel writes all headers.
        let mut datagram =
            SocketDatagram::<false>::new(exit.from, exit.to, traffic_class, None, payload.len());
        // SAFETY: a record of a group, valid as long as the reader lives that gave it.
        let change =
            unsafe { decide::retag_as(&self.plane, record, &mut datagram, &Packet::new(payload), 0) };
        datagram.payload_changed(change);
        datagram.traffic_class()
    }

    fn tap(&self, receiver: u32, exit: &Exit, payload: &[u8], traffic_class: u8, hops: Option<u8>) {
        if let Some(point) = self.plane.tap_point(receiver, Direction::Copied) {
            self.plane.taps.datagram(point, (exit.from, exit.to), traffic_class, hops, payload);
        }
    }

    fn copied(&mut self, sent: &Sent, received_at: SocketAddr) {
        let Some(groups) = &self.groups else { return };
        let packets = u64::from(sent.packets);
        let bytes = (sent.bytes + headers(received_at) * sent.packets as usize) as u64;
        let lost = sent.refused.map(|errno| Loss::from(refusal(errno)));
        if let Some(loss) = lost {
            groups.lost(sent.account, loss, packets);
        }
        // What an egress refuses was handed to it, as in XDP.
        if lost.is_none_or(|loss| loss == Loss::Refused) {
            groups.sent(sent.account, packets, bytes);
        }
    }
}
