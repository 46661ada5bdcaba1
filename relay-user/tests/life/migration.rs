//! Running legs move to maps with more room, or of another layout.

use aya::maps::{Array, Map, MapData};
use testbed::Topology;

use crate::support::*;

/// Bytes of the header record, and where things are in it.
const HEADER: usize = 16 * 1024;
const LAYOUT: std::ops::Range<usize> = 12..16;
const HASH: std::ops::Range<usize> = 16..24;

#[test]
fn more_room_costs_no_packet_and_no_count() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    let media = Media::start(&topology);
    media.flows(5_000);
    holder.kill();
    media.flows(1_000);
    // So many legs take more buckets, too.
    let mut holder = Holder::start(&topology, &state.folder(), 40_000);
    assert_eq!(holder.adopted, 2);
    media.flows(5_000);
    let before = holder.legs();
    holder.end("leave");
    // And again, onto maps that carry counts of earlier ones; less is more than enough.
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    media.flows(1_000);

    let (sent, wrong) = media.stop();
    assert_eq!(wrong, [], "of {sent}");
    let after = holder.legs();
    assert!(after[0].forwarded > before[0].forwarded, "{before:?} {after:?}");
    assert_eq!((after[0].received, after[0].forwarded, after[0].dropped), (sent, sent, 0));
    assert_eq!((after[1].sent, after[0].owner), (sent, 7));
    assert!(!state.folder().join("next").exists());
}

#[test]
fn another_layout_is_understood_by_the_names_of_its_fields() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.call();
    let media = Media::start(&topology);
    media.flows(2_000);
    holder.end("leave");
    // As if version 0 had made it, in which nobody owned legs.
    std::fs::rename(state.folder().join("v1"), state.folder().join("v0")).unwrap();
    let pin = state.folder().join("v0/HEADER");
    let mut header: Array<_, [u8; HEADER]> = Map::Array(MapData::from_pin(&pin).unwrap()).try_into().unwrap();
    let mut record = header.get(&0, 0).unwrap();
    record[LAYOUT].fill(0);
    record[HASH].fill(0);
    let owner = record.windows(7).position(|text| text == b" owner ").unwrap();
    record[owner + 1] = b'O';
    header.set(0, record, 0).unwrap();

    let mut holder = Holder::start(&topology, &state.folder(), 64);
    assert_eq!(holder.adopted, 2);
    media.flows(2_000);
    let (sent, wrong) = media.stop();
    assert_eq!(wrong, [], "of {sent}");
    let legs = holder.legs();
    assert_eq!((legs[0].forwarded, legs[0].owner), (sent, 0), "{legs:?}");
    assert!(state.folder().join("v1").exists() && !state.folder().join("v0").exists());
}
