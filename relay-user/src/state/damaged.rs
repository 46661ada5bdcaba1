//! Adoption of maps that hold anything: what a predecessor left, damaged in whatever way, word by word. Nothing may panic,
//! and what is adopted must be whole: known once, found by the program, and gone without a trace when it is removed. For
//! the property test and the fuzz target.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aya::Pod;
use relay_common::ledger::NeighbourRecord;
use relay_common::limits::BUCKETS_PER_RECORD;

use crate::counters::Counters;
use crate::error::InstallError;
use crate::fan_out::{FanOut, Reader, Records};
use crate::kernel::SharedArray;
use crate::leg::{LegId, LegSpec, RtcpMode, Sharing, SourcePolicy};
use crate::leg_table::LegTable;
use crate::limit::RateLimit;
use crate::netlink::Link;
use crate::next_hops::{NextHops, Via};
use crate::payload_maps::PayloadMaps;
use crate::plane::Memory;
use crate::retag::{Continuity, RetagSpec};
use crate::rtcp::Translator;
use crate::vlan::Tags;

use super::install::Prepared;
use super::{LegRecords, State};

/// Room for legs: more than are there.
const LEGS: u32 = 40;
const CPUS: u32 = 2;
const INTERFACE: u32 = 3;
/// Receivers of a group: more than a block has seats for.
const RECEIVERS: u16 = 18;
/// Bytes of one step: which map, which of its words, and what is written there.
const STEP: usize = 7;

/// The maps, which outlive a process.
struct Maps {
    memory: Memory,
    groups: Records,
    neighbours: SharedArray<NeighbourRecord>,
    /// Records of buckets that lead to a leg.
    used: Vec<u32>,
}

/// Damages maps with a few legs in them as `steps` say, whatever bytes they are, and adopts what is left.
///
/// # Errors
/// What is wrong with what was adopted, in words; or there is no memory.
pub(crate) fn adopt(steps: &[u8]) -> Result<(), String> {
    let mut maps = Maps::new().map_err(|error| error.to_string())?;
    let now = Instant::now();
    maps.fill(now)?;
    for step in steps.chunks_exact(STEP) {
        let [map, low, high, value @ ..] = step else { continue };
        let value = value.first_chunk().copied().map_or(0, u32::from_le_bytes);
        maps.damage(*map, u32::from(u16::from_le_bytes([*low, *high])), value);
    }
    let mut state = maps.state()?;
    let adopted = state.adopt(now);
    let distinct: HashSet<_> = adopted.iter().map(|id| id.slot).collect();
    if distinct.len() != adopted.len() || state.occupancy().0 != adopted.len() {
        return Err(format!("{adopted:?} were adopted, and {:?} are there", state.occupancy()));
    }
    maps.look_at_groups(&state)?;
    use_everything(&mut state, now);
    let later = now + Duration::from_secs(10);
    // A successor of the successor finds the same, and what was installed since.
    let distinct: HashSet<_> = state.specs().into_iter().map(|(id, _)| id.slot).collect();
    let members = groups_of(&state);
    drop(state);
    let mut state = maps.state()?;
    let again: HashSet<_> = state.adopt(later).into_iter().map(|id| id.slot).collect();
    if again != distinct {
        return Err(format!("{distinct:?} were there, and then {again:?} were adopted"));
    }
    if groups_of(&state) != members {
        return Err(format!("{members:?} were in groups, and then {:?} were", groups_of(&state)));
    }
    maps.look_at_groups(&state)?;
    let ids: Vec<_> = state.specs().into_iter().map(|(id, _)| id).collect();
    state.remove(&ids, later);
    let chains = (0..maps.memory.records.buckets.length()).filter(|at| maps.is_used(*at)).count();
    if chains != 0 || state.occupancy() != (0, LEGS as usize) {
        return Err(format!("{chains} records lead to legs after all were removed: {:?}", state.occupancy()));
    }
    let left = (0..LEGS).filter(|slot| maps.groups.head(*slot) != 0).count();
    if left != 0 || state.has_groups() {
        return Err(format!("{left} groups have blocks after all legs were removed"));
    }
    Ok(())
}

/// Who receives what, by slots.
fn groups_of(state: &State) -> BTreeMap<u32, Vec<u32>> {
    let slots = |ids: Vec<LegId>| ids.into_iter().map(|id| id.slot).collect();
    let groups = state.specs().into_iter().map(|(id, _)| (id.slot, slots(state.receivers(id))));
    groups.filter(|(_, receivers): &(u32, Vec<u32>)| !receivers.is_empty()).collect()
}

