//! Gives each copy the headers of its receiver, by the same records and with the same code as the program of the kernel half
//! that does it behind a device map.

use relay_common::checksum::Change;
use relay_common::decide::{self, Plane};
use relay_common::frame::ethernet::{ETHERNET, Payload};
use relay_common::frame::{Datagram, Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::leg::{Addresses6, route};
use relay_common::next_hop::RESOLVED;
use relay_common::packet::Packet as View;
use relay_common::verdict::Loss;

use super::copier::{Copier, Exit};
use super::forwarder::Forwarder;
use super::handler::Packet;
use super::headers::{self, Ends, Left};
use crate::tap::Direction;

impl Copier for Forwarder {
    fn most(&self) -> usize {
        self.groups.capacity()
    }

    fn list(&self, leg: u32, receivers: &mut Vec<u32>) {
        self.groups.list(leg, receivers);
    }

    fn exit(&self, receiver: u32) -> Result<Exit, Loss> {
        let record = self.groups.receiver(receiver).ok_or(Loss::NextHopUnresolved)?;
        let hop = self.plane.next_hop(record.route.index()).ok_or(Loss::NextHopUnresolved)?;
        // SAFETY: the plane promises a valid record; each of its aligned words changes as a whole.
        let hop = unsafe { hop.read_volatile() };
        if hop.state & RESOLVED == 0 { Err(hop.refusal().into()) } else { Ok(Exit { record, hop }) }
    }

    fn rewrite(&self, receiver: u32, exit: &Exit, packet: &mut Packet<'_>) -> Result<(), Loss> {
        self.give_headers(receiver, exit, packet)?;
        if exit.record.route.has(route::TAPPED_OUT)
            && let Some(point) = self.plane.tap_point(receiver, Direction::Copied)
        {
            self.plane.taps.frame(point, packet.bytes());
        }
        Ok(())
    }

    fn copied(&self, receiver: u32, bytes: usize) {
        self.groups.sent(receiver, 1, bytes as u64);
    }

    fn lost(&self, receiver: u32, loss: Loss) {
        self.groups.lost(receiver, loss, 1);
    }
}

impl Forwarder {
    /// Gives a packet as it arrived the headers of a receiver.
    fn give_headers(&self, receiver: u32, exit: &Exit, packet: &mut Packet<'_>) -> Result<(), Loss> {
        let view = View::new(packet.bytes());
        let left = match Ethernet::parse(&view) {
            Ok((ethernet, Payload::Ipv4, at)) => {
                self.readdress::<Ipv4Udp<'_>>(&view, ethernet, at, receiver, exit)
            }
            Ok((ethernet, Payload::Ipv6, at)) => {
                self.readdress::<Ipv6Udp<'_>>(&view, ethernet, at, receiver, exit)
            }
            Err(_) => Err(Loss::NoRoom),
        }?;
        let Left::Headers { essence, length } = left else { return Ok(()) };
        let record = &exit.record;
        let ends = Ends {
            to_v6: record.route.has(route::TO_V6),
            origin: record.origin,
            destination: record.destination,
            addresses6: Addresses6 {
                destination: record.destination6,
                origin: record.origin6,
                ..Addresses6::default()
            },
        };
        headers::build(packet, &exit.hop, &essence, length, &ends).ok_or(Loss::NoRoom)
    }

    fn readdress<'a, D: Readdressed<'a>>(
        &self,
        view: &View<'a>,
        mut ethernet: Ethernet<'a>,
        offset: usize,
        receiver: u32,
        exit: &Exit,
    ) -> Result<Left, Loss> {
        let Exit { record, hop } = exit;
        let mut datagram = D::parse(view, offset).map_err(|_| Loss::NoRoom)?;
        let to_v6 = record.route.has(route::TO_V6);
        if headers::grown(datagram.ip_length(), D::V6, to_v6) > hop.mtu {
            return Err(Loss::TooBig);
        }
        if to_v6 && !datagram.has_checksum() {
            headers::give_checksum(view, offset, &mut datagram).ok_or(Loss::NoChecksum)?;
        }
        let payload = offset + D::HEADERS;
        let change = match self.groups.retag(receiver).filter(|_| record.route.has(route::RETAGGED)) {
            // SAFETY: a record of a group, valid as long as the reader lives that gave it.
            Some(retag) => unsafe { decide::retag_as(&self.plane, retag, &mut datagram, view, payload) },
            None => Change::none(),
        };
        if offset == ETHERNET && hop.tags[0].wire() == 0 && to_v6 == D::V6 {
            datagram.readdress(exit, change);
            ethernet.set_macs(&hop.macs);
            return Ok(Left::Nothing);
        }
        datagram.payload_changed(change);
        Ok(Left::Headers { essence: datagram.essence(), length: payload })
    }
}

/// A datagram that takes new addresses of its own version of IP.
trait Readdressed<'a>: Datagram<'a> {
    /// Gives it the addresses of a receiver; `payload` was changed before.
    fn readdress(&mut self, exit: &Exit, payload: Change);
}

impl<'a> Readdressed<'a> for Ipv4Udp<'a> {
    fn readdress(&mut self, exit: &Exit, payload: Change) {
        let destination = exit.record.destination;
        Ipv4Udp::readdress(self, exit.record.origin, destination.address, destination.ports, payload);
    }
}

impl<'a> Readdressed<'a> for Ipv6Udp<'a> {
    fn readdress(&mut self, exit: &Exit, payload: Change) {
        let record = &exit.record;
        let ports = record.destination.ports;
        Ipv6Udp::readdress(self, &record.origin6, &record.destination6, ports, payload);
    }
}
