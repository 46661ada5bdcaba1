//! One worker: takes punted packets from its ports, has its handler decide, and sends what is to leave. One thread, its
//! own frames, its own sockets: no lock, no allocation, and it never waits for a device.

use relay_common::punt::Metadata;
use relay_common::verdict::{Drop, Loss};

use super::copier::{Copier, Exit};
use super::frames::Frames;
use super::handler::{Handler, Outcome, Packet};
use super::port::{Port, Received, Refusal, Wakeup};
use super::umem::Umem;

/// Packets that are taken from one port, or copies that are made of them, before the next has its turn.
const BATCH: usize = 64;

/// The worker.
#[derive(Debug)]
pub(crate) struct Worker<W, H> {
    umem: Umem,
    ports: Ports<W>,
    handler: H,
    /// The receivers of the packet that is being copied. Its capacity is the most that there can be: it never grows.
    receivers: Vec<u32>,
}

/// The ports of a worker, and the book of the frames that they share.
#[derive(Debug)]
pub(crate) struct Ports<W> {
    pub(crate) frames: Frames,
    /// By their numbers.
    pub(crate) ports: Vec<Port<W>>,
    /// Number of the port that sends by the device of each slot.
    pub(crate) egress: Vec<Option<u16>>,
}

impl<W: Wakeup, H: Handler + Copier> Worker<W, H> {
    /// A worker whose ports may receive from now on.
    pub(crate) fn new(umem: Umem, ports: Ports<W>, handler: H) -> Self {
        let receivers = Vec::with_capacity(handler.most());
        let mut worker = Self { umem, ports, handler, receivers };
        worker.refill();
        worker
    }

    /// Does what there is to do now, at most one batch for each port, and returns how many packets that were.
    pub(crate) fn turn(&mut self) -> usize {
        for port in &mut self.ports.ports {
            port.reclaim(&self.umem, &mut self.ports.frames);
        }
        let mut handled = 0;
        for at in 0..self.ports.ports.len() {
            handled += self.receive(at);
        }
        let Ports { frames, ports, .. } = &mut self.ports;
        for port in ports {
            port.flush(&self.umem, frames, |receiver| self.handler.lost(receiver, Loss::Refused));
        }
        self.refill();
        handled
    }

    /// The sockets, and whether packets wait there for the device.
    pub(crate) fn wakeups(&self) -> impl Iterator<Item = (&W, bool)> {
        self.ports.ports.iter().map(|port| (port.wakeup(), port.is_waiting()))
    }

    /// Handles a batch of what came in on one port.
    fn receive(&mut self, at: usize) -> usize {
        let mut handled = 0;
        while handled < BATCH {
            let Some(port) = self.ports.ports.get_mut(at) else { break };
            let Some(received) = port.receive(&self.umem, &mut self.ports.frames) else { break };
            handled += self.handle(received);
        }
        if let Some(port) = self.ports.ports.get_mut(at) {
            port.received();
        }
        handled
    }

    /// Handles one packet; returns how many it counts for.
    fn handle(&mut self, received: Received) -> usize {
        let Received { mut held, start, length } = received;
        let decided = Packet::new(self.umem.bytes(&mut held), start, length).and_then(|mut packet| {
            let metadata = packet.metadata()?;
            let outcome = self.handler.handle(&metadata, &mut packet);
            Some((metadata, outcome, packet.range()))
        });
        // Always there: `Port::receive` checked the range, and the kernel leaves more room in front than metadata takes.
        let Some((metadata, outcome, (start, left))) = decided else {
            self.ports.frames.give_back(held);
            return 1;
        };
        let packet = Received { held, start, length: left };
        let result = match outcome {
            Outcome::Send { device } => self.ports.send(device, packet, 0, &self.umem),
            Outcome::Drop(reason) => {
                self.ports.frames.give_back(packet.held);
                Err(reason)
            }
            Outcome::Answer { device, reason } => {
                self.ports.answer(device, packet, &self.umem);
                Err(reason)
            }
            Outcome::Copy => {
                self.handler.sent(&metadata, length);
                return self.copy(&metadata, packet).max(1);
            }
        };
        match result {
            Ok(()) => self.handler.sent(&metadata, length),
            Err(reason) => self.handler.dropped(&metadata, reason, length),
        }
        1
    }

    /// Sends a copy of a packet to each receiver of its leg's group; the last one gets the packet itself. Returns how many
    /// receivers there are.
    fn copy(&mut self, metadata: &Metadata, mut packet: Received) -> usize {
        let mut receivers = std::mem::take(&mut self.receivers);
        self.handler.list(metadata.leg, &mut receivers);
        match receivers.split_last() {
            Some((last, others)) => {
                for receiver in others {
                    if let Err(loss) = self.copy_to(*receiver, &mut packet) {
                        self.handler.lost(*receiver, loss);
                    }
                }
                if let Err(loss) = self.hand_to(*last, packet) {
                    self.handler.lost(*last, loss);
                }
            }
            // All have just left.
            None => self.ports.frames.give_back(packet.held),
        }
        let count = receivers.len();
        self.receivers = receivers;
        count
    }

