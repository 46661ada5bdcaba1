//! Makes the scene of a frame: legs that are mostly the right ones, with every feature in every combination.

use relay_common::address::Ipv6;
use relay_common::byte_order::{Be16, Be32};
use relay_common::decide::Subject;
use relay_common::leg::{self, Addresses6, Admission, Destination, Leg, LegKey, Route, Source, route};
use relay_common::next_hop::{NO_DEVICE, NO_ROUTE, NextHop, RESOLVED};
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::{Offsets, Retag};

use super::random::Random;
use super::scene::{LEGS, Scene};

/// The addresses and ports that the templates have: the terminal's, and ours.
const SOURCE_V4: Be32 = Be32::new(0x0a4e_0102);
const LOCAL_V4: Be32 = Be32::new(0x0a4e_0101);
const SOURCE_V6: Ipv6 = v6(1, 2);
const LOCAL_V6: Ipv6 = v6(1, 1);
const SOURCE_PORT: Be16 = Be16::new(5004);
const LOCAL_PORT: Be16 = Be16::new(30000);
const SSRC: Be32 = Be32::new(0x1122_3344);
const SEQUENCE: u16 = 0x1234;
/// Number of the shared port.
const GROUP: u16 = 7;

const SECOND: u64 = 1_000_000_000;

/// fd78:net::host.
const fn v6(net: u32, host: u32) -> Ipv6 {
    Ipv6([Be32::new(0xfd78_0000 | net), Be32::new(0), Be32::new(0), Be32::new(host)])
}

/// Arranges the scene anew, but for the map of payload types.
#[inline(always)]
pub fn arrange(scene: &mut Scene, random: &mut Random) {
    scene.answers = [0; super::scene::ANSWERS];
    scene.event = 0;
    scene.subject = Subject::default();
    let r = random.next();
    scene.now = 1000 * SECOND + (r & 0xffff_ffff);
    scene.first = match r >> 32 & 31 {
        0 => 0,
        1 => 200,
        _ => 1,
    };
    scene.local = u32::from(r >> 40 & 3 == 0);
    // Leg 1 is of IPv4, leg 2 of IPv6, leg 3 one of a shared port; a chain may even be a circle.
    scene.legs[0] = Leg::default();
    scene.admissions[0] = Admission::default();
    scene.addresses[0] = Addresses6::default();
    for index in 1..LEGS {
        arrange_leg(scene, index, random);
    }
    scene.admissions[1].next = 2;
    scene.admissions[2].next = 3;
    scene.admissions[3].next = u32::from(r >> 48 & 15 == 0);
    scene.hop = hop(random);
    scene.police = police(scene.now, random);
    scene.quality = quality(scene.now, random);
    scene.retag = retag(random);
}

#[inline(always)]
fn arrange_leg(scene: &mut Scene, index: usize, random: &mut Random) {
    let r = random.next();
    let is_v6 = index == 2 || index == 3 && r & 1 == 1;
    let mine = if is_v6 { Source::v6(&SOURCE_V6, SOURCE_PORT) } else { Source::new(SOURCE_V4, SOURCE_PORT) };
    let key = match index {
        1 => LegKey::new(LOCAL_V4, LOCAL_PORT),
        2 => LegKey::v6(&LOCAL_V6, LOCAL_PORT),
        _ if r & 2 == 0 => LegKey::ssrc(GROUP, SSRC),
        _ => LegKey::source(GROUP, mine),
    };
    let source = match r >> 2 & 7 {
        0..5 => mine,
        5 => Source::new(Be32::new((r >> 5) as u32), SOURCE_PORT),
        _ => Source::NONE,
    };
    let wants_v6 = if is_v6 { r >> 6 & 3 != 0 } else { r >> 6 & 3 == 0 };
    let mut flags = (r >> 8) as u32 & (route::RETAGGED | route::MEASURED | route::POLICED);
    if wants_v6 {
        flags |= route::TO_V6;
    }
    if r & 7 << 40 == 0 && index != 3 {
        flags |= route::SHARED;
    }
    let next = if flags & route::SHARED != 0 { GROUP as u32 } else { u32::from(r & 15 << 44 != 0) };
    let ports = random.next();
    scene.legs[index] = Leg {
        key,
        source: source.word(),
        destination: Destination { address: Be32::new(0x0a4e_0202), ports: Be32::from_wire(ports as u32) },
        origin: Be32::new((ports >> 32) as u32),
        route: Route::new(next, flags),
    };
    scene.admissions[index] = Admission {
        next: 0,
        flags: (r >> 16) as u32 & 0x3f | leg::RTP,
        generation: 1,
        address: if r & 7 << 48 == 0 { LOCAL_V4 } else { SOURCE_V4 },
        ssrc: if r & 7 << 51 == 0 { Be32::new(5) } else { SSRC },
        payload_types: [ports as u32, (ports >> 32) as u32, if r & 3 << 54 == 0 { 0 } else { !0 }],
    };
    scene.addresses[index] = Addresses6 {
        // Wrong for one leg in eight. A constant would be copied by no instruction at all: docs/architecture.md, "Rooms".
        local: v6(1, if ports >> 61 == 0 { 9 } else { 1 }),
        source: match r >> 56 & 7 {
            0 => Ipv6::default(),
            1 => LOCAL_V6,
            _ => SOURCE_V6,
        },
        destination: v6(2, 2),
        origin: v6(2, ports as u32),
    };
}

