//! What only the user half remembers of legs and next hops, in maps that outlive it: enough for the next process to
//! go on where the last one stopped. The kernel half never looks here.

use crate::leg::Traffic;

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
/// do not say it. Where 0 is no value of its own, it stands for "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ledger {
    /// Whose leg it is: a number that the caller chose.
    pub owner: u64,
    /// When the leg was installed, nanoseconds of CLOCK_BOOTTIME.
    pub created: u64,
    /// The payload types that a learned source must carry, one bit each, the low 64 first.
    pub payload_types: [u64; 2],
    /// Silence after which a source may be learned anew, in nanoseconds.
    pub relearn_after: u64,
    /// Rate limit: bits a second.
    pub limit_bits: u64,
    /// Rate limit: the burst in nanoseconds; 0 for no limit at all.
    pub limit_burst: u64,
    /// What left here and came from legs that lead elsewhere now.
    pub sent_before: Traffic,
    /// What had been counted here when `egress` began to send it on.
    pub sent_elsewhere: Traffic,
    /// How often the admitted source changed.
    pub source_changes: u64,
    /// Rate limit: packets a second.
    pub limit_packets: u32,
    /// [`USED`] or 0; written after the rest of the record.
    pub state: u32,
    /// Where media for the leg arrives.
    pub local: Endpoint,
    /// Where the other side said that it is.
    pub told: Endpoint,
    /// Where it is: told at first, learned later.
    pub remote: Endpoint,
    /// The source policy: 0 pinned, 1 learn-port, 2 learn.
    pub policy: u32,
    /// What the leg carries: 0 RTP, 1 RTCP, 2 both on one port.
    pub media: u32,
    /// Whether the port is shared: 0 no, 1 the leg is the port, 2 by SSRC, 3 by source.
    pub sharing: u32,
    /// Number of the shared port that the leg is, or belongs to.
    pub group: u32,
    /// What becomes of RTCP: 0 relayed, 1 terminated.
    pub rtcp: u32,
    /// 1 if quality is measured.
    pub quality: u32,
    /// 1 if packets are sent on by user space.
    pub punted: u32,
    /// 1 if an SSRC was told.
    pub ssrc_told: u32,
    /// The SSRC that a learned source must carry.
    pub ssrc: u32,
    /// Rate of the RTP clock in Hz.
    pub clock_rate: u32,
    /// VLAN tags towards the remote side, outer and inner, as in [`crate::next_hop::NextHop::tags`] but in host order.
    pub tags: [u32; 2],
    /// Retagging: the constants of this module.
    pub retag: u32,
    /// Retagging: the new SSRC.
    pub retag_ssrc: u32,
    /// Retagging: what is added to sequence numbers.
    pub retag_sequence: u32,
    /// Retagging: what is added to timestamps.
    pub retag_timestamp: u32,
    /// Retagging: the new DSCP.
    pub retag_dscp: u32,
    /// Retagging: index of the table of payload types.
    pub retag_payload_map: u32,
    /// Slot of the leg that sends on what arrives here; 0 for none.
    pub egress: u32,
    /// Index of the next hop that the leg holds towards its remote side; 0 for none.
    pub next_hop: u32,
}

/// [`Ledger::retag`]: packets are retagged.
pub const RETAGGED: u32 = 1;
/// [`Ledger::retag`]: they get an SSRC.
pub const RETAG_SSRC: u32 = 1 << 1;
/// [`Ledger::retag`]: sequence numbers and timestamps are shifted.
pub const RETAG_OFFSET: u32 = 1 << 2;
/// [`Ledger::retag`]: they go on where the receiver's stream stands.
pub const RETAG_CONTINUE: u32 = 1 << 3;
/// [`Ledger::retag`]: they get a DSCP.
pub const RETAG_DSCP: u32 = 1 << 4;
/// [`Ledger::retag`]: payload types are replaced.
pub const RETAG_PAYLOAD_TYPES: u32 = 1 << 5;

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
