//! Decides about packets of sockets with the decision core, by the same records as every other path.

use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use relay_common::address::Ipv6;
use relay_common::byte_order::Be32;
use relay_common::decide::{self, Found, Plane, Stray, Subject};
use relay_common::event;
use relay_common::frame::Datagram;
use relay_common::leg::{Addresses6, Destination, Route, route};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::Drop;

use super::datagram::SocketDatagram;
use super::relay::{Arrival, Decider, Egress, Outcome};
use crate::fan_out::Reader;
use crate::leg::LegId;
use crate::plane::UserPlane;
use crate::rtcp::Intake;
use crate::sockets::Sent;
use crate::tap::Direction;

/// The decider of one worker.
pub(crate) struct Legs {
    pub(super) plane: UserPlane,
    /// Where RTCP goes that ends here, or is translated.
    rtcp: Intake,
    /// Groups, if their copies are made here.
    pub(super) groups: Option<Reader>,
}

impl Legs {
    /// Decides by these records.
    pub(crate) fn new(plane: UserPlane, rtcp: Intake) -> Self {
        Self { plane, rtcp, groups: None }
    }

    /// The same, with groups.
    pub(super) fn copying(self, groups: Reader) -> Self {
        Self { groups: Some(groups), ..self }
    }

    fn decide_as<const V6: bool>(&self, mut arrival: Arrival<'_>) -> Outcome {
        let Arrival { local, source, traffic_class, hops, .. } = arrival;
        let length = arrival.payload.len();
        let bytes = length + SocketDatagram::<V6>::HEADERS;
        let mut datagram = SocketDatagram::<V6>::new(source, local, traffic_class, hops, length);
        let packet = Packet::new(&mut *arrival.payload);
        let (leg, reason) = match decide::find(&self.plane, &datagram, &packet, 0) {
            Ok(found) => match self.relay(&mut arrival, &mut datagram, &found) {
                Ok(Outcome::Copy { leg }) => {
                    self.plane.count_sent(leg, offset_of!(UserTraffic, sockets), 1, bytes as u64);
                    self.groups.iter().for_each(|groups| groups.entered(leg));
                    return Outcome::Copy { leg };
                }
                Ok(outcome) => return outcome,
                Err(reason) => (found.index, reason),
            },
            // The leg was removed while the packet waited in its socket.
            Err(Stray::NoLeg) => return Outcome::Gone,
            Err(Stray::Unknown(port)) => {
                self.plane.notify(event::UNKNOWN_SSRC, port, &Subject::of(&datagram, &packet, 0));
                (port, Drop::UnknownSsrc)
            }
        };
        self.plane.count_dropped(leg, reason, 1, bytes as u64);
        Outcome::Gone
    }

    /// Admits a packet of this leg, and says where it goes.
    fn relay<const V6: bool>(
        &self,
        arrival: &mut Arrival<'_>,
        datagram: &mut SocketDatagram<V6>,
        found: &Found,
    ) -> Result<Outcome, Drop> {
        let plane = &self.plane;
        let packet = &Packet::new(&mut *arrival.payload);
        datagram.check(packet.length())?;
        if !decide::is_admitted(plane, datagram, found) {
            decide::learn(plane, datagram, packet, 0, found)?;
        }
        let route = found.route();
        if route.has(route::TAPPED_IN) {
            self.copy(found, Direction::In, (arrival.source, arrival.local), arrival);
        }
        let packet = &Packet::new(&mut *arrival.payload);
        if route.has(route::POLICED) {
            decide::police(plane, found.index, datagram.ip_length())?;
        }
        if route.has(route::RTCP_PUNTED) && matches!(Media::at(packet, 0), Some(Media::Rtcp { .. })) {
            let generation = plane.generation(found.index).unwrap_or_default();
            // The kernel sums anew.
            self.rtcp.take(LegId { slot: found.index, generation }, arrival.payload)?;
        }
        let packet = &Packet::new(&mut *arrival.payload);
        if route.has(route::MEASURED) {
            decide::measure(plane, found.index, packet, 0);
        }
        if route.has(route::FAN_OUT) && self.groups.is_some() {
            return Ok(Outcome::Copy { leg: found.index });
        }
        if let Err(reason) = decide::next_hop(plane, found, route) {
            if reason == Drop::NextHopUnresolved {
                let subject = Subject { next_hop: route.index(), ..Subject::of(datagram, packet, 0) };
                plane.notify(event::NEXT_HOP_UNRESOLVED, found.index, &subject);
            }
            return Err(reason);
        }
        if route.has(route::RETAGGED) {
            let change = decide::retag(plane, found.index, datagram, packet, 0);
            datagram.payload_changed(change);
        }
        let (from, to) = self.ends(found, route).ok_or(Drop::RemoteUnknown)?;
        let traffic_class = datagram.traffic_class();
        if route.has(route::TAPPED_OUT) {
            // Checked: more than one is left.
            (arrival.hops, arrival.traffic_class) = (arrival.hops.map(|hops| hops - 1), traffic_class);
            self.copy(found, Direction::Out, (from, to), arrival);
        }
        Ok(Outcome::Send(Egress { leg: found.index, from, to, traffic_class }))
    }

