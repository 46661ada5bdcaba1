//! Tests of the table of next hops, without a kernel.

use super::*;
use crate::netlink::Vlan;

const INTERFACE: u32 = 3;
const SLOT: u32 = 5;
const VLAN_100: u32 = 30;
const VLAN_100_7: u32 = 31;

fn via() -> Via {
    Via { interface: INTERFACE, address: "10.0.0.9".parse().unwrap(), tags: Tags::NONE }
}

fn via6() -> Via {
    Via { address: "fe80::9".parse().unwrap(), ..via() }
}

fn link(mtu: u32, mac: u8) -> Link {
    Link { index: INTERFACE, name: "eth0".into(), ethernet: true, up: true, mac: [mac; 6], mtu, vlan: None }
}

fn vlan(index: u32, parent: u32, tag: Tag) -> Link {
    Link {
        index,
        name: format!("eth0.{index}"),
        mac: [9; 6],
        vlan: Some(Vlan { parent, tag }),
        ..link(1500, 1)
    }
}

fn neighbour(via: Via, state: NeighbourState) -> Neighbour {
    Neighbour { interface: via.interface, address: via.address, state }
}

fn known(via: Via, mac: u8) -> Neighbour {
    neighbour(via, NeighbourState::Known([mac; 6]))
}

fn hops() -> NextHops {
    let mut hops = NextHops::new(SharedArray::in_memory(4), HashMap::from([(INTERFACE, SLOT)]));
    hops.link_changed(link(1500, 1));
    hops
}

#[test]
fn a_next_hop_is_resolved_once_its_neighbour_is_known() {
    for via in [via(), via6()] {
        let mut hops = hops();
        let index = hops.acquire(via).unwrap();
        assert!(!hops.is_resolved(index));
        assert_eq!(hops.to_confirm(false), [via.neighbour()]);
        hops.neighbour_changed(&known(via, 2));
        assert_eq!(hops.shared.read(index), NextHop::resolved([2; 6], [1; 6], SLOT, 1500));
        assert!(hops.to_confirm(false).is_empty());
        assert_eq!(hops.to_confirm(true), [via.neighbour()]);
        hops.neighbour_changed(&neighbour(via, NeighbourState::Failed));
        assert!(!hops.is_resolved(index));
    }
}

#[test]
fn a_neighbour_that_is_known_before_is_resolved_at_once() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    let index = hops.acquire(via()).unwrap();
    assert!(hops.is_resolved(index));
}

#[test]
fn a_neighbour_that_the_kernel_gave_up_on_is_remembered_until_it_answers() {
    let mut hops = hops();
    let index = hops.acquire(via()).unwrap();
    hops.neighbour_changed(&neighbour(via(), NeighbourState::Failed));
    assert!(hops.has_failed(via().neighbour()) && !hops.is_resolved(index));
    assert_eq!(hops.to_confirm(false), [via().neighbour()], "it is asked for again");
    hops.neighbour_changed(&known(via(), 2));
    assert!(!hops.has_failed(via().neighbour()) && hops.is_resolved(index));
}

#[test]
fn a_neighbour_in_use_that_the_kernel_forgets_holds_until_it_is_known_otherwise() {
    let mut hops = hops();
    let forgotten = neighbour(via(), NeighbourState::Unknown);
    hops.neighbour_changed(&known(via(), 2));
    assert!(!hops.neighbour_changed(&forgotten), "nobody uses it");
    hops.neighbour_changed(&known(via(), 2));
    let index = hops.acquire(via()).unwrap();
    assert!(hops.neighbour_changed(&forgotten), "it is to be asked for");
    assert!(hops.is_resolved(index));
    assert_eq!(hops.to_confirm(false), [via().neighbour()], "and again, until it is known");
    hops.neighbour_changed(&known(via(), 3));
    assert!(hops.to_confirm(false).is_empty());
    assert_eq!(hops.shared.read(index), NextHop::resolved([3; 6], [1; 6], SLOT, 1500));

    hops.neighbour_changed(&forgotten);
    hops.neighbour_changed(&neighbour(via(), NeighbourState::Failed));
    assert!(!hops.is_resolved(index), "it does not answer");

    hops.neighbour_changed(&known(via(), 3));
    hops.neighbour_changed(&forgotten);
    hops.release(index);
    let again = hops.acquire(via()).unwrap();
    assert!(!hops.is_resolved(again), "without users it is forgotten, too");
}

