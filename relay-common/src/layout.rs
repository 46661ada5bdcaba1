//! What the records of the maps look like, as data: maps outlive the process that made them, and the next one must know
//! whether it understands them, and which field is where if it does not.

use crate::fan_out::{Block, Bulk, FanDevice, Group, Losses, Metadata, Queue, Receiver, Turn};
use crate::ledger::{Endpoint, Ledger, NeighbourRecord};
use crate::leg::{Addresses6, Admission, Destination, Leg, LegDrops, LegHint, Traffic};
use crate::next_hop::NextHop;
use crate::police::Police;
use crate::quality::Quality;
use crate::retag::Retag;
use crate::user_traffic::UserTraffic;
use crate::verdict::{DROPS, Drop, LOSSES, Loss};

/// The number of this layout: names the folder that maps are pinned in. It rises with every released version in which
/// [`HASH`] differs, or in which a field means something else.
pub const LAYOUT: u32 = 1;

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Bytes of the field.
    pub size: usize,
    /// The elements of an array whose elements have names; else empty.
    pub elements: &'static [&'static str],
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub size: usize,
    /// Its fields.
    pub fields: &'static [Field],
}

/// Lists the fields of each record; it does not compile if one is forgotten.
macro_rules! records {
    ($($name:ident { $($field:ident $([$elements:expr])?),+ $(,)? })+) => {
        /// Every record of a map that outlives the process.
        pub const RECORDS: &[Record] = &[$(Record {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: &[$(Field {
                name: stringify!($field),
                offset: core::mem::offset_of!($name, $field),
                size: size_of_field(|record: &$name| &record.$field),
                elements: records!(@elements $($elements)?),
            }),+],
        }),+];

        $(const _: fn($name) = |$name { $($field: _),+ }| {};)+
    };
    (@elements) => { &[] };
    (@elements $elements:expr) => { &$elements };
}

records! {
    Endpoint { address, port, known }
    Destination { address, ports }
    Leg { key, source, destination, origin, route }
    LegHint { address, base }
    Addresses6 { local, source, destination, origin }
    Retag {
        offsets, ssrc, base_timestamp, base_time, clock, base_sequence, payload_map, flags, dscp, reserved,
    }
    Police { packet_cost, byte_cost, burst, packets_until, bytes_until }
    Quality {
        ssrc, first, highest, packets, reordered, duplicates, jitter, arrival, timestamp, tick, window,
        expected_before, cycles, restarts,
    }
    Admission { next, flags, generation, address, ssrc, payload_types }
    Traffic { packets, bytes }
    LegDrops { last_event, last_answer, bytes, packets [DROP_NAMES] }
    NextHop { macs, device, mtu, state, tags }
    Ledger {
        owner, created, payload_types, relearn_after, limit_bits, limit_burst, sent_before, sent_elsewhere,
        source_changes, limit_packets, state, local, told, remote, policy, media, sharing, group, rtcp, quality, punted,
        ssrc_told, ssrc, clock_rate, tags, retag, retag_ssrc, retag_sequence, retag_timestamp, retag_dscp,
        retag_payload_map, egress, next_hop,
    }
    NeighbourRecord { address, interface, tags, reserved }
    Group { head, generation, cpu, reserved, entered, stale }
    Block { seats, next, device, generation, cpu, source, receivers, reserved }
    Receiver {
        destination, origin, route, retag, retag_before, source, reserved, destination6, origin6,
    }
    Losses { packets [LOSS_NAMES] }
    Bulk { frames, receivers, reserved }
    FanDevice { largest, reserved }
    Turn { number, block, seat, seats, reserved }
    Queue { entered, left_then, still_since, reserved, left, reserved_left }
    Metadata { number, block, generation, seats, source }
    UserTraffic { af_xdp, sockets }
}

/// A number that differs when any record differs.
pub const HASH: u64 = hash(RECORDS);

/// The names of [`LegDrops::packets`].
const DROP_NAMES: [&str; DROPS] = {
    let mut names = [""; DROPS];
    let mut at = 0;
    while at < DROPS {
        names[at] = Drop::ALL[at].name();
        at += 1;
    }
    names
};

/// The names of [`Losses::packets`].
const LOSS_NAMES: [&str; LOSSES] = {
    let mut names = [""; LOSSES];
    let mut at = 0;
    while at < LOSSES {
        names[at] = Loss::ALL[at].name();
        at += 1;
    }
    names
};

const fn size_of_field<R, F>(_: fn(&R) -> &F) -> usize {
    size_of::<F>()
}

/// FNV-1a.
const fn hash(records: &[Record]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut record = 0;
    while record < records.len() {
        let Record { name, size, fields } = records[record];
        hash = number(text(hash, name), size);
        let mut field = 0;
        while field < fields.len() {
            let Field { name, offset, size, elements } = fields[field];
            hash = number(number(text(hash, name), offset), size);
            let mut element = 0;
            while element < elements.len() {
                hash = text(hash, elements[element]);
                element += 1;
            }
            field += 1;
        }
        record += 1;
    }
    hash
}

const fn text(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = step(hash, bytes[at] as u64);
        at += 1;
    }
    step(hash, 0)
}

const fn number(hash: u64, number: usize) -> u64 {
    step(hash, number as u64)
}

const fn step(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of each layout that was released, and of the one to come, which is the last.
    const KNOWN: &[(u32, u64)] = &[(1, 0x76ae_ed2b_a65b_8b98)];

    #[test]
    fn a_record_that_changed_has_a_new_layout_number() {
        let (number, hash) = *KNOWN.last().unwrap();
        assert_eq!(
            (LAYOUT, HASH),
            (number, hash),
            "a record that outlives the process has changed to {HASH:#x}: if layout {number} was released, raise \
             LAYOUT and add a line here; else change its line"
        );
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
    }

    #[test]
    fn fields_lie_within_their_records_and_do_not_overlap() {
        for record in RECORDS {
            let mut end = 0;
            let mut fields = record.fields.to_vec();
            fields.sort_unstable_by_key(|field| field.offset);
            for field in fields {
                assert!(field.offset >= end, "{} {}", record.name, field.name);
                end = field.offset + field.size;
            }
            assert!(end <= record.size, "{}", record.name);
        }
    }

    #[test]
    fn every_difference_changes_the_hash() {
        const FIELD: Field = Field { name: "packets", offset: 8, size: 16, elements: &["a", "b"] };
        let hash_of = |field: Field| {
            let fields: &'static [Field] = Box::leak(Box::new([field]));
            hash(&[Record { name: "Traffic", size: 24, fields }])
        };
        for other in [
            Field { name: "packet", ..FIELD },
            Field { offset: 0, ..FIELD },
            Field { size: 8, ..FIELD },
            Field { elements: &["b", "a"], ..FIELD },
        ] {
            assert_ne!(hash_of(other), hash_of(FIELD), "{other:?}");
        }
    }
}