    /// Sends a copy of a packet, which stays as it is, to a receiver.
    fn copy_to(&mut self, receiver: u32, packet: &mut Received) -> Result<(), Loss> {
        let exit = self.exit(receiver, packet.length)?;
        // There is one: the UMEM has a frame for all that the kernel may have in both directions. One less waits to receive,
        // which the packet lies in, and one less to be sent, because there is room.
        let mut held = self.ports.frames.take().ok_or(Loss::Refused)?;
        let range = packet.start..packet.start + packet.length;
        let from = self.umem.bytes(&mut packet.held).get(range.clone()).unwrap_or_default();
        if let Some(to) = self.umem.bytes(&mut held).get_mut(range) {
            to.copy_from_slice(from);
        }
        self.finish(receiver, &exit, Received { held, start: packet.start, length: packet.length })
    }

    /// Sends the packet itself to a receiver.
    fn hand_to(&mut self, receiver: u32, packet: Received) -> Result<(), Loss> {
        match self.exit(receiver, packet.length) {
            Ok(exit) => self.finish(receiver, &exit, packet),
            Err(loss) => {
                self.ports.frames.give_back(packet.held);
                Err(loss)
            }
        }
    }

    /// Where copies for a receiver go; there is room for one, of a packet of so many bytes.
    fn exit(&mut self, receiver: u32, length: usize) -> Result<Exit, Loss> {
        let exit = self.handler.exit(receiver)?;
        let port = self.ports.egress(exit.hop.device)?;
        let Ports { frames, ports, .. } = &mut self.ports;
        let port = ports.get_mut(port).ok_or(Loss::NoDevice)?;
        if port.is_due() {
            port.flush(&self.umem, frames, |receiver| self.handler.lost(receiver, Loss::Refused));
            port.reclaim(&self.umem, frames);
        }
        match port.room() {
            Ok(()) => Ok(exit),
            Err(Refusal::Full) => {
                // What a device does not take was handed to it, as in XDP.
                self.handler.copied(receiver, length);
                Err(Loss::Refused)
            }
            Err(Refusal::Down) => Err(Loss::NoDevice),
        }
    }

    /// Gives a packet the headers of a receiver, and sends it. A frame that does not leave is free again.
    fn finish(&mut self, receiver: u32, exit: &Exit, packet: Received) -> Result<(), Loss> {
        let Received { mut held, start, length } = packet;
        let rewritten = Packet::new(self.umem.bytes(&mut held), start, length).ok_or(Loss::NoRoom).and_then(
            |mut packet| {
                self.handler.rewrite(receiver, exit, &mut packet)?;
                Ok(packet.range())
            },
        );
        let (start, left) = match rewritten {
            Ok(range) => range,
            Err(loss) => {
                self.ports.frames.give_back(held);
                return Err(loss);
            }
        };
        self.ports.send(exit.hop.device, Received { held, start, length: left }, receiver, &self.umem)?;
        self.handler.copied(receiver, length);
        Ok(())
    }

    fn refill(&mut self) {
        for port in &mut self.ports.ports {
            port.refill(&self.umem, &mut self.ports.frames);
        }
    }
}

#[cfg(any(test, fuzzing))]
impl<W: Wakeup, H> Worker<W, H> {
    pub(crate) fn umem(&self) -> &Umem {
        &self.umem
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.ports.frames
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }

    pub(crate) fn wakeup_mut(&mut self, port: usize) -> Option<&mut W> {
        self.ports.ports.get_mut(port).map(Port::wakeup_mut)
    }

    /// Addresses in the RX ring and in the completion ring of a port.
    pub(crate) fn waiting(&self, port: u16) -> (Vec<u64>, Vec<u64>) {
        self.ports.ports.get(usize::from(port)).map(Port::waiting).unwrap_or_default()
    }
}

impl<W: Wakeup> Ports<W> {
    /// The port that sends by a device.
    fn egress(&self, device: u32) -> Result<usize, Drop> {
        let port = self.egress.get(device as usize).copied().flatten().ok_or(Drop::NoDevice)?;
        Ok(usize::from(port))
    }

    /// Sends an answer; one that finds no place is lost, as any on the network may be.
    fn answer(&mut self, device: u32, packet: Received, umem: &Umem) {
        if self.send(device, packet, 0, umem).is_ok()
            && let Some(port) = self.egress(device).ok().and_then(|port| self.ports.get(port))
        {
            port.answered();
        }
    }

    /// Sends a packet, to `receiver` if it is a copy for one, else to 0.
    fn send(&mut self, device: u32, packet: Received, receiver: u32, umem: &Umem) -> Result<(), Drop> {
        let port = self.egress(device).ok().and_then(|port| self.ports.get_mut(port));
        let Some(port) = port else {
            self.frames.give_back(packet.held);
            return Err(Drop::NoDevice);
        };
        port.send(packet, receiver, umem, &mut self.frames).map_err(|refusal| match refusal {
            Refusal::Full => Drop::EgressFull,
            Refusal::Down => Drop::NoDevice,
        })
    }
}
