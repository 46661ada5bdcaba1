//! One worker: takes punted packets from its ports, has its handler decide, and sends what is to leave. One thread, its
//! own frames, its own sockets: no lock, no allocation, and it never waits for a device.

use relay_common::verdict::Drop;

use super::frames::Frames;
use super::handler::{Handler, Outcome, Packet};
use super::port::{Port, Received, Refusal, Wakeup};
use super::umem::Umem;

/// Packets that are taken from one port before the next has its turn.
const BATCH: usize = 64;

/// The worker.
#[derive(Debug)]
pub(crate) struct Worker<W, H> {
    umem: Umem,
    ports: Ports<W>,
    handler: H,
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

impl<W: Wakeup, H: Handler> Worker<W, H> {
    /// A worker whose ports may receive from now on.
    pub(crate) fn new(umem: Umem, ports: Ports<W>, handler: H) -> Self {
        let mut worker = Self { umem, ports, handler };
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
        for port in &mut self.ports.ports {
            port.flush();
        }
        self.refill();
        handled
    }

    /// Whether packets wait for a device.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ports.ports.iter().any(Port::is_waiting)
    }

    /// The sockets, to poll them.
    pub(crate) fn wakeups(&self) -> impl Iterator<Item = &W> {
        self.ports.ports.iter().map(Port::wakeup)
    }

    /// Handles a batch of what came in on one port.
    fn receive(&mut self, at: usize) -> usize {
        let mut handled = 0;
        while handled < BATCH {
            let Some(port) = self.ports.ports.get_mut(at) else { break };
            let Some(received) = port.receive(&self.umem, &mut self.ports.frames) else { break };
            self.handle(received);
            handled += 1;
        }
        if let Some(port) = self.ports.ports.get_mut(at) {
            port.received();
        }
        handled
    }

    fn handle(&mut self, received: Received) {
        let Received { mut held, start, length } = received;
        let decided = Packet::new(self.umem.bytes(&mut held), start, length).and_then(|mut packet| {
            let metadata = packet.metadata()?;
            let outcome = self.handler.handle(&metadata, &mut packet);
            Some((metadata, outcome, packet.range()))
        });
        // Always there: `Port::receive` checked the range, and the kernel leaves more room in front than metadata takes.
        let Some((metadata, outcome, (start, left))) = decided else {
            return self.ports.frames.give_back(held);
        };
        let result = match outcome {
            Outcome::Send { device } => {
                self.ports.send(device, Received { held, start, length: left }, &self.umem)
            }
            Outcome::Drop(reason) => {
                self.ports.frames.give_back(held);
                Err(reason)
            }
            Outcome::Answer { device, reason } => {
                self.ports.answer(device, Received { held, start, length: left }, &self.umem);
                Err(reason)
            }
        };
        match result {
            Ok(()) => self.handler.sent(&metadata, length),
            Err(reason) => self.handler.dropped(&metadata, reason, length),
        }
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
        if self.send(device, packet, umem).is_ok()
            && let Some(port) = self.egress(device).ok().and_then(|port| self.ports.get(port))
        {
            port.answered();
        }
    }

    fn send(&mut self, device: u32, packet: Received, umem: &Umem) -> Result<(), Drop> {
        let port = self.egress(device).ok().and_then(|port| self.ports.get_mut(port));
        let Some(port) = port else {
            self.frames.give_back(packet.held);
            return Err(Drop::NoDevice);
        };
        port.send(packet, umem, &mut self.frames).map_err(|refusal| match refusal {
            Refusal::Full => Drop::EgressFull,
            Refusal::Down => Drop::NoDevice,
        })
    }
}