#[test]
fn a_device_that_changes_changes_its_next_hops() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    let index = hops.acquire(via()).unwrap();
    assert!(!hops.link_changed(link(9000, 7)), "routes stay where they are");
    assert_eq!(hops.shared.read(index), NextHop::resolved([2; 6], [7; 6], SLOT, 9000));
    hops.link_gone(INTERFACE);
    assert_eq!(hops.shared.read(index).state, NO_DEVICE);
}

#[test]
fn a_device_that_is_down_is_no_way_out_until_it_is_up() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    let index = hops.acquire(via()).unwrap();
    assert!(hops.link_changed(Link { up: false, ..link(1500, 1) }), "routes may change");
    assert_eq!(hops.shared.read(index).state, NO_DEVICE);
    assert_eq!(hops.acquire(via()), Err(NextHopError::Down { name: "eth0".into() }));
    assert!(hops.link_changed(link(1500, 1)));
    assert!(hops.is_resolved(index));
}

#[test]
fn a_device_that_is_made_again_needs_the_program_again() {
    let mut hops = hops();
    let index = hops.acquire(via()).unwrap();
    hops.link_gone(INTERFACE);
    let again = Via { interface: 77, ..via() };
    hops.link_changed(Link { index: 77, ..link(1500, 1) });
    let error = NextHopError::NotAttached { interface: 77, name: Some("eth0".into()) };
    assert_eq!(hops.acquire(again), Err(error));
    hops.attached(77, SLOT);
    hops.neighbour_changed(&known(again, 3));
    let new = hops.acquire(again).unwrap();
    assert_ne!(new, index);
    assert_eq!(hops.shared.read(new), NextHop::resolved([3; 6], [1; 6], SLOT, 1500));
}

#[test]
fn one_neighbour_is_one_record_until_its_last_user_leaves() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    let index = hops.acquire(via()).unwrap();
    assert_eq!(hops.acquire(via()), Ok(index));
    hops.release(index);
    assert!(hops.is_resolved(index));
    hops.release(index);
    assert!(!hops.is_resolved(index), "nobody uses it");
    assert_eq!(hops.via(index), None);
    assert!(hops.to_confirm(true).is_empty());
}

#[test]
fn the_table_is_bounded_and_its_records_are_used_again() {
    let mut hops = hops();
    assert_eq!(hops.capacity(), 2);
    let via = |last| Via { address: IpAddr::from([10, 0, 0, last]), ..via() };
    let first = hops.acquire(via(1)).unwrap();
    hops.acquire(via(2)).unwrap();
    assert_eq!(hops.acquire(via(3)), Err(NextHopError::Full));
    hops.release(first);
    assert_eq!(hops.acquire(via(3)), Ok(first));
}

#[test]
fn nowhere_is_never_resolved_and_never_given_away() {
    let mut hops = hops();
    assert_eq!(hops.shared.read(NOWHERE).state, NO_ROUTE);
    hops.release(NOWHERE);
    assert_ne!(hops.acquire(via()).unwrap(), NOWHERE);
    assert_eq!(hops.shared.read(NOWHERE).state, NO_ROUTE);
}

#[test]
fn a_device_without_the_program_is_refused_by_name() {
    let mut hops = hops();
    hops.link_changed(Link { index: 4, name: "eth1".into(), ..link(1500, 1) });
    let error = hops.acquire(Via { interface: 4, ..via() });
    assert_eq!(error, Err(NextHopError::NotAttached { interface: 4, name: Some("eth1".into()) }));
}

