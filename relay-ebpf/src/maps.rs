//! The maps that both halves share. Capacities are set by the user half when it loads the program.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, CpuMap, DevMap, HashMap, PerCpuArray, ProgramArray, RingBuf, SockMap, XskMap},
};
use relay_common::address::Ipv6;
use relay_common::device::{DeviceKey, SlotKey};
use relay_common::fan_out::{self, Block, Bulk, FanDevice, Group, Losses, Queue, Receiver, Turn};
use relay_common::kernel_path;
use relay_common::leg::{Addresses6, Admission, HINTS, Leg, LegDrops, LegHint, Traffic};
use relay_common::limits;
use relay_common::next_hop::NextHop;
use relay_common::police::Police;
use relay_common::punt;
use relay_common::quality::Quality;
use relay_common::retag::{PayloadMap, Retag};
use relay_common::tap::{self, Tapped};
use relay_common::user_traffic::UserTraffic;
use relay_common::verdict::PASSES;

/// Index of the first leg of each bucket, 0 for none.
#[map]
pub(crate) static LEG_BUCKETS: Array<[u32; limits::BUCKETS_PER_RECORD as usize]> =
    Array::with_max_entries(limits::LEG_BUCKETS / limits::BUCKETS_PER_RECORD, BPF_F_MMAPABLE);

/// Where legs probably lie, by [`LegHint::place`].
#[map]
pub(crate) static LEG_HINTS: Array<LegHint> = Array::with_max_entries(HINTS, BPF_F_MMAPABLE);

/// The legs; index 0 is never used.
#[map]
pub(crate) static LEGS: Array<Leg> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The rest of the legs, by the same index.
#[map]
pub(crate) static ADMISSIONS: Array<Admission> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What was sent on, by leg and CPU: see `relay_common::leg::traffic_index`.
#[map]
pub(crate) static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What was not, by the index of the leg; index 0 counts for ports that no leg has.
#[map]
pub(crate) static LEG_DROPS: Array<LegDrops> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The IPv6 addresses of the legs, by the same index.
#[map]
pub(crate) static ADDRESSES6: Array<Addresses6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How packets are retagged, by the same index.
#[map]
pub(crate) static RETAGS: Array<Retag> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Tables of payload types, by the number that a retag names.
#[map]
pub(crate) static PAYLOAD_MAPS: Array<PayloadMap> =
    Array::with_max_entries(limits::PAYLOAD_MAPS, BPF_F_MMAPABLE);

/// Limits of the legs, by the same index.
#[map]
pub(crate) static POLICE: Array<Police> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Loss and jitter, by leg and CPU: see `relay_common::leg::traffic_index`.
#[map]
pub(crate) static QUALITY: Array<Quality> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Which ports are ours: a bit each.
#[map]
pub(crate) static PORT_RANGES: Array<u64> = Array::with_max_entries(limits::PORT_WORDS, BPF_F_MMAPABLE);

/// Our own addresses; those of IPv4 as ::ffff:a.b.c.d.
#[map]
pub(crate) static LOCAL_ADDRESSES: HashMap<Ipv6, u32> = HashMap::with_max_entries(limits::LOCAL_ADDRESSES, 0);

/// Next hops; index 0 is never used.
#[map]
pub(crate) static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(limits::NEXT_HOPS, BPF_F_MMAPABLE);

/// Egress devices, by the slot that next hops name.
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(limits::DEVICES, 0);

/// Packets that went to the kernel, by reason.
#[map]
pub(crate) static PASSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(PASSES as u32, 0);

/// The relay's own sockets for what the network stack receives: see `relay_common::kernel_path`.
#[map]
pub(crate) static KERNEL_PATH: SockMap = SockMap::with_max_entries(kernel_path::SOCKETS, 0);

/// What the user half should know of.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENT_RING_BYTES, 0);

/// Copies of packets: see `relay_common::tap`.
#[map]
pub(crate) static TAPS: RingBuf = RingBuf::with_byte_size(tap::RING_BYTES, 0);

/// Whose packets are copied, by `relay_common::tap::tap_key`.
#[map]
pub(crate) static TAPPED: HashMap<u32, Tapped> = HashMap::with_max_entries(tap::TAPS, 0);

