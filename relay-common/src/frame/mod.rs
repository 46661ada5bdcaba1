//! Ethernet frames that carry a UDP datagram: with up to two VLAN tags, over IPv4 without options or IPv6 without
//! extension headers, in one piece. Only these are rewritten in place; all others take the kernel path.
//!
//! Reading is one bounds check for each header, and fields at offsets that are known when the program is compiled.

pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod rebuild;
pub mod too_big;

use crate::address::Ipv6;
use crate::byte_order::{Be16, Be32};
use crate::checksum::Change;
use crate::leg::{LegKey, Source};
use crate::packet::Packet;
use crate::verdict::{Drop, Pass};

pub use ethernet::Ethernet;
pub use ipv4::Ipv4Udp;
pub use ipv6::Ipv6Udp;

/// Bytes of the UDP header.
pub const UDP: usize = 8;

/// What both versions of IP tell about a datagram.
pub trait Datagram<'a>: Sized {
    /// Bytes of the IP and UDP headers.
    const HEADERS: usize;
    /// Whether addresses are of IPv6.
    const V6: bool;

    /// Recognises such a datagram, from `offset` on.
    ///
    /// # Errors
    /// Why it belongs to the kernel's network stack.
    fn parse(packet: &Packet<'a>, offset: usize) -> Result<Self, Pass>;

    /// Which leg it is addressed to.
    fn leg_key(&self) -> LegKey;

    /// Where it comes from.
    fn source(&self) -> Source;

    /// Source address; one of IPv4 as ::ffff:a.b.c.d.
    fn source_address(&self) -> Ipv6;

    /// Our address that it was sent to, in the same form.
    fn local_address(&self) -> Ipv6;

    /// The address that [`Source`] holds folded is that of `address`; always true for IPv4, which is not folded.
    fn comes_from(&self, address: &Ipv6) -> bool;

    /// The address that [`LegKey`] holds folded is that of `address`; always true for IPv4.
    fn is_for(&self, address: &Ipv6) -> bool;

    /// Length of the IP packet in bytes, as its header says.
    fn ip_length(&self) -> u32;

    /// Checks what a router must check before it sends a packet on (RFC 1812 section 5.2.2, RFC 8200 section 8.1): lengths
    /// that agree with each other and with the `available` bytes from the IP header on, which may be padded; the IPv4
    /// header's checksum; a time to live that allows one more hop.
    ///
    /// # Errors
    /// The reason to drop the packet.
    fn check(&self, available: usize) -> Result<(), Drop>;

    /// Whether a packet that is too big for a device may be fragmented on the way.
    fn may_be_fragmented(&self) -> bool;

    /// Whether the datagram has a UDP checksum.
    fn has_checksum(&self) -> bool;

    /// Updates the UDP checksum after a change of the payload. Not needed where the datagram gets new addresses: then both
    /// changes are folded together.
    fn payload_changed(&mut self, change: Change);

    /// Gives the packet another DSCP (RFC 2474), 0 to 63.
    fn set_dscp(&mut self, dscp: u8);

    /// Everything that a header of another version must carry over.
    fn essence(&self) -> Essence;
}

/// What survives when headers are built anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Essence {
    /// Source and destination port, as the first word of the UDP header.
    pub ports: Be32,
    /// Length field of the UDP header.
    pub udp_length: Be16,
    /// UDP checksum as it lies in the packet, 0 for none.
    pub checksum: Be16,
    /// One's complement sum of source and destination address, as the checksum counts them.
    pub addresses: Sum,
    /// DSCP and ECN: type of service or traffic class.
    pub traffic_class: u8,
    /// Time to live or hop limit, as it arrived.
    pub hops: u8,
    /// IPv4 identification; 0 from IPv6.
    pub identification: Be16,
    /// IPv4 flags, with "don't fragment" set from IPv6.
    pub fragment: Be16,
}

/// A one's complement sum of 16-bit words, not folded yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// With one more 32-bit word.
    #[inline(always)]
    pub const fn word(self, word: Be32) -> Self {
        Self(self.0 + word.wire() as u64)
    }

    /// With an IPv6 address.
    #[inline(always)]
    pub const fn address(self, address: &Ipv6) -> Self {
        let [a, b, c, d] = address.0;
        self.word(a).word(b).word(c).word(d)
    }

    /// The same sum in 32 bits.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the carries of at most 16 words were added twice")]
    const fn folded(self) -> u32 {
        let once = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((once & 0xffff_ffff) + (once >> 32)) as u32
    }

    /// What replacing this sum by `new` changes.
    #[inline(always)]
    pub const fn replaced_by(self, new: Self) -> Change {
        Change::none().word(self.folded(), new.folded())
    }
}