#[test]
fn what_is_read_anew_replaces_what_was_known() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    hops.neighbour_changed(&known(via6(), 2));
    let (index, index6) = (hops.acquire(via()).unwrap(), hops.acquire(via6()).unwrap());
    hops.read_anew(vec![link(1400, 1)], &[known(via6(), 4)]);
    assert_eq!(hops.to_confirm(false), [via().neighbour()], "the kernel knows its neighbour no more");
    assert_eq!(hops.shared.read(index), NextHop::resolved([2; 6], [1; 6], SLOT, 1400));
    assert_eq!(hops.shared.read(index6), NextHop::resolved([4; 6], [1; 6], SLOT, 1400));
    hops.read_anew(vec![], &[]);
    assert_eq!(hops.shared.read(index6).state, NO_DEVICE);
}

#[test]
fn a_vlan_device_is_its_parent_with_a_tag() {
    let mut hops = hops();
    hops.link_changed(vlan(VLAN_100, INTERFACE, Tag::vlan(100)));
    let via = Via { interface: VLAN_100, ..via() };
    hops.neighbour_changed(&known(via, 2));
    let index = hops.acquire(via).unwrap();
    let expected = NextHop::resolved([2; 6], [9; 6], SLOT, 1500);
    assert_eq!(hops.shared.read(index), NextHop { tags: Tags::one(Tag::vlan(100)).wire(), ..expected });
    hops.link_changed(Link { up: false, ..link(1500, 1) });
    assert_eq!(hops.shared.read(index).state, NO_DEVICE, "its parent is down");
}

#[test]
fn a_vlan_on_a_vlan_has_two_tags_and_room_for_one_less() {
    let mut hops = hops();
    hops.link_changed(vlan(VLAN_100, INTERFACE, Tag::service(100)));
    hops.link_changed(vlan(VLAN_100_7, VLAN_100, Tag { priority: 5, ..Tag::vlan(7) }));
    let via = Via { interface: VLAN_100_7, ..via() };
    hops.neighbour_changed(&known(via, 2));
    let index = hops.acquire(via).unwrap();
    let record = hops.shared.read(index);
    let bytes = record.tags.map(|tag| tag.wire().to_ne_bytes());
    assert_eq!(bytes, [[0x88, 0xa8, 0x00, 0x64], [0x81, 0x00, 0xa0, 0x07]]);
    assert_eq!(record.mtu, 1496);
    let told = Via { tags: Tags::one(Tag::vlan(8)), ..via };
    assert_eq!(hops.acquire(told), Err(NextHopError::TooManyTags));
}

#[test]
fn told_tags_are_a_next_hop_of_their_own_inside_those_of_the_device() {
    let mut hops = hops();
    hops.neighbour_changed(&known(via(), 2));
    let plain = hops.acquire(via()).unwrap();
    let told = hops.acquire(Via { tags: Tags::two(Tag::service(5), Tag::vlan(6)), ..via() }).unwrap();
    assert_ne!(plain, told);
    assert_eq!(hops.shared.read(plain).tags, Tags::NONE.wire());
    assert_eq!(hops.shared.read(told).tags, Tags::two(Tag::service(5), Tag::vlan(6)).wire());
    assert_eq!(hops.shared.read(told).mtu, 1496);
    hops.neighbour_changed(&known(via(), 8));
    assert_eq!(hops.shared.read(told).macs, hops.shared.read(plain).macs, "both follow the neighbour");
    hops.release(plain);
    hops.release(told);

    hops.link_changed(vlan(VLAN_100, INTERFACE, Tag::vlan(100)));
    let stacked = Via { interface: VLAN_100, tags: Tags::one(Tag::vlan(6)), ..via() };
    hops.neighbour_changed(&known(stacked, 2));
    let index = hops.acquire(stacked).unwrap();
    assert_eq!(hops.shared.read(index).tags, Tags::two(Tag::vlan(100), Tag::vlan(6)).wire());
}

#[test]
fn a_vlan_device_that_stands_on_itself_ends_nowhere() {
    let mut hops = hops();
    hops.link_changed(vlan(VLAN_100, VLAN_100, Tag::vlan(100)));
    assert_eq!(hops.acquire(Via { interface: VLAN_100, ..via() }), Err(NextHopError::TooManyTags));
    // And changing it ends.
    hops.link_changed(vlan(VLAN_100, VLAN_100, Tag::vlan(101)));
}
