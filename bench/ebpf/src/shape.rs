//! The shapes of test frames: where their headers begin.

/// Where the headers of a frame are.
pub(crate) trait Shape: Copy {
    /// Whether an 802.1Q tag follows the MAC addresses.
    const TAGGED: bool;
    /// Whether the IP header is that of IPv6.
    const IPV6: bool;

    /// Where the type of the Ethernet payload is.
    const ETHERTYPE: usize = if Self::TAGGED { 16 } else { 12 };
    /// Where the IP header begins.
    const IP: usize = Self::ETHERTYPE + 2;
    /// Where the UDP header begins.
    const UDP: usize = Self::IP + if Self::IPV6 { 40 } else { 20 };
    /// Where the RTP header begins.
    const RTP: usize = Self::UDP + 8;
    /// Where the time stamp is: four bytes behind the RTP header, in nanoseconds.
    const STAMP: usize = Self::RTP + 12;
    /// Bytes of the shortest frame.
    const SHORTEST: usize = Self::STAMP + 4;
}

/// IPv4, no tag.
#[derive(Clone, Copy)]
pub(crate) struct Ipv4;
impl Shape for Ipv4 {
    const TAGGED: bool = false;
    const IPV6: bool = false;
}

/// IPv4 behind an 802.1Q tag.
#[derive(Clone, Copy)]
pub(crate) struct TaggedIpv4;
impl Shape for TaggedIpv4 {
    const TAGGED: bool = true;
    const IPV6: bool = false;
}

/// IPv6, no tag.
#[derive(Clone, Copy)]
pub(crate) struct Ipv6;
impl Shape for Ipv6 {
    const TAGGED: bool = false;
    const IPV6: bool = true;
}

/// IPv4, no tag, with what a stream's packets say of themselves behind the RTP header (see [`FollowedIpv4::NUMBER`]).
#[derive(Clone, Copy)]
pub(crate) struct FollowedIpv4;
impl Shape for FollowedIpv4 {
    const TAGGED: bool = false;
    const IPV6: bool = false;
    const SHORTEST: usize = Self::SEQUENCE_INVERTED + 2 + 4;
}
impl FollowedIpv4 {
    /// Where the number is. Whatever changes from packet to packet is there again with every bit inverted, so that the UDP
    /// checksum stays.
    pub(crate) const NUMBER: usize = Self::STAMP;
    pub(crate) const NUMBER_INVERTED: usize = Self::NUMBER + 4;
    /// Where the time of departure is, in nanoseconds.
    pub(crate) const TIME: usize = Self::NUMBER + 8;
    pub(crate) const TIME_INVERTED: usize = Self::NUMBER + 12;
    /// Where the lower half of the number is, inverted, for the RTP sequence number.
    pub(crate) const SEQUENCE_INVERTED: usize = Self::NUMBER + 16;
}
