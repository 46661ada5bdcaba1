//! Whom a packet was for that the device dropped, with a kernel that we play.

use std::collections::VecDeque;

use super::super::ring::simulated;
use super::*;

/// Indices of the rings wrap in the middle.
const FIRST_INDEX: u32 = u32::MAX - 3;

/// What a call does: so many packets are taken, and the device drops the last of them.
struct Call {
    taken: u32,
    is_dropped: bool,
}

struct Kernel {
    transmit: Consumer<Descriptor>,
    calls: VecDeque<Call>,
}

impl Wakeup for Kernel {
    /// As `__xsk_generic_xmit` does it: it stops at a dropped packet, and shows what it took if it has sent one.
    fn transmit(&mut self) -> io::Result<()> {
        let Some(Call { taken, is_dropped }) = self.calls.pop_front() else { return Ok(()) };
        (0..taken).for_each(|_| assert!(self.transmit.pop().is_some()));
        if taken > u32::from(is_dropped) {
            self.transmit.release();
        }
        if is_dropped { Err(io::Error::from_raw_os_error(libc::EBUSY)) } else { Ok(()) }
    }
}

/// Sends copies to the receivers from 1 to 8; those whose copies were dropped.
fn dropped(calls: impl IntoIterator<Item = (u32, bool)>) -> Vec<u32> {
    let (umem, mut frames) = (Umem::new(16, 2048).unwrap(), Frames::new(16));
    let (fill, _) = simulated::ring(8, FIRST_INDEX).unwrap();
    let (_, completion) = simulated::ring(8, FIRST_INDEX).unwrap();
    let (_, receive) = simulated::ring(8, FIRST_INDEX).unwrap();
    let (transmit, kernel) = simulated::ring(8, FIRST_INDEX).unwrap();
    let calls = calls.into_iter().map(|(taken, is_dropped)| Call { taken, is_dropped }).collect();
    let kernel = Kernel { transmit: kernel, calls };
    let rings = Rings { fill, completion, receive, transmit };
    let mut port = Port::new(0, rings, kernel, 8, Arc::default());
    for receiver in 1..=8 {
        let packet = Received { held: frames.take().unwrap(), start: 256, length: 100 };
        port.send(packet, receiver, &umem, &mut frames).unwrap();
    }
    let mut dropped = Vec::new();
    port.flush(&umem, &frames, |receiver| dropped.push(receiver));
    assert_eq!(port.counters.device_refused.get(), dropped.len() as u64);
    dropped
}

#[test]
fn a_dropped_copy_is_its_receivers() {
    assert_eq!(dropped([(8, false)]), []);
    assert_eq!(dropped([(3, true), (5, false)]), [3]);
    assert_eq!(dropped([(8, true)]), [8]);
}

#[test]
fn what_is_dropped_at_once_is_told_apart_though_the_kernel_does_not_show_it() {
    assert_eq!(dropped([(1, true), (7, false)]), [1]);
    assert_eq!(dropped([(3, true), (1, true), (1, true), (2, true), (1, false)]), [3, 4, 5, 7]);
    assert_eq!(dropped((0..8).map(|_| (1, true))), (1..=8).collect::<Vec<_>>());
}