#[inline(always)]
fn hop(random: &mut Random) -> NextHop {
    let (r, s) = (random.next(), random.next());
    let tag = |protocol: u32, control: u64| Be32::new(protocol << 16 | control as u32 & 0xffff);
    NextHop {
        macs: [Be32::from_wire(r as u32), Be32::from_wire(s as u32), Be32::from_wire((s >> 32) as u32)],
        device: 1,
        mtu: match r >> 32 & 15 {
            0 => 60,
            1 => 100,
            _ => 1500,
        },
        state: match r >> 36 & 31 {
            0 => 0,
            1 => NO_ROUTE,
            2 => NO_DEVICE,
            _ => RESOLVED,
        },
        tags: match r >> 41 & 7 {
            0 | 1 => [tag(0x8100, s), Be32::new(0)],
            2 => [tag(0x88a8, s), tag(0x8100, s >> 16)],
            _ => [Be32::new(0); 2],
        },
    }
}

#[inline(always)]
fn police(now: u64, random: &mut Random) -> Police {
    let (r, s) = (random.next(), random.next());
    // As far ahead of the clock as the burst allows, or behind, give or take.
    let near = |bits: u64| now - (20 << 20) + (bits & 0x3ff_ffff);
    Police {
        packet_cost: if r & 1 == 0 { 0 } else { (r >> 8) as u32 & 0xf_ffff },
        byte_cost: if r & 2 == 0 { 0 } else { (r >> 32) as u32 & 0xf_ffff },
        burst: 20_000_000,
        packets_until: if r & 4 == 0 { 0 } else { near(s) },
        bytes_until: if r & 8 == 0 { 0 } else { near(s >> 32) },
    }
}

#[inline(always)]
fn quality(now: u64, random: &mut Random) -> Quality {
    let (r, s, window) = (random.next(), random.next(), random.next());
    let highest = match r & 7 {
        // On both sides of every threshold, and around the wrap.
        0 => (r >> 8) as u16,
        1 => SEQUENCE.wrapping_sub(2990).wrapping_sub((r >> 8) as u16 & 31),
        2 => SEQUENCE.wrapping_add(90).wrapping_add((r >> 8) as u16 & 31),
        _ => SEQUENCE.wrapping_sub(64).wrapping_add((r >> 8) as u16 & 127),
    };
    Quality {
        ssrc: if r >> 3 & 7 == 0 { Be32::new(5) } else { SSRC },
        first: (r >> 24) as u16,
        highest,
        packets: if r >> 6 & 3 == 0 { 0 } else { s & 0xffff },
        reordered: (s >> 16) as u32 & 0xffff,
        duplicates: (s >> 32) as u32 & 0xffff,
        jitter: r >> 40,
        arrival: now - (s & 0x3fff_ffff),
        timestamp: (s >> 48) as u32,
        tick: if s & 3 == 0 { 0 } else { const { Quality::tick_of(90_000) } },
        window,
        expected_before: (window >> 32) as u32 & 0xffff,
        cycles: (window >> 16) as u16,
        restarts: window as u16 & 0xfff,
    }
}

#[inline(always)]
fn retag(random: &mut Random) -> Retag {
    let (r, s, t) = (random.next(), random.next(), random.next());
    let offsets = if r & 1 == 0 { Offsets::NONE } else { Offsets::new((s >> 32) as u16, s as u32) };
    Retag {
        offsets: offsets.word(),
        ssrc: Be32::from_wire((r >> 32) as u32),
        base_timestamp: t as u32,
        base_time: (t >> 32) as u32,
        clock: if r & 2 == 0 { 8_000 } else { 90_000 },
        base_sequence: (s >> 48) as u16,
        payload_map: 0,
        flags: (r >> 2) as u16 & 15,
        dscp: (r >> 8) as u8 & 63,
        reserved: 0,
    }
}
