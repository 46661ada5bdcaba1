//! Sends punted packets on, by the same records and with the same code as the XDP program. What the program has done
//! already, finding the leg, admitting the source and charging the limits, is not done again.

use std::mem::offset_of;

use relay_common::checksum::Change;
use relay_common::decide::{self, Found, Plane, Subject};
use relay_common::event;
use relay_common::frame::ethernet::{ETHERNET, Payload};
use relay_common::frame::too_big::{self, GROWTH_V4, GROWTH_V6, LinkHeader, QUOTED_V4, QUOTED_V6};
use relay_common::frame::{Datagram, Essence, Ethernet, Ipv4Udp, Ipv6Udp};
use relay_common::leg::{Addresses6, route};
use relay_common::media::Media;
use relay_common::next_hop::NextHop;
use relay_common::packet::Packet as View;
use relay_common::punt::Metadata;
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::Drop;

use crate::fan_out::Reader;
use crate::leg::LegId;
use crate::plane::UserPlane;
use crate::rtcp::Intake;
use crate::tap::Direction;

use super::handler::{Handler, Outcome, Packet};
use super::headers::{self, Ends, Left};

/// The handler of one worker.
pub(crate) struct Forwarder {
    pub(super) plane: UserPlane,
    /// Where RTCP goes that ends here, or is translated.
    rtcp: Intake,
    /// Groups whose copies are made here.
    pub(super) groups: Reader,
}

/// Why a packet does not go on.
enum Refusal {
    Drop(Drop),
    /// It is too big, and must not be fragmented: its sender may be told.
    TooBig {
        /// Where its IP header starts.
        offset: usize,
        /// The largest packet of the sender's version of IP.
        mtu: u32,
        is_v6: bool,
    },
}

impl From<Drop> for Refusal {
    fn from(reason: Drop) -> Self {
        Self::Drop(reason)
    }
}

/// Where a packet goes on.
enum Way {
    /// By the device of this slot.
    Device(u32),
    /// To the receivers of its leg's group.
    Copies,
}

impl Forwarder {
    /// A handler that decides with this plane.
    pub(crate) fn new(plane: UserPlane, rtcp: Intake, groups: Reader) -> Self {
        Self { plane, rtcp, groups }
    }

    /// Rewrites the packet, unless it is to be copied; says where it goes.
    fn forward(&self, leg: LegId, packet: &mut Packet<'_>) -> Result<Way, Refusal> {
        let found = Found::at(&self.plane, leg.slot).ok_or(Drop::NoStream)?;
        let change =
            if found.route().has(route::RTCP_PUNTED) { self.take_rtcp(leg, packet)? } else { Change::none() };
        let bytes = packet.bytes();
        let view = View::new(bytes);
        if found.route().has(route::FAN_OUT) {
            let payload = headers::payload(&view).ok_or(Drop::LengthMismatch)?;
            if found.route().has(route::MEASURED) {
                decide::measure(&self.plane, found.index, &view, payload.start);
            }
            return Ok(Way::Copies);
        }
        // The program has read these headers: nothing else is punted.
        let parsed = Ethernet::parse(&view).map_err(|_| Drop::LengthMismatch)?;
        let (hop, left) = match parsed {
            (ethernet, Payload::Ipv4, at) => {
                self.datagram::<Ipv4Udp<'_>>(&view, ethernet, at, &found, change)
            }
            (ethernet, Payload::Ipv6, at) => {
                self.datagram::<Ipv6Udp<'_>>(&view, ethernet, at, &found, change)
            }
        }?;
        if let Left::Headers { essence, length } = left {
            self.rebuild(packet, &found, &hop, &essence, length)?;
        }
        if found.route().has(route::TAPPED_OUT)
            && let Some(point) = self.plane.tap_point(leg.slot, Direction::Out)
        {
            // What arrived, the program has copied.
            self.plane.taps.frame(point, packet.bytes());
        }
        Ok(Way::Device(hop.device))
    }

