//! Frames that the program had sent on, and that the egress device did not take. The XDP program has long ended then, so
//! these are programs of their own, on the tracepoints where the kernel tells of it.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::RawTracePointContext;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use relay_common::device::{DeviceKey, DeviceOffsets, SlotKey};

use crate::fan_out::losses;
use crate::maps;

/// Where the kernel keeps what is read here. Set by the user half when it loads the program.
#[unsafe(no_mangle)]
static DEVICE_OFFSETS: DeviceOffsets = DeviceOffsets { interface: 0, namespace: 0, cookie: 0 };

/// `xdp_devmap_xmit(from, to, sent, drops, error)`: a batch of frames was handed to the ring of a device. Runs for each
/// batch of the whole machine, so the usual case ends at once.
#[inline(always)]
pub(crate) fn by_ring(ctx: &RawTracePointContext) {
    let refused = match losses::settle(ctx) {
        // What the program that gave copies their headers dropped is in the kernel's number, and was counted there.
        Some(copies) => copies,
        None => {
            let drops: i32 = ctx.arg(3);
            if drops < 0 { 0 } else { drops as u64 }
        }
    };
    if refused == 0 {
        return;
    }
    let device: *const u8 = ctx.arg(1);
    let Some(key) = key(device) else { return };
    add(&maps::REFUSED, &key, refused);
}

/// `xdp_redirect_err(from, program, target, error, map type, map, index)`: a frame never reached a device's ring.
#[inline(always)]
pub(crate) fn before_ring(ctx: &RawTracePointContext) {
    let (map, slot): (u32, u32) = (ctx.arg(5), ctx.arg(6));
    add(&maps::UNSENT, &SlotKey { map, slot }, 1);
}

/// The namespace and index of the kernel's `net_device`.
#[inline(always)]
fn key(device: *const u8) -> Option<DeviceKey> {
    // SAFETY: a static of ours; volatile, because its value is not the one that the compiler sees.
    let offsets = unsafe { core::ptr::read_volatile(&raw const DEVICE_OFFSETS) };
    // SAFETY: the helper checks every address itself, and fails for one that cannot be read.
    let (interface, cookie) = unsafe {
        let interface = bpf_probe_read_kernel(device.add(offsets.interface as usize).cast::<u32>()).ok()?;
        let net = bpf_probe_read_kernel(device.add(offsets.namespace as usize).cast::<*const u8>()).ok()?;
        (interface, bpf_probe_read_kernel(net.add(offsets.cookie as usize).cast::<u64>()).ok()?)
    };
    Some(DeviceKey::new(cookie, interface))
}

/// Counts, if it is one of the relay's own devices.
#[inline(always)]
fn add<K>(counters: &HashMap<K, u64>, key: &K, frames: u64) {
    let Some(counter) = counters.get_ptr_mut(key) else { return };
    // SAFETY: the map's own aligned word; every writer on every CPU adds atomically.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, frames) };
}