/// Asks everything that is asked of legs while media runs, and installs more.
fn use_everything(state: &mut State, now: Instant) {
    let later = now + Duration::from_secs(2);
    state.sample(0, later);
    for (id, _) in state.specs() {
        state.statistics(id, later);
        state.account(id, later);
        state.target(id);
        state.tags(id);
        state.stray(id);
        state.tap_points(id);
        if state.may_move(id).is_ok() {
            state.tell_remote(id, None);
        }
    }
    state.senders(0..LEGS as usize + 1);
    state.strayed();
    state.totals();
    // Whether they find a place is not the question.
    let _ = state.install(legs(Some(1)), later);
    for source in groups_of(state).into_keys() {
        let Some((id, _)) = state.specs().into_iter().find(|(id, _)| id.slot == source) else { continue };
        state.group(id);
        let receivers = state.receivers(id);
        state.remove(receivers.get(..1).unwrap_or_default(), later);
        if let Ok(more) = state.install(receivers_from(RECEIVERS, Some(1)), later) {
            let _ = state.join_group(id, &more, &[0], later);
        }
    }
}

/// Legs that receive what arrives on another, from this number on.
fn receivers_from(first: u16, hop: Option<u32>) -> Vec<Prepared> {
    let retag = RetagSpec::default().continuity(Continuity::Continue);
    let leg = |number: u16| {
        let [local, remote] = [[10, 0, 0, 1], [10, 0, 0, 9]].map(|address| (address, 6000 + number).into());
        Prepared { spec: LegSpec::new(local).remote(remote).retag(retag.clone()), hop, egress: None }
    };
    (first..first + RECEIVERS).map(leg).collect()
}

/// Legs of every kind: a call that is retagged, measured and limited, and a shared port with its legs.
fn legs(hop: Option<u32>) -> Vec<Prepared> {
    let leg = |local: &str, remote: &str| {
        let spec = LegSpec::new(local.parse().ok()?);
        Some(spec.remote(remote.parse().ok()?))
    };
    let retag = RetagSpec::default().ssrc(7).payload_type(96, 97).continuity(Continuity::Continue);
    let specs = [
        leg("10.0.0.1:4000", "10.0.0.9:5004").map(|spec| spec.quality(true).limit(RateLimit::packets(50))),
        leg("10.0.0.1:4002", "10.0.0.9:5006").map(|spec| spec.retag(retag).rtcp(RtcpMode::Terminate)),
        leg("[fd00::1]:4000", "[fd00::9]:5004")
            .map(|spec| spec.source(SourcePolicy::Learn).relearn_after(Duration::from_secs(1)).quality(true)),
        "10.0.0.1:4004".parse().ok().map(LegSpec::shared_port),
        leg("10.0.0.1:4004", "10.0.0.9:5008").map(|spec| spec.shared(Sharing::BySsrc).ssrc(1)),
        leg("10.0.0.1:4004", "10.0.0.9:5010").map(|spec| spec.shared(Sharing::BySource)),
    ];
    let egress = [Some(1), Some(0), Some(1), None, Some(5), Some(4)];
    let prepared = |(spec, egress): (LegSpec, _)| {
        let hop = hop.filter(|_| spec.shared != Sharing::Port);
        Prepared { spec, hop, egress }
    };
    specs.into_iter().flatten().zip(egress).map(prepared).collect()
}

impl Maps {
    fn new() -> std::io::Result<Self> {
        let memory = Memory::for_legs(LEGS, CPUS)?;
        let neighbours = SharedArray::anonymous(memory.records.next_hops.length())?;
        let groups = Records::for_legs(LEGS, CPUS)?;
        Ok(Self { memory, groups, neighbours, used: Vec::new() })
    }

    /// A process that has not adopted anything yet.
    ///
    /// # Errors
    /// There is no memory for what it keeps beside the maps.
    fn state(&self) -> Result<State, String> {
        let records = self.memory.records.clone();
        let (retags, quality) = (records.retags.clone(), records.quality.clone());
        let translator = Translator::new(retags, quality, records.admissions.clone());
        let table = LegTable::new(records.buckets, records.legs, records.admissions, None);
        let traffic = self.memory.traffic.clone();
        let counters = Counters::new(traffic, records.user_traffic, records.drops, table.slots(), CPUS);
        let ledger = self.memory.ledger.clone();
        let leg_records = LegRecords {
            addresses6: records.addresses6,
            retags: records.retags,
            police: records.police,
            quality: records.quality,
            ledger,
            translator: translator.map_err(|error| error.to_string())?,
        };
        let hops = NextHops::new(records.next_hops, HashMap::from([(INTERFACE, 0)]));
        let mut hops = hops.remembering(self.neighbours.clone());
        let name = "eth0".to_owned();
        let link =
            Link { index: INTERFACE, name, ethernet: true, up: true, mac: [1; 6], mtu: 1500, vlan: None };
        hops.read_anew(vec![link], &[]);
        let groups = FanOut::by_sockets(self.groups.clone(), table.slots(), CPUS, "a test");
        Ok(State::new(table, leg_records, counters, hops, PayloadMaps::new(records.payload_maps), groups))
    }

