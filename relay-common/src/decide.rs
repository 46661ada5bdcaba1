//! What becomes of a datagram: which leg it belongs to, whether its source is admitted, whether it is within its limits.
//!
//! The XDP program, the AF_XDP workers and the socket workers all decide with this code on the same records, so that a leg
//! behaves alike whoever carries it. What differs between them is how a record is reached: [`Plane`].

use crate::address::Ipv6;
use crate::byte_order::Be32;
use crate::checksum::Change;
use crate::frame::Datagram;
use crate::leg::{self, Addresses6, Admission, Destination, Leg, LegKey, Route, Source, route};
use crate::limits::LEGS_PER_BUCKET;
use crate::media::Media;
use crate::next_hop::{NextHop, RESOLVED};
use crate::packet::Packet;
use crate::police::Police;
use crate::quality::Quality;
use crate::retag::{NewHeader, Offsets, PayloadMap, Retag};
use crate::rtp::RtpHeader;
use crate::verdict::Drop;
use crate::{event, retag};

/// How the records of legs are reached, and what else a decision needs of its surroundings.
///
/// # Safety
/// Each pointer that is returned must be aligned, and valid for reads and writes for as long as the implementor lives.
/// Others may write to the records at any time; each of their aligned words changes as a whole.
pub unsafe trait Plane {
    /// Where the leg of this key, one of an IPv4 address and port, probably lies; 0 for no idea.
    #[inline(always)]
    fn guess(&self, _: LegKey) -> u32 {
        0
    }
    /// Index of the first leg in the bucket of a key, 0 for none.
    fn bucket(&self, key: LegKey) -> Option<u32>;
    /// A record of `LEGS`.
    fn leg(&self, index: u32) -> Option<*mut Leg>;
    /// A record of `ADMISSIONS`.
    fn admission(&self, index: u32) -> Option<*const Admission>;
    /// A record of `ADDRESSES6`.
    fn addresses6(&self, index: u32) -> Option<*mut Addresses6>;
    /// A record of `NEXT_HOPS`.
    fn next_hop(&self, index: u32) -> Option<*const NextHop>;
    /// A record of `POLICE`.
    fn police(&self, index: u32) -> Option<*mut Police>;
    /// The record of `QUALITY` for a leg on this CPU.
    fn quality(&self, index: u32) -> Option<*mut Quality>;
    /// A record of `RETAGS`.
    fn retag(&self, index: u32) -> Option<*mut Retag>;
    /// A record of `PAYLOAD_MAPS`.
    fn payload_map(&self, index: u32) -> Option<*const PayloadMap>;
    /// Whether an address is one of ours.
    fn is_local(&self, address: &Ipv6) -> bool;
    /// CLOCK_MONOTONIC in nanoseconds.
    fn now(&self) -> u64;
    /// The same, as of the last tick of the kernel.
    fn coarse_now(&self) -> u64;
    /// Exchanges an aligned word of a record if it is `old`; the word that was there if it is not.
    ///
    /// # Safety
    /// `word` must point into a record that this plane returned.
    unsafe fn exchange(&self, word: *mut u64, old: u64, new: u64) -> Result<(), u64>;
    /// Tells the user half what happened to a datagram; `leg` is 0 where none has it.
    fn notify(&self, kind: u32, leg: u32, subject: &Subject);
}

/// The datagram that an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Source address; one of IPv4 as ::ffff:a.b.c.d.
    pub source: Ipv6,
    /// Our address that it was sent to, in the same form.
    pub local: Ipv6,
    /// Source port and our port, as the first word of the UDP header.
    pub ports: Be32,
    /// Its SSRC, 0 where it is no RTP or RTCP.
    pub ssrc: Be32,
    /// Index of the next hop that is not resolved, else 0.
    pub next_hop: u32,
}

impl Subject {
    /// About this datagram, whose payload starts at `payload`.
    #[inline(always)]
    pub fn of<'a, D: Datagram<'a>>(datagram: &D, packet: &Packet<'_>, payload: usize) -> Self {
        Self {
            source: datagram.source_address(),
            local: datagram.local_address(),
            ports: datagram.essence().ports,
            ssrc: Media::at(packet, payload).map_or(Be32::new(0), Media::ssrc),
            next_hop: 0,
        }
    }
}

/// A leg that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its index.
    pub index: u32,
    leg: *mut Leg,
}

impl Found {
    /// A leg whose index is known.
    pub fn at<P: Plane>(plane: &P, index: u32) -> Option<Self> {
        Some(Self { index, leg: plane.leg(index)? })
    }

    /// What is addressed to it.
    #[inline(always)]
    fn key(&self) -> LegKey {
        // SAFETY: [`Plane`] promises a valid record; volatile, because others write to it.
        unsafe { (&raw const (*self.leg).key).read_volatile() }
    }

