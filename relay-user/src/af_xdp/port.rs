//! One socket of a worker: its four rings, and which frames the kernel has through it.
//!
//! What is in the kernel's hands is bounded for each port, in each direction; the worker's UMEM has a frame for all of
//! it. So no port can take the frames of another, however fast packets come in or however slowly they leave.

use std::io;
use std::sync::Arc;

use super::counters::PortCounters;
use super::frames::{Frames, Held};
use super::ring::{Consumer, Producer};
use super::umem::Umem;

/// Packets after which a port is to be flushed while more are made: as many as the kernel sends in one call in copy mode
/// (TX_BATCH_SIZE of the kernel). Their frames come back at once then, and are still in the processor's cache.
const AT_ONCE: u32 = 32;

/// A descriptor of the RX and TX rings.
pub(crate) type Descriptor = libc::xdp_desc;

/// The system call that makes the kernel look at the TX ring.
pub(crate) trait Wakeup {
    /// # Errors
    /// What the kernel said; it may have taken some of the ring nevertheless.
    fn transmit(&mut self) -> io::Result<()>;
}

/// The four rings of a socket.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) receive: Consumer<Descriptor>,
    pub(crate) transmit: Producer<Descriptor>,
}

/// A packet that came in, in its frame.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) held: Held,
    /// Where in the frame the packet starts.
    pub(crate) start: usize,
    /// Its bytes.
    pub(crate) length: usize,
}

/// Why a port does not send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many packets as the ring holds wait already.
    Full,
    /// The device is down or gone.
    Down,
}

/// Whether the device takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down,
    /// The device was removed; the socket is of no use any more.
    Gone,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Port<W> {
    number: u16,
    rings: Rings,
    wakeup: W,
    /// Most frames that the kernel has through this port, in each direction: the size of each ring.
    limit: u32,
    filling: u32,
    sending: u32,
    /// Packets that wait for [`Self::flush`].
    unflushed: u32,
    /// The index in the TX ring behind the last packet that the kernel took, as far as that is known.
    taken: u32,
    link: Link,
    counters: Arc<PortCounters>,
}

impl<W: Wakeup> Port<W> {
    /// A port with this number among those of its worker.
    pub(crate) fn new(number: u16, rings: Rings, wakeup: W, limit: u32, counters: Arc<PortCounters>) -> Self {
        let taken = rings.transmit.taken();
        Self {
            number,
            rings,
            wakeup,
            limit,
            filling: 0,
            sending: 0,
            unflushed: 0,
            taken,
            link: Link::Up,
            counters,
        }
    }

    /// Frees what the kernel has sent.
    pub(crate) fn reclaim(&mut self, umem: &Umem, frames: &mut Frames) {
        let mut any = false;
        while let Some(address) = self.rings.completion.pop() {
            any = true;
            let frame = umem.locate(address).and_then(|(index, _)| frames.sent(index, self.number));
            let Some(frame) = frame else {
                self.counters.misplaced.add(1);
                continue;
            };
            self.sending -= 1;
            frames.give_back(frame);
        }
        if any {
            self.rings.completion.release();
        }
    }

    /// Gives the kernel frames to receive into, up to the limit.
    pub(crate) fn refill(&mut self, umem: &Umem, frames: &mut Frames) {
        let mut any = false;
        while self.filling < self.limit {
            let Some(frame) = frames.take() else { break };
            if self.rings.fill.push(umem.address(&frame, 0)).is_err() {
                frames.give_back(frame);
                break;
            }
            any = true;
            self.filling += 1;
            frames.fill(frame, self.number);
        }
        if any {
            self.rings.fill.publish();
        }
    }

    /// The next packet that came in. Its place in the ring is free after [`Self::received`].
    pub(crate) fn receive(&mut self, umem: &Umem, frames: &mut Frames) -> Option<Received> {
        loop {
            let descriptor = self.rings.receive.pop()?;
            let (length, located) = (descriptor.len as usize, umem.locate(descriptor.addr));
            let inside = located.filter(|(_, start)| start + length <= umem.frame_size());
            let held = inside.and_then(|(index, start)| Some((frames.received(index, self.number)?, start)));
            let Some((held, start)) = held else {
                self.counters.misplaced.add(1);
                continue;
            };
            self.filling -= 1;
            self.counters.received.add(1);
            return Some(Received { held, start, length });
        }
    }

