//! The core under test, asked what becomes of a frame in its scene, and told to rewrite it: the steps of the program, in its
//! order.
//!
//! Answers: 0 the media header, 1 why the frame passes, 2 the leg, 3 why it is dropped, 4 its lengths, 5 the key that it looks
//! for, 6 what is done with it, 7 what is carried over into new headers.

use relay_common::checksum::Change;
use relay_common::decide::{self, Found, Plane as _, Stray};
use relay_common::frame::ethernet::{ETHERNET, Payload};
use relay_common::frame::{Datagram, Essence, Ethernet, Ipv4Udp, Ipv6Udp, rebuild};
use relay_common::leg::route;
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::verdict::{Drop, Pass};

use super::scene::{Scene, Stage};

/// Says that an answer is a reason, and not "none".
const REASON: u64 = 1 << 32;

const READDRESSED: u64 = 1;
const REBUILT: u64 = 2;
const NO_ROOM: u64 = 4;

/// Headers that are to be built anew.
#[derive(Clone, Copy)]
pub struct Rebuild {
    /// By how many bytes the start of the frame moves towards its end.
    pub change: i32,
    index: u32,
    essence: Essence,
}

/// Asks everything, and rewrites the frame if it is one that is sent on with headers of the same length; else says how it
/// is to be rebuilt.
///
/// # Safety
/// `scene` must be valid for reads and writes, and nobody else's, for the whole call.
#[inline(always)]
pub unsafe fn examine(packet: &Packet<'_>, scene: *mut Scene) -> Option<Rebuild> {
    // SAFETY: by the caller's promise.
    let mut exam = Exam { stage: Stage(scene), answers: unsafe { &raw mut (*scene).answers }.cast() };
    let (end, rebuild) = match Ethernet::parse(packet) {
        Ok((ethernet, Payload::Ipv4, offset)) => exam.datagram::<Ipv4Udp<'_>>(packet, ethernet, offset),
        Ok((ethernet, Payload::Ipv6, offset)) => exam.datagram::<Ipv6Udp<'_>>(packet, ethernet, offset),
        Err(reason) => (End::Pass(reason), None),
    };
    match end {
        End::Pass(reason) => exam.answer::<1>(REASON | reason as u64),
        End::Drop(reason) => exam.answer::<3>(REASON | reason as u64),
        End::Sent => {}
    }
    rebuild
}

/// Builds the headers anew in a frame whose start has moved.
///
/// # Safety
/// As [`examine`].
#[inline(always)]
pub unsafe fn rebuild(packet: &Packet<'_>, scene: *mut Scene, plan: &Rebuild) {
    let stage = Stage(scene);
    let written = write(packet, &stage, plan);
    // SAFETY: by the caller's promise.
    unsafe { (*scene).answers[6] |= if written.is_some() { REBUILT } else { NO_ROOM } };
}

#[inline(always)]
fn write(packet: &Packet<'_>, stage: &Stage, plan: &Rebuild) -> Option<()> {
    let found = Found::at(stage, plan.index)?;
    // SAFETY: the stage's pointers are valid.
    let hop = unsafe { &*stage.next_hop(0)? };
    let link = rebuild::Link { macs: &hop.macs, tags: &hop.tags };
    let destination = found.destination();
    if found.route().has(route::TO_V6) {
        // SAFETY: as above.
        let addresses = unsafe { &*stage.addresses6(plan.index)? };
        rebuild::write_v6(packet, link, &plan.essence, addresses, destination.ports)
    } else {
        let addresses = (found.origin(), destination.address);
        rebuild::write_v4(packet, link, &plan.essence, addresses, destination.ports)
    }
}

enum End {
    Sent,
    Pass(Pass),
    Drop(Drop),
}

struct Exam {
    stage: Stage,
    answers: *mut u64,
}

impl Exam {
    #[inline(always)]
    fn answer<const AT: usize>(&mut self, answer: u64) {
        const { assert!(AT < super::scene::ANSWERS) };
        // SAFETY: within the array, as just asserted.
        unsafe { *self.answers.add(AT) = answer };
    }