    /// The source that it admits, as a word.
    #[inline(always)]
    fn source(&self) -> u64 {
        // SAFETY: as in `key`.
        unsafe { (&raw const (*self.leg).source).read_volatile() }
    }

    /// Where its packets go, and what is done with them.
    #[inline(always)]
    pub fn route(&self) -> Route {
        // SAFETY: as in `key`.
        unsafe { (&raw const (*self.leg).route).read_volatile() }
    }

    /// Where its packets go over IPv4; over IPv6 only the ports mean something.
    #[inline(always)]
    pub fn destination(&self) -> Destination {
        // SAFETY: as in `key`. Both halves are one aligned word.
        unsafe { (&raw const (*self.leg).destination).read_volatile() }
    }

    /// Our IPv4 address that they leave from.
    #[inline(always)]
    pub fn origin(&self) -> Be32 {
        // SAFETY: as in `key`.
        unsafe { (&raw const (*self.leg).origin).read_volatile() }
    }
}

/// Why a datagram has no leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Nobody has this address and port.
    NoLeg,
    /// The shared port of this index has neither this source nor this SSRC.
    Unknown(u32),
}

/// The leg that a datagram, whose payload starts at `payload`, is addressed to.
///
/// # Errors
/// There is none.
#[inline(always)]
pub fn find<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    datagram: &D,
    packet: &Packet<'_>,
    payload: usize,
) -> Result<Found, Stray> {
    let found = guess(plane, datagram)
        .or_else(|| look_up(plane, datagram.leg_key(), D::V6, |addresses| datagram.is_for(&addresses.local)))
        .ok_or(Stray::NoLeg)?;
    if found.route().has(route::SHARED) {
        return find_shared(plane, datagram, packet, payload, &found).ok_or(Stray::Unknown(found.index));
    }
    Ok(found)
}

/// The leg that a datagram is addressed to, if it is at first sight: over IPv4 where the plane supposes it, so that it and its
/// counters can be fetched from memory at the same time, and its bucket not at all; over IPv6 as the first of its bucket.
#[inline(always)]
pub fn guess<'a, P: Plane, D: Datagram<'a>>(plane: &P, datagram: &D) -> Option<Found> {
    let key = datagram.leg_key();
    let index = if D::V6 { plane.bucket(key)? } else { plane.guess(key) };
    if index == 0 {
        return None;
    }
    let found = Found { index, leg: plane.leg(index)? };
    if found.key() != key {
        return None;
    }
    if D::V6 {
        let addresses = plane.addresses6(index)?;
        // SAFETY: [`Plane`] promises a valid record, of which this member changes only while nothing leads to it.
        let local = unsafe { (&raw const (*addresses).local).read_volatile() };
        if !datagram.is_for(&local) {
            return None;
        }
    }
    Some(found)
}

/// The leg, or the shared port, at one of our addresses: `address` is that of IPv6, which `key` holds folded.
#[inline(always)]
pub fn find_local<P: Plane>(plane: &P, key: LegKey, address: Option<&Ipv6>) -> Option<Found> {
    look_up(plane, key, address.is_some(), |addresses| address.is_none_or(|ours| addresses.local == *ours))
}

/// Whose packet it is that came to a shared port: told by its source, else by its SSRC.
#[inline(always)]
fn find_shared<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    datagram: &D,
    packet: &Packet<'_>,
    payload: usize,
    port: &Found,
) -> Option<Found> {
    #[expect(clippy::cast_possible_truncation, reason = "numbers of shared ports have twelve bits")]
    let group = port.route().index() as u16;
    let by_source = LegKey::source(group, datagram.source());
    let found = look_up(plane, by_source, D::V6, |addresses| datagram.comes_from(&addresses.source));
    if found.is_some() {
        return found;
    }
    let ssrc = Media::at(packet, payload)?.ssrc();
    look_up(plane, LegKey::ssrc(group, ssrc), false, |_| true)
}

/// Walks the chain of a key's bucket.
#[inline(always)]
fn look_up<P: Plane>(
    plane: &P,
    key: LegKey,
    folded: bool,
    is_meant: impl Fn(&Addresses6) -> bool,
) -> Option<Found> {
    let mut index = plane.bucket(key)?;
    for _ in 0..LEGS_PER_BUCKET {
        if index == 0 {
            return None;
        }
        let found = Found { index, leg: plane.leg(index)? };
        if found.key() == key {
            if !folded {
                return Some(found);
            }
            // SAFETY: [`Plane`] promises a valid record. Addresses change only while no bucket leads to the leg, but for
            // the source, of which a torn read is no source of anybody.
            let addresses = unsafe { plane.addresses6(index)?.read_volatile() };
            if is_meant(&addresses) {
                return Some(found);
            }
        }
        // SAFETY: as above.
        index = unsafe { (&raw const (*plane.admission(index)?).next).read_volatile() };
    }
    None
}