    /// Frees the places of what was received.
    pub(crate) fn received(&mut self) {
        self.rings.receive.release();
    }

    /// Whether a packet can be sent now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room(&self) -> Result<(), Refusal> {
        match self.link {
            Link::Up if self.sending < self.limit => Ok(()),
            Link::Up => Err(Refusal::Full),
            Link::Down | Link::Gone => Err(Refusal::Down),
        }
    }

    /// Takes a packet to be sent, to `receiver` if it is a copy for one, else to 0; it leaves with [`Self::flush`]. A frame
    /// that is refused is free again.
    pub(crate) fn send(
        &mut self,
        packet: Received,
        receiver: u32,
        umem: &Umem,
        frames: &mut Frames,
    ) -> Result<(), Refusal> {
        let Received { held, start, length } = packet;
        if let Err(refusal) = self.room() {
            frames.give_back(held);
            return Err(refusal);
        }
        // A packet lies within its frame.
        let len = u32::try_from(length).unwrap_or(0);
        let descriptor = Descriptor { addr: umem.address(&held, start), len, options: 0 };
        if self.rings.transmit.push(descriptor).is_err() {
            frames.give_back(held);
            return Err(Refusal::Full);
        }
        self.sending += 1;
        self.unflushed += 1;
        frames.send(held, self.number, receiver);
        self.counters.sent.add(1);
        if receiver != 0 {
            self.counters.copied.add(1);
        }
        Ok(())
    }

    /// Whether so many packets wait for [`Self::flush`] that it is time for it.
    pub(crate) fn is_due(&self) -> bool {
        self.unflushed >= AT_ONCE.min(self.limit)
    }

    /// What was sent last is an answer.
    pub(crate) fn answered(&self) {
        self.counters.answered.add(1);
    }

    /// Makes the kernel send what waits, as far as the device takes it now. `refused` hears of each receiver whose copy the
    /// device dropped.
    pub(crate) fn flush(&mut self, umem: &Umem, frames: &Frames, mut refused: impl FnMut(u32)) {
        self.unflushed = 0;
        self.rings.transmit.publish();
        let mut waiting = self.rings.transmit.pending();
        while waiting > 0 && self.link != Link::Gone && self.rings.transmit.needs_wakeup() {
            let error = self.wakeup.transmit().err().and_then(|error| error.raw_os_error());
            self.link = match error {
                Some(libc::ENETDOWN) => Link::Down,
                Some(libc::ENXIO | libc::ENODEV | libc::EBADF) => Link::Gone,
                _ => Link::Up,
            };
            let was_dropped = error == Some(libc::EBUSY);
            self.look_what_was_taken(was_dropped);
            if was_dropped {
                // The device dropped one packet; the kernel stops there, and the rest still waits.
                self.counters.device_refused.add(1);
                let dropped = umem.locate(self.rings.transmit.before(self.taken).addr);
                if let Some(receiver) = dropped.and_then(|(index, _)| frames.receiver(index)) {
                    refused(receiver);
                }
            }
            let left = self.rings.transmit.pending();
            if left == waiting && !was_dropped {
                break;
            }
            waiting = left;
        }
    }

    /// Looks how far the kernel is. A packet that the device dropped is the last that it took; when it is the first of a
    /// call, the kernel does not show that before the next (`__xsk_generic_xmit`).
    fn look_what_was_taken(&mut self, was_dropped: bool) {
        let shown = self.rings.transmit.taken();
        // Indices wrap: what is ahead is less than half of all numbers away.
        let is_ahead = shown.wrapping_sub(self.taken).cast_signed() > 0;
        if is_ahead {
            self.taken = shown;
        } else if was_dropped {
            self.taken = self.taken.wrapping_add(1);
        }
    }

    /// Whether packets wait that the kernel has not taken, though the device is there.
    pub(crate) fn is_waiting(&self) -> bool {
        self.link != Link::Gone && self.rings.transmit.pending() > 0
    }

    /// The socket's own half, to poll it.
    pub(crate) fn wakeup(&self) -> &W {
        &self.wakeup
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn wakeup_mut(&mut self) -> &mut W {
        &mut self.wakeup
    }

    /// Addresses in the RX ring and in the completion ring.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn waiting(&self) -> (Vec<u64>, Vec<u64>) {
        let received = self.rings.receive.contents().iter().map(|descriptor| descriptor.addr).collect();
        (received, self.rings.completion.contents())
    }
}

#[cfg(test)]
mod tests;