    /// Copies a packet between two ends for whoever taps its leg.
    fn copy(
        &self,
        found: &Found,
        direction: Direction,
        ends: (SocketAddr, SocketAddr),
        arrival: &Arrival<'_>,
    ) {
        let Some(point) = self.plane.tap_point(found.index, direction) else { return };
        self.plane.taps.datagram(point, ends, arrival.traffic_class, arrival.hops, arrival.payload);
    }

    /// Our side and the other side of what is sent for a leg.
    fn ends(&self, found: &Found, route: Route) -> Option<(SocketAddr, SocketAddr)> {
        if route.has(route::TO_V6) {
            // SAFETY: the plane promises a valid record; a packet that sees half of a new address goes astray, once.
            let Addresses6 { origin, destination, .. } =
                unsafe { self.plane.addresses6(found.index)?.read_volatile() };
            return Some(ends_v6(origin, destination, found.destination().ports));
        }
        Some(ends_v4(found.origin(), found.destination()))
    }
}

/// Our side and the other side of what is sent over IPv4.
pub(super) fn ends_v4(origin: Be32, destination: Destination) -> (SocketAddr, SocketAddr) {
    let (from_port, to_port) = ports(destination.ports);
    let ip = |word: u32| Ipv4Addr::from(word);
    (
        SocketAddr::from((ip(origin.get()), from_port)),
        SocketAddr::from((ip(destination.address.get()), to_port)),
    )
}

/// The same over IPv6; the ports are those of [`Destination`].
pub(super) fn ends_v6(origin: Ipv6, destination: Ipv6, both: Be32) -> (SocketAddr, SocketAddr) {
    let (from_port, to_port) = ports(both);
    let ip = |octets| Ipv6Addr::from(octets);
    (
        SocketAddr::from((ip(origin.octets()), from_port)),
        SocketAddr::from((ip(destination.octets()), to_port)),
    )
}

/// Source and destination port, from the first word of a UDP header.
fn ports(word: Be32) -> (u16, u16) {
    let [a, b, c, d] = word.wire().to_ne_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

impl Decider for Legs {
    fn decide(&mut self, arrival: Arrival<'_>) -> Outcome {
        if arrival.local.is_ipv4() {
            self.decide_as::<false>(arrival)
        } else {
            self.decide_as::<true>(arrival)
        }
    }

    fn sent(&mut self, sent: &Sent, received_at: SocketAddr) {
        let headers = headers(received_at) * sent.packets as usize;
        let (packets, bytes) = (u64::from(sent.packets), (sent.bytes + headers) as u64);
        match sent.refused {
            None => self.plane.count_sent(sent.account, offset_of!(UserTraffic, sockets), packets, bytes),
            Some(errno) => self.plane.count_dropped(sent.account, refusal(errno), packets, bytes),
        }
    }

    fn overflowed(&mut self, local: SocketAddr, datagrams: u32) {
        if let Some(leg) = leg_at(&self.plane, local) {
            // How long they were, nobody knows.
            self.plane.count_dropped(leg, Drop::IngressFull, u64::from(datagrams), 0);
        }
    }
}

/// The leg, or shared port, at an address of ours.
pub(super) fn leg_at(plane: &UserPlane, local: SocketAddr) -> Option<u32> {
    if local.is_ipv4() { find::<false>(plane, local) } else { find::<true>(plane, local) }
}

fn find<const V6: bool>(plane: &UserPlane, local: SocketAddr) -> Option<u32> {
    let datagram = SocketDatagram::<V6>::new(local, local, 0, None, 0);
    let address = datagram.local_address();
    decide::find_local(plane, datagram.leg_key(), V6.then_some(&address)).map(|found| found.index)
}

/// Bytes of the headers of each packet that arrived at this address.
pub(super) fn headers(local: SocketAddr) -> usize {
    if local.is_ipv4() { SocketDatagram::<false>::HEADERS } else { SocketDatagram::<true>::HEADERS }
}

/// Why a packet is dropped that the kernel did not take (errno(3)).
pub(super) fn refusal(errno: i32) -> Drop {
    match errno {
        libc::EMSGSIZE => Drop::TooBig,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EPERM => Drop::NoRoute,
        libc::ENETDOWN | libc::ENODEV | libc::ENXIO => Drop::NoDevice,
        _ => Drop::EgressFull,
    }
}
