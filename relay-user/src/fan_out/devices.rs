//! What the kernel needs to copy packets: device maps whose entries all name the same device, queues, and the pair of devices
//! that leads from one block to the next. Everything here works in the network namespace of the calling thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use relay_common::fan_out::{BROADCAST, QUEUE, SEATS, fan_index};

use super::FanOutError;
use crate::kernel::FanOutPrograms;
use crate::kernel::bpf::{self, MapShape};

/// What the kernel says of itself.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// An element of a device map or a map of queues (`struct bpf_devmap_val`, `struct bpf_cpumap_val`).
#[repr(C)]
#[derive(Clone, Copy)]
struct WithProgram {
    /// The device, or the length of the queue.
    what: u32,
    /// A descriptor; none if it is not above 0.
    program: i32,
}

/// The CPUs that can copy packets.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn online_cpus() -> Result<Vec<u32>, FanOutError> {
    let failed = |source| FanOutError::Kernel { what: "reading which CPUs are online", source };
    let text = std::fs::read_to_string(ONLINE).map_err(failed)?;
    parse(&text).ok_or_else(|| failed(io::Error::other(format!("{ONLINE} says {text:?}"))))
}

/// A list like `0-3,5`.
fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

/// Makes a queue for each CPU that has none. One that a predecessor made stays: what waits there would come beside what waits in
/// another.
///
/// # Errors
/// The kernel refused.
pub(super) fn make_queues(
    queues: BorrowedFd<'_>,
    cpus: &[u32],
    programs: &FanOutPrograms,
) -> Result<(), FanOutError> {
    let failed = |source| FanOutError::Kernel { what: "making the queue before the broadcast", source };
    for cpu in cpus {
        let there = bpf::look_up::<[u32; 2]>(queues, cpu).map_err(failed)?;
        if there.is_none_or(|[length, _]| length == 0) {
            let value = WithProgram { what: QUEUE, program: programs.queue.as_raw_fd() };
            bpf::enter(queues, cpu, &value).map_err(failed)?;
        }
    }
    Ok(())
}

/// Has the queues hand packets to this broadcast: each packet goes to the one of until now, or to this.
///
/// # Errors
/// The kernel refused.
pub(super) fn hand_over(slots: BorrowedFd<'_>, programs: &FanOutPrograms) -> Result<(), FanOutError> {
    let program = programs.broadcast.as_raw_fd();
    bpf::enter(slots, &BROADCAST, &program)
        .map_err(|source| FanOutError::Kernel { what: "handing over to the broadcast", source })
}

/// Makes the device maps of one device: for each number of copies, with and without the way to the next block, which begins
/// at `near`.
///
/// # Errors
/// The kernel refused.
pub(super) fn make_fans(
    fans: BorrowedFd<'_>,
    slot: u32,
    interface: u32,
    near: u32,
    programs: &FanOutPrograms,
) -> Result<(), FanOutError> {
    let failed = |source| FanOutError::Kernel { what: "making a device map for copies", source };
    let seats = u32::try_from(SEATS).unwrap_or(u32::MAX);
    let mut indexes = Vec::new();
    let mut maps: Vec<OwnedFd> = Vec::new();
    for (copies, has_next) in (0..=seats).flat_map(|copies| [(copies, false), (copies, true)]) {
        let entries = copies + u32::from(has_next);
        if entries == 0 {
            continue;
        }
        let shape = MapShape { kind: bpf::DEVMAP, key: 4, value: 8, entries, flags: 0 };
        let map = bpf::create_map("FAN", shape).map_err(failed)?;
        let copy = WithProgram { what: interface, program: programs.deliver.as_raw_fd() };
        for entry in 0..copies {
            bpf::enter(map.as_fd(), &entry, &copy).map_err(failed)?;
        }
        if has_next {
            // Last: it takes the packet itself, when all copies are made.
            bpf::enter(map.as_fd(), &copies, &WithProgram { what: near, program: 0 }).map_err(failed)?;
        }
        indexes.push(fan_index(slot, copies, has_next));
        maps.push(map);
    }
    let descriptors: Vec<u32> = maps.iter().filter_map(|map| u32::try_from(map.as_raw_fd()).ok()).collect();
    // All at once, because the kernel waits for its programs after each call.
    bpf::enter_all(fans, &indexes, &descriptors).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse("0,2-4,7"), Some(vec![0, 2, 3, 4, 7]));
        assert_eq!(parse("none"), None);
    }
}