/// Whether the datagram comes from the source that its leg admits. A look at two words for IPv4.
#[inline(always)]
pub fn is_admitted<'a, P: Plane, D: Datagram<'a>>(plane: &P, datagram: &D, found: &Found) -> bool {
    if found.source() != datagram.source().word() {
        return false;
    }
    if !D::V6 {
        return true;
    }
    let Some(addresses) = plane.addresses6(found.index) else { return false };
    // SAFETY: [`Plane`] promises a valid record.
    let source = unsafe { (&raw const (*addresses).source).read_volatile() };
    datagram.comes_from(&source)
}

/// Admits a datagram that does not come from the admitted source if its leg is still learning and it looks right; from
/// then on its source is the only one. The datagram itself goes on: not one waits for user space.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn learn<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    datagram: &D,
    packet: &Packet<'_>,
    payload: usize,
    found: &Found,
) -> Result<(), Drop> {
    let address = datagram.source_address();
    if is_martian(&address) {
        return Err(Drop::Martian);
    }
    if plane.is_local(&address) {
        return Err(Drop::Looped);
    }
    let admission = plane.admission(found.index).ok_or(Drop::SourceMismatch)?;
    let addresses = if D::V6 { plane.addresses6(found.index) } else { None };
    // SAFETY: [`Plane`] promises valid records.
    let (admission, told) = unsafe {
        (
            admission.read_volatile(),
            addresses.map(|addresses| (&raw const (*addresses).source).read_volatile()),
        )
    };
    let admitted = found.source();
    if admitted != Source::NONE.word() {
        // Another CPU has exchanged the word for this very source, and not written the address yet.
        let under_way = admitted == datagram.source().word() && told == Some(Ipv6::default());
        return if under_way { Ok(()) } else { refuse(plane, datagram, packet, payload, found.index) };
    }
    if admission.flags & leg::ADDRESS_TOLD != 0 {
        let is_told = match told {
            Some(told) => told == address,
            None => datagram.source().address_word() == admission.address,
        };
        if !is_told {
            return refuse(plane, datagram, packet, payload, found.index);
        }
    }
    Media::at(packet, payload).ok_or(Drop::NotMedia)?.admit(&admission)?;

    let mine = datagram.source().word();
    // SAFETY: the word is part of a record that the plane returned.
    let exchanged = unsafe { plane.exchange(&raw mut (*found.leg).source, Source::NONE.word(), mine) };
    match exchanged {
        Ok(()) => {
            if let Some(addresses) = addresses {
                // SAFETY: [`Plane`] promises a valid record; only who exchanged the word writes the address.
                unsafe { (&raw mut (*addresses).source).write_volatile(address) };
            }
            plane.notify(event::SOURCE_LEARNED, found.index, &Subject::of(datagram, packet, payload));
            Ok(())
        }
        Err(winner) if winner == mine => Ok(()),
        Err(_) => Err(Drop::SourceMismatch),
    }
}

fn refuse<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    datagram: &D,
    packet: &Packet<'_>,
    payload: usize,
    index: u32,
) -> Result<(), Drop> {
    plane.notify(event::SOURCE_REFUSED, index, &Subject::of(datagram, packet, payload));
    Err(Drop::SourceMismatch)
}

/// Whether no sender can have this address: unspecified, loopback, multicast, reserved (RFC 6890), and "this network" of
/// IPv4 (RFC 1122 section 3.2.1.3).
#[inline(always)]
pub fn is_martian(address: &Ipv6) -> bool {
    let [a, b, c, d] = address.0;
    if a.wire() != 0 || b.wire() != 0 {
        return a.get() >> 24 == 0xff;
    }
    if c == Be32::new(0xffff) {
        let first = d.get() >> 24;
        return first == 0 || first == 127 || first >= 224;
    }
    c.wire() == 0 && d.get() <= 1
}

/// Charges a packet to the limits of its leg.
///
/// # Errors
/// It is one too many.
#[inline(always)]
pub fn police<P: Plane>(plane: &P, index: u32, ip_length: u32) -> Result<(), Drop> {
    let Some(record) = plane.police(index) else { return Ok(()) };
    // SAFETY: [`Plane`] promises a valid record. Two CPUs that write at the same time lose a charge, no more.
    unsafe { (*record).charge(ip_length, plane.coarse_now()) }
}

