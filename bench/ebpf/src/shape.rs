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