    #[inline(always)]
    fn datagram<'a, D: Readdressed<'a>>(
        &mut self,
        packet: &Packet<'a>,
        ethernet: Ethernet<'a>,
        offset: usize,
    ) -> (End, Option<Rebuild>) {
        let payload = offset + D::HEADERS;
        self.answer::<0>(match Media::at(packet, payload) {
            None => 0,
            Some(Media::Rtp { payload_type, sequence, timestamp, ssrc }) => {
                1 << 63
                    | (payload_type as u64) << 48
                    | (sequence.get() as u64) << 32
                    | (timestamp.get() ^ ssrc.get()) as u64
            }
            Some(Media::Rtcp { ssrc }) => 1 << 62 | ssrc.get() as u64,
        });
        let datagram = match D::parse(packet, offset) {
            Ok(datagram) => datagram,
            Err(reason) => return (End::Pass(reason), None),
        };
        self.answer::<5>(datagram.leg_key().word() ^ datagram.source().word().rotate_left(1));
        self.answer::<4>(datagram.ip_length() as u64 | (datagram.may_be_fragmented() as u64) << 32);
        let found = match decide::find(&self.stage, &datagram, packet, payload) {
            Ok(found) => found,
            Err(Stray::NoLeg) => return (End::Pass(Pass::NoLeg), None),
            Err(Stray::Unknown(port)) => {
                self.answer::<2>(REASON | port as u64);
                return (End::Drop(Drop::UnknownSsrc), None);
            }
        };
        self.answer::<2>(found.index as u64);
        match self.relay(packet, ethernet, datagram, offset, &found) {
            Ok(rebuild) => (End::Sent, rebuild),
            Err(end) => (end, None),
        }
    }

    #[inline(always)]
    fn relay<'a, D: Readdressed<'a>>(
        &mut self,
        packet: &Packet<'a>,
        mut ethernet: Ethernet<'a>,
        mut datagram: D,
        offset: usize,
        found: &Found,
    ) -> Result<Option<Rebuild>, End> {
        let payload = offset + D::HEADERS;
        datagram.check(packet.length() - offset).map_err(End::Drop)?;
        if !decide::is_admitted(&self.stage, &datagram, found) {
            decide::learn(&self.stage, &datagram, packet, payload, found).map_err(End::Drop)?;
        }
        let route = found.route();
        let ip_length = datagram.ip_length();
        if route.has(route::POLICED) {
            decide::police(&self.stage, found.index, ip_length).map_err(End::Drop)?;
        }
        if route.has(route::MEASURED) {
            decide::measure(&self.stage, found.index, packet, payload);
        }
        let hop = decide::next_hop(&self.stage, found, route).map_err(End::Drop)?;
        // SAFETY: the stage's pointers are valid.
        let hop = unsafe { &*hop };
        let to_v6 = route.has(route::TO_V6);
        let grown = if to_v6 && !D::V6 { ip_length + 20 } else { ip_length };
        if grown > hop.mtu {
            return Err(if datagram.may_be_fragmented() {
                End::Pass(Pass::NeedsFragments)
            } else {
                End::Drop(Drop::TooBig)
            });
        }
        if to_v6 && !datagram.has_checksum() {
            return Err(End::Pass(Pass::NoChecksum));
        }
        let change = if route.has(route::RETAGGED) {
            decide::retag(&self.stage, found.index, &mut datagram, packet, payload)
        } else {
            Change::none()
        };
        if offset == ETHERNET && hop.tags[0].wire() == 0 && to_v6 == D::V6 {
            datagram.readdress(&self.stage, found, change).ok_or(End::Drop(Drop::RemoteUnknown))?;
            ethernet.set_macs(&hop.macs);
            self.answer::<6>(READDRESSED);
            return Ok(None);
        }
        datagram.payload_changed(change);
        let essence = datagram.essence();
        self.answer::<7>(essence.addresses.0);
        let change = payload as i32 - rebuild::length(&hop.tags, to_v6) as i32;
        Ok(Some(Rebuild { change, index: found.index, essence }))
    }
}

/// A datagram that takes new addresses of its own version of IP.
trait Readdressed<'a>: Datagram<'a> {
    fn readdress(&mut self, stage: &Stage, found: &Found, payload: Change) -> Option<()>;
}

impl<'a> Readdressed<'a> for Ipv4Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, _: &Stage, found: &Found, payload: Change) -> Option<()> {
        let destination = found.destination();
        Ipv4Udp::readdress(self, found.origin(), destination.address, destination.ports, payload);
        Some(())
    }
}

impl<'a> Readdressed<'a> for Ipv6Udp<'a> {
    #[inline(always)]
    fn readdress(&mut self, stage: &Stage, found: &Found, payload: Change) -> Option<()> {
        // SAFETY: the stage's pointers are valid.
        let addresses = unsafe { &*stage.addresses6(found.index)? };
        let (origin, destination) = (&addresses.origin, &addresses.destination);
        Ipv6Udp::readdress(self, origin, destination, found.destination().ports, payload);
        Some(())
    }
}