/// Measures an RTP packet whose header starts at `payload`.
#[inline(always)]
pub fn measure<P: Plane>(plane: &P, index: u32, packet: &Packet<'_>, payload: usize) {
    let Some(header) = RtpHeader::at(packet, payload) else { return };
    let Some(record) = plane.quality(index) else { return };
    let (ssrc, sequence, timestamp) = (header.ssrc(), header.sequence(), header.timestamp());
    // SAFETY: [`Plane`] promises a valid record, which only this CPU writes.
    unsafe { (*record).count(ssrc, sequence.get(), timestamp.get(), || plane.now()) };
}

/// Retags a datagram: its RTP header, which starts at `payload`, and its DSCP. RTCP keeps its fields here. Returns what that
/// changes in the sum of the UDP checksum, which is for the caller to update.
#[inline(always)]
#[must_use = "the checksum is wrong without it"]
pub fn retag<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    index: u32,
    datagram: &mut D,
    packet: &Packet<'_>,
    payload: usize,
) -> Change {
    let Some(record) = plane.retag(index) else { return Change::none() };
    // SAFETY: [`Plane`] promises a valid record.
    unsafe { retag_as(plane, record, datagram, packet, payload) }
}

/// As [`retag()`], by a record of whatever map.
///
/// # Safety
/// `record` must point into a record that the plane's maps gave, as [`Plane`] says.
#[inline(always)]
#[must_use = "the checksum is wrong without it"]
pub unsafe fn retag_as<'a, P: Plane, D: Datagram<'a>>(
    plane: &P,
    record: *mut Retag,
    datagram: &mut D,
    packet: &Packet<'_>,
    payload: usize,
) -> Change {
    // SAFETY: the caller promises a valid record; field by field, because not every packet needs all.
    let (flags, word, ssrc) = unsafe {
        (
            (&raw const (*record).flags).read_volatile(),
            (&raw const (*record).offsets).read_volatile(),
            (&raw const (*record).ssrc).read_volatile(),
        )
    };
    if flags & retag::DSCP != 0 {
        // SAFETY: as above.
        datagram.set_dscp(unsafe { (&raw const (*record).dscp).read_volatile() });
    }
    let Some(mut header) = RtpHeader::at(packet, payload) else { return Change::none() };
    let mut offsets = Offsets::from_word(word);
    if flags & retag::OFFSETS != 0 && offsets == Offsets::NONE {
        offsets = align(plane, record, header.sequence().get(), header.timestamp().get());
    }
    let payload_type = if flags & retag::PAYLOAD_TYPE != 0 {
        // SAFETY: as above.
        let map = u32::from(unsafe { (&raw const (*record).payload_map).read_volatile() });
        plane.payload_map(map).map(|map| {
            // SAFETY: [`Plane`] promises a valid record; a payload type has seven bits, as many as the table has places.
            unsafe { map.cast::<u8>().add(usize::from(header.payload_type())).read_volatile() }
        })
    } else {
        None
    };
    let new = NewHeader {
        payload_type,
        offsets: (flags & retag::OFFSETS != 0).then_some(offsets),
        ssrc: (flags & retag::SSRC != 0).then_some(ssrc),
    };
    header.rewrite(new)
}

/// Lets the first packet of a source decide how it continues what the receiver saw last.
#[inline(never)]
fn align<P: Plane>(plane: &P, record: *mut Retag, sequence: u16, timestamp: u32) -> Offsets {
    // SAFETY: [`Plane`] promises a valid record.
    let base = unsafe { record.read_volatile() };
    let offsets = base.align(sequence, timestamp, plane.coarse_now());
    // SAFETY: the word is part of a record that the plane returned.
    let decided = unsafe { plane.exchange(&raw mut (*record).offsets, Offsets::NONE.word(), offsets.word()) };
    match decided {
        Ok(()) => offsets,
        Err(winner) => Offsets::from_word(winner),
    }
}

/// The next hop of a leg's packets.
///
/// # Errors
/// The reason to drop them.
#[inline(always)]
pub fn next_hop<P: Plane>(plane: &P, found: &Found, route: Route) -> Result<*const NextHop, Drop> {
    if route.index() == 0 {
        let flags = match plane.admission(found.index) {
            // SAFETY: [`Plane`] promises a valid record.
            Some(admission) => unsafe { (&raw const (*admission).flags).read_volatile() },
            None => 0,
        };
        return Err(if flags & leg::HAS_STREAM != 0 { Drop::RemoteUnknown } else { Drop::NoStream });
    }
    let hop = plane.next_hop(route.index()).ok_or(Drop::NextHopUnresolved)?;
    // SAFETY: as above; the word is written after the rest of the record.
    if unsafe { (&raw const (*hop).state).read_volatile() } & RESOLVED == 0 {
        // SAFETY: as above.
        return Err(unsafe { hop.read_volatile() }.refusal());
    }
    Ok(hop)
}
