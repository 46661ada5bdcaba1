//! What only the user half remembers of legs and next hops, in maps that outlive it: enough for the next process to
//! go on where the last one stopped. The kernel half never looks here.

/// The slot holds a leg.
pub const USED: u32 = 1;

/// An address and port, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Endpoint {
    /// The address in network order; IPv4 as an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2).
    pub address: [u8; 16],
    /// The port, 0 while only the address is known.
    pub port: u16,
    /// 1 if there is an address.
    pub known: u16,
}

/// One record of the `LEDGER` map, by the index of the leg: what was asked for, as far as the kernel half's records
/// do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ledger {
    /// Whose leg it is: a number that the caller chose.
    pub owner: u64,
    /// When the leg was installed, nanoseconds of CLOCK_BOOTTIME.
    pub created: u64,
    /// The payload types that a learned source must carry, one bit each, the low 64 first.
    pub payload_types: [u64; 2],
    /// Where media for the leg arrives.
    pub local: Endpoint,
    /// Where the other side said that it is.
    pub told: Endpoint,
    /// Where it is: told at first, learned later.
    pub remote: Endpoint,
    /// [`USED`] or 0; written after the rest of the record.
    pub state: u32,
    /// The source policy: 0 pinned, 1 learn-port, 2 learn.
    pub policy: u32,
    /// What the leg carries: 0 RTP, 1 RTCP, 2 both on one port.
    pub media: u32,
    /// 1 if an SSRC was told.
    pub ssrc_told: u32,
    /// The SSRC that a learned source must carry.
    pub ssrc: u32,
    /// Slot of the leg that sends on what arrives here; 0 for none.
    pub egress: u32,
    /// Index of the next hop that the leg holds towards its remote side; 0 for none.
    pub next_hop: u32,
}

/// One record of the `NEIGHBOURS` map, by the index of the next hop: whose addresses that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NeighbourRecord {
    /// The neighbour's address, as in [`Endpoint::address`].
    pub address: [u8; 16],
    /// Index of the interface behind which it is; 0 if the next hop is not used.
    pub interface: u32,
    /// VLAN tags as in [`crate::next_hop::NextHop::tags`].
    pub tags: [u32; 2],
    /// Zero.
    pub reserved: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_spaced_as_the_kernel_spaces_them() {
        assert_eq!((size_of::<Ledger>() % 8, size_of::<NeighbourRecord>() % 8), (0, 0));
    }
}