    /// The payload of UDP was changed by `change` before.
    fn datagram<'a, D: Readdressed<'a>>(
        &self,
        view: &View<'a>,
        mut ethernet: Ethernet<'a>,
        offset: usize,
        found: &Found,
        change: Change,
    ) -> Result<(NextHop, Left), Refusal> {
        let mut datagram = D::parse(view, offset).map_err(|_| Drop::LengthMismatch)?;
        datagram.check(view.length().saturating_sub(offset))?;
        datagram.payload_changed(change);
        let (payload, route) = (offset + D::HEADERS, found.route());
        if route.has(route::MEASURED) {
            decide::measure(&self.plane, found.index, view, payload);
        }
        let hop = decide::next_hop(&self.plane, found, route).inspect_err(|reason| {
            if *reason == Drop::NextHopUnresolved {
                let subject = Subject::of(&datagram, view, payload);
                let subject = Subject { next_hop: route.index(), ..subject };
                self.plane.notify(event::NEXT_HOP_UNRESOLVED, found.index, &subject);
            }
        })?;
        // SAFETY: the plane promises a valid record; each of its aligned words changes as a whole.
        let hop = unsafe { hop.read_volatile() };
        let to_v6 = route.has(route::TO_V6);
        let ip_length = datagram.ip_length();
        let grown = headers::grown(ip_length, D::V6, to_v6);
        if grown > hop.mtu {
            // What may be fragmented the program leaves to the kernel path: this came just before the device shrank.
            if datagram.may_be_fragmented() {
                return Err(Drop::TooBig.into());
            }
            let mtu = (hop.mtu + ip_length).saturating_sub(grown);
            return Err(Refusal::TooBig { offset, mtu, is_v6: D::V6 });
        }
        if to_v6 && !datagram.has_checksum() {
            headers::give_checksum(view, offset, &mut datagram).ok_or(Drop::LengthMismatch)?;
        }
        let change = if route.has(route::RETAGGED) {
            decide::retag(&self.plane, found.index, &mut datagram, view, payload)
        } else {
            Change::none()
        };
        if offset == ETHERNET && hop.tags[0].wire() == 0 && to_v6 == D::V6 {
            datagram.readdress(&self.plane, found, change)?;
            ethernet.set_macs(&hop.macs);
            return Ok((hop, Left::Nothing));
        }
        datagram.payload_changed(change);
        Ok((hop, Left::Headers { essence: datagram.essence(), length: payload }))
    }

    /// Builds headers of another length.
    fn rebuild(
        &self,
        packet: &mut Packet<'_>,
        found: &Found,
        hop: &NextHop,
        essence: &Essence,
        length: usize,
    ) -> Result<(), Drop> {
        let to_v6 = found.route().has(route::TO_V6);
        let addresses6 = if to_v6 {
            let addresses = self.plane.addresses6(found.index).ok_or(Drop::NoRoom)?;
            // SAFETY: the plane promises a valid record. A packet that sees half of a new address goes astray, once.
            unsafe { addresses.read_volatile() }
        } else {
            Addresses6::default()
        };
        let ends = Ends { to_v6, origin: found.origin(), destination: found.destination(), addresses6 };
        headers::build(packet, hop, essence, length, &ends).ok_or(Drop::NoRoom)
    }

    /// Hands RTCP to whoever answers or translates it; the change of its sum if it goes on. Other packets go on as they are.
    fn take_rtcp(&self, leg: LegId, packet: &mut Packet<'_>) -> Result<Change, Drop> {
        let bytes = packet.bytes();
        let view = View::new(&mut *bytes);
        let payload = headers::payload(&view).ok_or(Drop::LengthMismatch)?;
        if !matches!(Media::at(&view, payload.start), Some(Media::Rtcp { .. })) {
            return Ok(Change::none());
        }
        self.rtcp.take(leg, bytes.get_mut(payload).ok_or(Drop::LengthMismatch)?)
    }

