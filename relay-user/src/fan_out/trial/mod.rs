//! Before the first group the kernel is tried, on a pair of devices of our own: does it make copies as the programs need them?
//! They count turns, so every copy must be there, in the order of the seats, carry what stands in front of the frame, and have
//! bytes of its own. No kernel promises that; this one has kept it, or copies are made in another way.

mod judge;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use relay_common::byte_order::{Be16, Be32};
use relay_common::fan_out::{Block, FanDevice, Metadata, Receiver, SEATS, Witnessed};
use relay_common::leg::{Destination, Route};
use relay_common::next_hop::NextHop;

use super::pair::{Pair, Purpose};
use super::{FanOutError, LINK_HEADERS, devices};
use crate::LoadError;
use crate::kernel::{Capacity, TrialKernel};

/// Packets that are copied together: more copies than a batch of a device, and fewer than its ring has places, so that all come
/// however late the ring is read.
const TOGETHER: u32 = 4;
/// How often, on each CPU.
const TIMES: u32 = 4;
const PACKETS: u32 = TOGETHER * TIMES;
/// Longest that the copies of packets may take. They take less than a millisecond on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether they are there.
const LOOK: Duration = Duration::from_millis(1);

/// Where a packet starts that is to be copied: a block without receivers that leads to the first.
const START: u32 = 1;
/// The blocks that are served.
const BLOCKS: [u32; 2] = [2, 3];
/// The only next hop, and the slot of its device.
const HOP: u32 = 1;
const DEVICE: u32 = 0;
const MTU: u32 = 1_500;

/// A kernel that makes copies on devices of our own.
struct Trial {
    kernel: TrialKernel,
    _egress: Pair,
    _further: Pair,
}

/// Tries the kernel on the first and the last of these CPUs, in the network namespace of the calling thread.
///
/// # Errors
/// The kernel makes copies otherwise, or refused something.
pub(super) fn run(interface: u32, cpus: &[u32]) -> Result<(), FanOutError> {
    let mut trial = Trial::prepare(interface, cpus)?;
    let (first, last) = (cpus.first(), cpus.last().filter(|_| cpus.len() > 1));
    for cpu in first.into_iter().chain(last) {
        let copies = trial.copies(*cpu, BLOCKS.len() * SEATS)?;
        judge::judge(&copies, PACKETS, &BLOCKS).map_err(FanOutError::Untrusted)?;
    }
    Ok(())
}

impl Trial {
    /// Makes devices and a group of two blocks whose seats are all taken.
    fn prepare(interface: u32, cpus: &[u32]) -> Result<Self, FanOutError> {
        let failed = |error: LoadError| FanOutError::Programs(error.into());
        let highest = cpus.iter().max().map_or(1, |cpu| cpu + 1);
        let seats = BLOCKS.len() * SEATS;
        let legs = u32::try_from(seats).unwrap_or(u32::MAX);
        let kernel = TrialKernel::load(Capacity::new(legs, highest)).map_err(failed)?;
        let programs = kernel.fan_out.programs.as_ref().map_err(|_| FanOutError::NoDevice)?;
        let egress = Pair::make(Purpose::Trial, interface, 1, kernel.witness.as_fd(), None)?;
        let further =
            Pair::make(Purpose::TrialFurther, interface, cpus.len(), programs.further.as_fd(), None)?;
        devices::hand_over(kernel.fan_out.program_slots.as_fd(), programs)?;
        devices::make_queues(kernel.fan_out.queues.as_fd(), cpus, programs)?;
        devices::make_fans(kernel.fan_out.fans.as_fd(), DEVICE, egress.near, further.near, programs)?;
        let trial = Self { kernel, _egress: egress, _further: further };
        trial.seat_receivers();
        Ok(trial)
    }

    fn seat_receivers(&self) {
        let maps = &self.kernel.fan_out;
        self.kernel.next_hops.write(HOP, NextHop::resolved([2; 6], [6; 6], DEVICE, MTU));
        maps.devices.write(DEVICE, FanDevice { largest: MTU + LINK_HEADERS, reserved: 0 });
        for block in BLOCKS {
            for receiver in receivers(block) {
                maps.receivers.write(
                    receiver,
                    Receiver {
                        destination: Destination::new(Be32::new(receiver), port(receiver), Be16::new(1)),
                        origin: Be32::new(1),
                        route: Route::new(HOP, 0),
                        ..Receiver::default()
                    },
                );
            }
        }
    }

    /// Has packets copied by a CPU; what came out. So many copies of each are waited for.
    fn copies(&mut self, cpu: u32, copies: usize) -> Result<Vec<Witnessed>, FanOutError> {
        let blocks = &self.kernel.fan_out.blocks;
        let next = |block| BLOCKS.into_iter().find(|other| *other > block).unwrap_or(0);
        blocks.write(START, Block { next: next(START), cpu, ..Block::default() });
        for block in BLOCKS {
            let mut seats = [0; SEATS];
            for (seat, receiver) in seats.iter_mut().zip(receivers(block)) {
                *seat = receiver;
            }
            let all = u32::try_from(SEATS).unwrap_or(0);
            blocks.write(
                block,
                Block {
                    seats: all,
                    next: next(block),
                    device: DEVICE,
                    cpu,
                    receivers: seats,
                    ..Block::default()
                },
            );
        }
        let waiting = Metadata::further(0, START, 0, 0);
        let mut came = Vec::new();
        for time in 1..=TIMES {
            self.kernel
                .send(waiting, &frame(), TOGETHER)
                .map_err(|error| FanOutError::Programs(error.into()))?;
            let expected = (time * TOGETHER) as usize * copies;
            gather(&mut self.kernel.witnessed, expected, &mut came);
            if came.len() < expected {
                break;
            }
        }
        Ok(came)
    }
}