/// AF_XDP sockets for packets that user space must see, by `relay_common::punt::socket_index`.
#[map]
pub(crate) static PUNTS: XskMap = XskMap::with_max_entries(punt::SOCKETS, 0);

/// The slot in `DEVICES` of each interface that the program runs on, by the interface's index.
#[map]
pub(crate) static DEVICE_SLOTS: HashMap<u32, u32> = HashMap::with_max_entries(limits::DEVICES, 0);

/// What user space sent on, by the slot of the leg. The program never looks at it; it is here to live as long as what
/// the program counts.
#[map]
pub(crate) static USER_TRAFFIC: Array<UserTraffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Frames that the ring of one of our devices did not take. The program that counts runs for every device of the machine;
/// ours are those that the user half enters.
#[map]
pub(crate) static REFUSED: HashMap<DeviceKey, u64> = HashMap::with_max_entries(limits::DEVICES, 0);

/// Frames that never reached the ring of the device in this slot of `DEVICES`.
#[map]
pub(crate) static UNSENT: HashMap<SlotKey, u64> = HashMap::with_max_entries(limits::DEVICES, 0);

/// Groups, by the index of the leg that their packets arrive on.
#[map]
pub(crate) static GROUPS: Array<Group> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Blocks of groups; index 0 is never used.
#[map]
pub(crate) static BLOCKS: Array<Block> = Array::with_max_entries(fan_out::BLOCKS, BPF_F_MMAPABLE);

/// Where the packets of receivers go, by the index of their legs.
#[map]
pub(crate) static RECEIVERS: Array<Receiver> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What was sent to receivers, by leg and CPU: see `relay_common::leg::traffic_index`.
#[map]
pub(crate) static RECEIVER_TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What was not, by leg.
#[map]
pub(crate) static RECEIVER_LOSSES: Array<Losses> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What devices take, by their slot.
#[map]
pub(crate) static FAN_DEVICES: Array<FanDevice> = Array::with_max_entries(limits::DEVICES, BPF_F_MMAPABLE);

/// The queues before the broadcast, by CPU.
#[map]
pub(crate) static FAN_CPUS: CpuMap = CpuMap::with_max_entries(1, 0);

/// How many packets wait in each of them, by CPU.
#[map]
pub(crate) static FAN_QUEUES: Array<Queue> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the queues hand packets to. The program of a queue cannot be replaced without another queue beside it, and so another
/// order of packets; this can.
#[map]
pub(crate) static FAN_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(fan_out::PROGRAMS, 0);

/// Device maps that make copies, by `relay_common::fan_out::fan_index`.
#[btf_map]
pub(crate) static FANS: btf_maps::ArrayOfMaps<btf_maps::DevMap<1>, { fan_out::FANS as usize }> =
    btf_maps::ArrayOfMaps::new();

/// Broadcasts of each CPU.
#[map]
pub(crate) static BROADCASTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Whose turn it is, by the slot of the device.
#[map]
pub(crate) static TURNS: PerCpuArray<Turn> = PerCpuArray::with_max_entries(limits::DEVICES, 0);

/// Whom the copies of the batch are for that is being handed to a device.
#[map]
pub(crate) static BULKS: PerCpuArray<Bulk> = PerCpuArray::with_max_entries(1, 0);

/// Records of `LEGS`. Set by the user half when it loads the program; a constant for the verifier.
#[unsafe(no_mangle)]
static LEG_SLOTS: u32 = 1;

/// Records of `LEGS`.
#[inline(always)]
pub(crate) fn leg_slots() -> u32 {
    // SAFETY: a static of ours; volatile, because its value is not the one that the compiler sees.
    unsafe { core::ptr::read_volatile(&raw const LEG_SLOTS) }
}

/// Buckets of `LEG_BUCKETS` less one. Set like `LEG_SLOTS`.
#[unsafe(no_mangle)]
static BUCKET_MASK: u32 = limits::LEG_BUCKETS - 1;

/// Buckets of `LEG_BUCKETS` less one.
#[inline(always)]
pub(crate) fn bucket_mask() -> u32 {
    // SAFETY: as in `leg_slots`.
    unsafe { core::ptr::read_volatile(&raw const BUCKET_MASK) }
}
