//! A worker on rings in ordinary memory, with a kernel that we play: whatever both do, in whatever order, each frame is at
//! every moment in exactly one place, and packets are counted to the last. For the property test and the fuzz target.

mod decider;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use relay_common::punt::Metadata;
use relay_common::verdict::Loss;

use super::counters::PortCounters;
use super::frames::{Frames, Place};
use super::port::{Descriptor, Port, Rings, Wakeup};
use super::ring::{Consumer, Producer, simulated};
use super::umem::{HEADROOM, Umem};
use super::worker::{Ports, Worker};
use decider::Decider;

const PORTS: u16 = 3;
/// Small, so that rings are often full and often empty.
const RING: u32 = 8;
const FRAME_SIZE: usize = 2048;
/// Just before the indices wrap.
const FIRST_INDEX: u32 = u32::MAX - 20;

/// The kernel's answers to the next wakeups of a port, 0 for success.
#[derive(Debug, Default)]
struct Answers(VecDeque<i32>);

/// The kernel's ends of one port's rings.
struct KernelPort {
    fill: Consumer<u64>,
    completion: Producer<u64>,
    receive: Producer<Descriptor>,
    transmit: Consumer<Descriptor>,
    /// Frames on their way out.
    flying: VecDeque<u64>,
    counters: Arc<PortCounters>,
    misplaced: u64,
}

/// Wakeups only answer: what the kernel takes of a ring is a step of its own.
impl Wakeup for Answers {
    fn transmit(&mut self) -> io::Result<()> {
        match self.0.pop_front() {
            Some(number) if number != 0 => Err(io::Error::from_raw_os_error(number)),
            _ => Ok(()),
        }
    }
}

/// Plays `steps`, whatever bytes they are, and returns the first thing that is wrong.
///
/// # Errors
/// What is wrong, in words; or there is no memory.
pub(crate) fn play(steps: &[u8]) -> Result<(), String> {
    let (mut worker, mut kernel) = set_up().map_err(|error| error.to_string())?;
    let mut steps = steps.iter().copied();
    while let Some(step) = steps.next() {
        let Some(port) = kernel.get_mut(usize::from(step >> 4) % usize::from(PORTS)) else { continue };
        let mut more = || steps.next().unwrap_or(0);
        match step & 15 {
            0..=3 => deliver(&mut worker, port, more(), more(), more()),
            4..=6 => take(port, more()),
            7..=9 => complete(port, more()),
            10 => hand_back_what_it_does_not_have(&mut worker, port, more(), more()),
            11 => answer(&mut worker, usize::from(step >> 4) % usize::from(PORTS), more()),
            _ => {
                worker.turn();
            }
        }
        check(&worker, &kernel)?;
    }
    // Packets with many receivers take several turns.
    while worker.turn() > 0 {
        check(&worker, &kernel)?;
    }
    check(&worker, &kernel)?;
    for port in &kernel {
        let (counted, done) = (port.counters.misplaced.get(), port.misplaced);
        if counted != done {
            return Err(format!("{done} frames were handed back wrongly, {counted} were counted"));
        }
    }
    Ok(())
}

fn set_up() -> io::Result<(Worker<Answers, Decider>, Vec<KernelPort>)> {
    let count = u32::from(PORTS) * 2 * RING;
    let umem = Umem::new(count, FRAME_SIZE)?;
    // The devices of slots 0, 3 and 5 have a port each; there are no others.
    let mut egress = vec![None; 8];
    (egress[0], egress[3], egress[5]) = (Some(0), Some(1), Some(2));
    let mut ports = Ports { frames: Frames::new(count), ports: Vec::new(), egress };
    let mut kernel = Vec::new();
    for number in 0..PORTS {
        let (fill, kernel_fill) = simulated::ring(RING, FIRST_INDEX)?;
        let (kernel_completion, completion) = simulated::ring(RING, FIRST_INDEX)?;
        let (kernel_receive, receive) = simulated::ring(RING, FIRST_INDEX)?;
        let (transmit, kernel_transmit) = simulated::ring(RING, FIRST_INDEX)?;
        let counters = Arc::new(PortCounters::default());
        let rings = Rings { fill, completion, receive, transmit };
        ports.ports.push(Port::new(number, rings, Answers::default(), RING, Arc::clone(&counters)));
        kernel.push(KernelPort {
            fill: kernel_fill,
            completion: kernel_completion,
            receive: kernel_receive,
            transmit: kernel_transmit,
            flying: VecDeque::new(),
            counters,
            misplaced: 0,
        });
    }
    Ok((Worker::new(umem, ports, Decider::new()), kernel))
}

type Simulated = Worker<Answers, Decider>;

/// The kernel receives a packet into the next frame of the fill ring, as it does in copy mode.
fn deliver(worker: &mut Simulated, port: &mut KernelPort, decision: u8, device: u8, length: u8) {
    if port.receive.pending() == RING {
        return;
    }
    let Some(address) = port.fill.pop() else { return };
    port.fill.release();
    let start = address + HEADROOM as u64;
    let len = u32::from(length) * 6;
    let metadata = Metadata { leg: 1, generation: 1, reason: len, device: 0 };
    let bytes = worker.memory();
    // SAFETY: the frame is the kernel's, which we play, and lies in the UMEM: the address came from the fill ring.
    let frame = unsafe {
        std::slice::from_raw_parts_mut(bytes.add(usize::try_from(address).unwrap_or(0)), FRAME_SIZE)
    };
    frame[HEADROOM - Metadata::LENGTH..HEADROOM].copy_from_slice(&metadata.to_bytes());
    frame[HEADROOM..][..3].copy_from_slice(&[decision, device, length.reverse_bits()]);
    // Is not full, as just seen.
    let _ = port.receive.push(Descriptor { addr: start, len, options: 0 });
    port.receive.publish();
}