    /// Makes the packet an answer to its sender, at most once a second for each leg, as the program does.
    fn answer(
        &self,
        leg: LegId,
        packet: &mut Packet<'_>,
        offset: usize,
        mtu: u32,
        is_v6: bool,
    ) -> Option<()> {
        if !self.plane.may_answer(leg.slot) {
            return None;
        }
        let link = LinkHeader::of(&View::new(packet.bytes()), offset)?;
        let (quoted, growth) = if is_v6 { (QUOTED_V6, GROWTH_V6) } else { (QUOTED_V4, GROWTH_V4) };
        packet.cut(offset + quoted)?;
        packet.grow_front(growth.cast_signed())?;
        let view = View::new(packet.bytes());
        link.write_swapped(&view)?;
        if is_v6 { too_big::write_v6(&view, offset, mtu) } else { too_big::write_v4(&view, offset, mtu) }
    }

    /// The leg to count a packet for: none, if its leg is gone.
    fn counted(&self, metadata: &Metadata) -> u32 {
        let is_there = self.plane.generation(metadata.leg) == Some(metadata.generation);
        if is_there { metadata.leg } else { 0 }
    }
}

impl Handler for Forwarder {
    fn handle(&mut self, metadata: &Metadata, packet: &mut Packet<'_>) -> Outcome {
        if self.counted(metadata) == 0 {
            return Outcome::Drop(Drop::Orphan);
        }
        let leg = LegId { slot: metadata.leg, generation: metadata.generation };
        match self.forward(leg, packet) {
            Ok(Way::Device(device)) => Outcome::Send { device },
            Ok(Way::Copies) => {
                self.groups.entered(leg.slot);
                Outcome::Copy
            }
            Err(Refusal::Drop(reason)) => Outcome::Drop(reason),
            Err(Refusal::TooBig { offset, mtu, is_v6 }) => {
                match self.answer(leg, packet, offset, mtu, is_v6) {
                    Some(()) => Outcome::Answer { device: metadata.device, reason: Drop::TooBig },
                    None => Outcome::Drop(Drop::TooBig),
                }
            }
        }
    }

    fn sent(&mut self, metadata: &Metadata, bytes: usize) {
        let offset = offset_of!(UserTraffic, af_xdp);
        self.plane.count_sent(self.counted(metadata), offset, 1, bytes as u64);
    }

    fn dropped(&mut self, metadata: &Metadata, reason: Drop, bytes: usize) {
        self.plane.count_dropped(self.counted(metadata), reason, 1, bytes as u64);
    }
}

/// A datagram that takes new addresses of its own version of IP.
trait Readdressed<'a>: Datagram<'a> {
    /// Gives it the addresses of its leg's destination; `payload` was changed before.
    fn readdress(&mut self, plane: &UserPlane, found: &Found, payload: Change) -> Result<(), Drop>;
}

impl<'a> Readdressed<'a> for Ipv4Udp<'a> {
    fn readdress(&mut self, _: &UserPlane, found: &Found, payload: Change) -> Result<(), Drop> {
        let destination = found.destination();
        Ipv4Udp::readdress(self, found.origin(), destination.address, destination.ports, payload);
        Ok(())
    }
}

impl<'a> Readdressed<'a> for Ipv6Udp<'a> {
    fn readdress(&mut self, plane: &UserPlane, found: &Found, payload: Change) -> Result<(), Drop> {
        let addresses = plane.addresses6(found.index).ok_or(Drop::RemoteUnknown)?;
        // SAFETY: the plane promises a valid record. A packet that sees half of a new address goes astray, once.
        let addresses = unsafe { addresses.read_volatile() };
        let (origin, destination) = (&addresses.origin, &addresses.destination);
        Ipv6Udp::readdress(self, origin, destination, found.destination().ports, payload);
        Ok(())
    }
}