    /// A predecessor installs legs, and is killed.
    fn fill(&mut self, now: Instant) -> Result<(), String> {
        let mut state = self.state()?;
        let via = Via { interface: INTERFACE, address: [10, 0, 0, 9].into(), tags: Tags::NONE };
        let hop = state.next_hops.acquire(via).map_err(|error| format!("{error:?}"))?;
        let failed = |error: InstallError| error.to_string();
        let mut installed = state.install(legs(Some(hop)), now).map_err(failed)?;
        let camera: SocketAddr = ([10, 0, 0, 1], 4100).into();
        let camera = Prepared { spec: LegSpec::new(camera).remote(camera), hop: None, egress: None };
        let source = state.install(vec![camera], now).map_err(failed)?;
        let receivers = state.install(receivers_from(0, Some(hop)), now).map_err(failed)?;
        for source in &source {
            state.join_group(*source, &receivers, &[1], now).map_err(failed)?;
        }
        installed.extend(source.into_iter().chain(receivers));
        for id in installed {
            state.remember(id);
        }
        let all = 0..self.memory.records.buckets.length();
        self.used = all.filter(|at| self.is_used(*at)).collect();
        Ok(())
    }

    /// Writes one word of one map.
    fn damage(&self, map: u8, place: u32, value: u32) {
        let Memory { records, traffic, ledger } = &self.memory;
        match map % 18 {
            0..=2 => write(ledger, place, value),
            3 => {
                let at = self.used.get(place as usize / 4 % self.used.len().max(1)).copied().unwrap_or(0);
                let lane = place % BUCKETS_PER_RECORD;
                write(&records.buckets, at * BUCKETS_PER_RECORD + lane, value);
            }
            4 => write(&records.legs, place, value),
            5 => write(&records.admissions, place, value),
            6 => write(&self.neighbours, place % 64, value),
            7 => write(&records.next_hops, place % 64, value),
            8 => write(&records.quality, place, value),
            9 => write(traffic, place, value),
            10 => write(&records.drops, place, value),
            11..=16 => self.groups.damage(map % 18 - 11, place, value),
            _ => write(&records.payload_maps, place % 128, value),
        }
    }

    /// Whether the records of groups say what is known of them.
    fn look_at_groups(&self, state: &State) -> Result<(), String> {
        let reader = Reader::new(self.groups.clone(), 0);
        let mut served = BTreeMap::new();
        for slot in 0..LEGS {
            let mut receivers = Vec::with_capacity(reader.capacity());
            reader.list(slot, &mut receivers);
            if !receivers.is_empty() {
                served.insert(slot, receivers);
            }
        }
        let known = groups_of(state);
        if served == known {
            Ok(())
        } else {
            Err(format!("{known:?} are in groups, and {served:?} are served"))
        }
    }

    /// Whether a record of buckets leads anywhere.
    fn is_used(&self, at: u32) -> bool {
        let bucket = |lane| {
            let word = self.memory.records.buckets.word32(at, lane as usize * size_of::<u32>());
            word.load(std::sync::atomic::Ordering::Relaxed)
        };
        (0..BUCKETS_PER_RECORD).any(|lane| bucket(lane) != 0)
    }
}

/// Writes the word of this number, counted from the start of the array and around its end.
pub(crate) fn write<T: Pod>(array: &SharedArray<T>, place: u32, value: u32) {
    let words = u32::try_from(size_of::<T>() / size_of::<u32>()).unwrap_or(1);
    let at = (place / words).checked_rem(array.length()).unwrap_or(0);
    let word = array.word32(at, (place % words) as usize * size_of::<u32>());
    word.store(value, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_damaged_is_adopted_whole() {
        let mut maps = Maps::new().unwrap();
        maps.fill(Instant::now()).unwrap();
        let mut state = maps.state().unwrap();
        let expected = legs(None).len() + 1 + usize::from(RECEIVERS);
        assert_eq!(state.adopt(Instant::now()).len(), expected);
        assert_eq!(groups_of(&state).values().map(Vec::len).collect::<Vec<_>>(), [usize::from(RECEIVERS)]);
        adopt(&[]).unwrap();
    }

    /// A word that is small is an index or a flag, and says more than most.
    fn step() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![0_u32..16, Just(u32::MAX), any::<u32>()];
        (any::<u8>(), any::<u16>(), value)
            .prop_map(|(map, place, value)| [&[map][..], &place.to_le_bytes(), &value.to_le_bytes()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn whatever_is_damaged_what_is_adopted_is_whole(steps in prop::collection::vec(step(), 0..40)) {
            prop_assert_eq!(adopt(&steps.concat()), Ok(()));
        }
    }
}