/// The kernel takes up to `count` packets of the TX ring.
fn take(port: &mut KernelPort, count: u8) {
    for _ in 0..count % 16 {
        let Some(descriptor) = port.transmit.pop() else { break };
        port.flying.push_back(descriptor.addr);
    }
    port.transmit.release();
}

/// The device is done with one of the packets, in any order.
fn complete(port: &mut KernelPort, which: u8) {
    let Some(at) = usize::from(which).checked_rem(port.flying.len()) else { return };
    let Some(address) = port.flying.swap_remove_back(at) else { return };
    if let Err(address) = port.completion.push(address) {
        port.flying.push_back(address);
    }
    port.completion.publish();
}

/// A broken kernel hands back a frame that it does not have, or that does not exist.
fn hand_back_what_it_does_not_have(worker: &mut Simulated, port: &mut KernelPort, number: u8, kind: u8) {
    let index = u32::from(number);
    let free = worker.frames().places().get(index as usize).is_none_or(|place| *place == Place::Free);
    if !free {
        return;
    }
    let address = u64::from(index) * FRAME_SIZE as u64 + HEADROOM as u64;
    let (address, len) = match kind & 6 {
        0 => (address, 60),
        2 => (u64::MAX - u64::from(number), 60),
        4 => (address, u32::MAX),
        _ => (address + 1000, 2000),
    };
    let pushed = if kind & 1 == 0 {
        port.receive.push(Descriptor { addr: address, len, options: 0 }).is_ok()
    } else {
        port.completion.push(address).is_ok()
    };
    port.receive.publish();
    port.completion.publish();
    port.misplaced += u64::from(pushed);
}

/// The next wakeup of this port is answered so.
fn answer(worker: &mut Simulated, port: usize, which: u8) {
    const ANSWERS: [i32; 6] = [0, libc::EAGAIN, libc::EBUSY, libc::ENETDOWN, libc::ENOBUFS, libc::ENXIO];
    let answer = ANSWERS[usize::from(which) % ANSWERS.len()];
    // A device that is gone stays gone: rarely, or nothing else would be played.
    if answer == libc::ENXIO && which < 240 {
        return;
    }
    if let Some(port) = worker.wakeup_mut(port) {
        port.0.push_back(answer);
    }
}

/// Looks for each frame in every place where it can be, and compares with the worker's book.
fn check(worker: &Simulated, kernel: &[KernelPort]) -> Result<(), String> {
    let book = worker.handler().book.borrow();
    if let Some(mistake) = book.mistakes.first() {
        return Err(mistake.clone());
    }
    let mut found: Vec<(usize, Place)> = vec![(0, Place::Held); worker.frames().places().len()];
    let mut at = |index: u32, place| {
        if let Some(entry) = found.get_mut(index as usize) {
            *entry = (entry.0 + 1, place);
        }
    };
    for index in worker.frames().free() {
        at(*index, Place::Free);
    }
    for (number, port) in (0_u16..).zip(kernel) {
        let mut at = |address: u64, place| {
            if let Some((index, _)) = worker.umem().locate(address) {
                at(index, place);
            }
        };
        let (filling, sending) = (Place::Filling(number), Place::Sending(number));
        port.fill.contents().into_iter().for_each(|address| at(address, filling));
        let (received, completed) = worker.waiting(number);
        // What we handed back wrongly is no frame's place.
        let had = |address: &u64, place| {
            let index = worker.umem().locate(*address).map_or(usize::MAX, |(index, _)| index as usize);
            worker.frames().places().get(index) == Some(&place)
        };
        received.iter().filter(|address| had(address, filling)).for_each(|address| at(*address, filling));
        completed.iter().filter(|address| had(address, sending)).for_each(|address| at(*address, sending));
        port.transmit.contents().into_iter().for_each(|descriptor| at(descriptor.addr, sending));
        port.flying.iter().for_each(|address| at(*address, sending));
    }
    for (index, (place, found)) in worker.frames().places().iter().zip(found).enumerate() {
        if found != (1, *place) {
            let (times, last) = found;
            return Err(format!(
                "frame {index} is {place:?} in the book, and found {times} times, as {last:?}"
            ));
        }
    }
    let counted =
        |counter: fn(&PortCounters) -> u64| kernel.iter().map(|port| counter(&port.counters)).sum::<u64>();
    let received = counted(|counters| counters.received.get());
    let copies = counted(|counters| counters.copied.get());
    let sent = counted(|counters| counters.sent.get() - counters.answered.get()) - copies;
    if received != book.handled
        || book.handled != book.sent + book.dropped
        || sent != book.sent - book.entered
    {
        return Err(format!("{received} packets received and {sent} sent do not fit {book:?}"));
    }
    // A copy that is refused was handed to the device: it found its ring full, or the device has dropped it.
    let refused = book.lost[Loss::Refused as usize];
    let lost = book.lost.iter().sum::<u64>() - refused;
    let dropped = counted(|counters| counters.device_refused.get());
    if book.wanted != book.copied + lost {
        return Err(format!("{copies} copies do not fit {book:?}"));
    }
    if book.copied - copies > refused || refused > book.copied - copies + dropped {
        return Err(format!(
            "{copies} copies, of which devices dropped up to {dropped}, do not fit {book:?}"
        ));
    }
    Ok(())
}

impl Worker<Answers, Decider> {
    fn memory(&self) -> *mut u8 {
        self.umem().memory().at::<u8>(0, 1).map_or(std::ptr::null_mut(), std::ptr::NonNull::as_ptr)
    }
}

#[cfg(test)]
mod tests;