/// Reads what the witness tells, until it is all or time is over.
fn gather(ring: &mut RingBuf<MapData>, expected: usize, copies: &mut Vec<Witnessed>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        while let Some(item) = ring.next() {
            copies.extend(read(&item));
        }
        if copies.len() >= expected || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn read(item: &[u8]) -> Option<Witnessed> {
    let (number, rest) = item.split_first_chunk()?;
    let (block, rest) = rest.split_first_chunk()?;
    let (ports, _) = rest.split_first_chunk()?;
    Some(Witnessed {
        number: u64::from_ne_bytes(*number),
        block: u32::from_ne_bytes(*block),
        ports: Be32::from_wire(u32::from_ne_bytes(*ports)),
    })
}

/// The receivers in the seats of a block.
fn receivers(block: u32) -> impl Iterator<Item = u32> {
    let seats = u32::try_from(SEATS).unwrap_or(0);
    let first = block.saturating_sub(START + 1) * seats + 1;
    first..first + seats
}

/// The port of a receiver.
fn port(receiver: u32) -> Be16 {
    Be16::new(u16::try_from(receiver).unwrap_or(u16::MAX))
}

/// An RTP packet without payload, over IPv4; its checksums are of no interest here.
fn frame() -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame[38..40].copy_from_slice(&[0, 20]);
    frame[42] = 0x80;
    frame
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use relay_common::fan_out::fan_index;
    use relay_common::verdict::Loss;
    use testbed::Namespace;

    use super::*;
    use crate::kernel::bpf::{self, MapShape};
    use crate::netlink::Queries;

    const INTERFACE: u32 = 7;
    const CPU: u32 = 0;

    /// In a network namespace of its own.
    fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        let namespace = Namespace::create("trial").expect("this test takes root and iproute2");
        namespace.run(test).unwrap()
    }

    impl Trial {
        /// Has the first block served by a device map that makes so many copies; `program` runs for each.
        fn serve_first_block_by(&self, copies: u32, program: i32) {
            let seats = u32::try_from(SEATS).unwrap();
            let entries = copies + 1;
            let map =
                bpf::create_map("FAN", MapShape { kind: bpf::DEVMAP, key: 4, value: 8, entries, flags: 0 })
                    .unwrap();
            for entry in 0..copies {
                bpf::enter(map.as_fd(), &entry, &(self._egress.near, program)).unwrap();
            }
            bpf::enter(map.as_fd(), &copies, &(self._further.near, 0)).unwrap();
            let descriptor = u32::try_from(map.as_raw_fd()).unwrap();
            let fans = self.kernel.fan_out.fans.as_fd();
            bpf::enter_all(fans, &[fan_index(DEVICE, seats, true)], &[descriptor]).unwrap();
        }
    }

    #[test]
    fn this_kernel_can_be_trusted_and_no_device_is_left() {
        alone(|| {
            run(INTERFACE, &devices::online_cpus().unwrap()).unwrap();
            let mut queries = Queries::open().unwrap();
            for end in ["a", "b", "c", "d", "e", "f"] {
                assert_eq!(queries.link_index(&format!("fan{INTERFACE}{end}")).unwrap(), None);
            }
        });
    }

    #[test]
    fn copies_that_no_program_sees_are_found_out() {
        let error = alone(|| {
            let mut trial = Trial::prepare(INTERFACE, &[CPU]).unwrap();
            let seats = u32::try_from(SEATS).unwrap();
            trial.serve_first_block_by(seats, 0);
            judge::judge(&trial.copies(CPU, BLOCKS.len() * SEATS).unwrap(), PACKETS, &BLOCKS).unwrap_err()
        });
        assert_eq!(error, "copy 0 of a packet has the headers of receiver 0, not 1");
    }

    /// As when the kernel has no memory for a copy: it leaves out the rest of them.
    #[test]
    fn copies_that_are_missing_are_counted_and_the_next_packet_is_right() {
        const MADE: u32 = 7;
        alone(|| {
            let mut trial = Trial::prepare(INTERFACE, &[CPU]).unwrap();
            let deliver = trial.kernel.fan_out.programs.as_ref().unwrap().deliver.as_raw_fd();
            trial.serve_first_block_by(MADE, deliver);
            let copies = trial.copies(CPU, MADE as usize + SEATS).unwrap();
            let of =
                |receiver: u32| copies.iter().filter(|copy| copy.ports.get() & 0xffff == receiver).count();
            let losses =
                |receiver: u32| trial.kernel.fan_out.losses.read(receiver).packets[Loss::Incomplete as usize];
            for (at, receiver) in receivers(BLOCKS[0]).enumerate() {
                let expected = if at < MADE as usize { (PACKETS, 0) } else { (0, PACKETS) };
                assert_eq!((of(receiver), losses(receiver)), (expected.0 as usize, u64::from(expected.1)));
            }
            for receiver in receivers(BLOCKS[1]) {
                assert_eq!((of(receiver), losses(receiver)), (PACKETS as usize, 0));
            }
        });
    }
}
