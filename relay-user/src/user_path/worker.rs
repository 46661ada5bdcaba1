//! One worker of the user-space backend: waits for the sockets that are its own, decides about what they received, and
//! sends by the sockets of all workers. One thread: on its way no packet meets a lock or an allocation.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use rustix::event::epoll::{self, Event, EventData, EventFlags};

use super::copies::Copies;
use super::mailbox::Letters;
use super::relay::{Arrival, Copier, Decider, Outcome};
use crate::sockets::{Part, ReceiveBatch, Received, SendBatch, UdpSocket};

/// Datagrams of the kernel's that are taken from one socket before the next has its turn; each may be many packets.
const BATCH: usize = 32;
/// Packets that are copied at a time: what a camera sends in one go.
const COPIED: usize = 256;
/// Bytes of each: any datagram fits. Not a power of two, because the first bytes of all would share few lines of a
/// processor's cache.
const ROOM: usize = 65_536 + 23 * 64;
/// Sockets that are looked at in one go.
const EVENTS: usize = 256;
/// Stands for the mailbox among the sockets.
const MAILBOX: u64 = u64::MAX;

/// A socket of a leg.
#[derive(Debug)]
pub(super) struct Bound {
    /// Its address and port.
    pub(super) local: SocketAddr,
    /// The socket.
    pub(super) socket: UdpSocket,
    /// Datagrams that it had no room for, as far as they were counted.
    overflowed: AtomicU32,
}

impl Bound {
    /// A socket that lost nothing yet.
    pub(super) fn new(local: SocketAddr, socket: UdpSocket) -> Self {
        Self { local, socket, overflowed: AtomicU32::new(0) }
    }
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Send by this socket from now on, and read it, if it is yours.
    Add(Arc<Bound>, bool),
    /// Forget the socket at this address.
    Remove(SocketAddr),
    /// Say when everything before this is done.
    Answer(mpsc::Sender<()>),
    /// End.
    Stop,
}

/// The worker.
pub(super) struct Worker<D> {
    epoll: OwnedFd,
    letters: Letters<Command>,
    /// Sockets that this worker reads, by their numbers.
    own: Vec<Option<Arc<Bound>>>,
    free: Vec<usize>,
    numbers: HashMap<SocketAddr, usize>,
    /// Sockets that this worker sends by.
    all: HashMap<SocketAddr, Arc<Bound>>,
    carrier: Carrier<D>,
}

/// What carries datagrams from one socket to others.
struct Carrier<D> {
    received: ReceiveBatch,
    waiting: SendBatch,
    copies: Copies,
    decider: D,
}

impl<D: Decider + Copier> Worker<D> {
    /// A worker without sockets.
    ///
    /// # Errors
    /// No more files can be opened.
    pub(super) fn new(letters: Letters<Command>, decider: D) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &letters, EventData::new_u64(MAILBOX), EventFlags::IN)?;
        let carrier = Carrier {
            received: ReceiveBatch::new(BATCH, ROOM),
            waiting: SendBatch::new(BATCH),
            copies: Copies::new(COPIED, decider.most(), BATCH),
            decider,
        };
        Ok(Self {
            epoll,
            letters,
            own: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            all: HashMap::new(),
            carrier,
        })
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "a worker cannot wait for its sockets and ends");
                    return;
                }
            }
            for event in &events {
                let number = event.data.u64();
                if number == MAILBOX {
                    if self.read_letters().is_none() {
                        return;
                    }
                    continue;
                }
                let own = usize::try_from(number).ok().and_then(|number| self.own.get(number));
                if let Some(Some(bound)) = own {
                    self.carrier.carry(bound, &self.all);
                }
            }
        }
    }

    /// Does what it is told; `None` to stop.
    fn read_letters(&mut self) -> Option<()> {
        self.letters.heard();
        while let Some(command) = self.letters.take() {
            match command {
                Command::Add(bound, own) => self.add(bound, own),
                Command::Remove(local) => self.remove(local),
                // Nobody may be waiting any more.
                Command::Answer(answer) => drop(answer.send(())),
                Command::Stop => return None,
            }
        }
        Some(())
    }

    fn add(&mut self, bound: Arc<Bound>, own: bool) {
        self.all.insert(bound.local, Arc::clone(&bound));
        if !own {
            return;
        }
        let number = self.free.pop().unwrap_or(self.own.len());
        let data = EventData::new_u64(number as u64);
        if let Err(error) = epoll::add(&self.epoll, &bound.socket, data, EventFlags::IN) {
            tracing::error!(local = %bound.local, %error, "a socket cannot be waited for; its leg is silent");
            self.free.push(number);
            return;
        }
        self.numbers.insert(bound.local, number);
        match self.own.get_mut(number) {
            Some(place) => *place = Some(bound),
            None => self.own.push(Some(bound)),
        }
    }

    fn remove(&mut self, local: SocketAddr) {
        self.all.remove(&local);
        let Some(number) = self.numbers.remove(&local) else { return };
        if let Some(bound) = self.own.get_mut(number).and_then(Option::take) {
            // Another worker may hold it for a moment longer; this one must not hear of it any more.
            let _ = epoll::delete(&self.epoll, &bound.socket);
            self.free.push(number);
        }
    }
}

impl<D: Decider + Copier> Carrier<D> {
    /// One batch from one socket.
    fn carry(&mut self, from: &Bound, sockets: &HashMap<SocketAddr, Arc<Bound>>) {
        // An error is none waiting, or one that the next turn sees again.
        let count = self.received.receive(from.socket.as_fd()).unwrap_or_default();
        let mut by: Option<&Arc<Bound>> = None;
        for at in 0..count {
            let Some(datagram) = self.received.datagram(at) else { continue };
            self.count_overflow(from, &datagram);
            for range in datagram.packets() {
                let Some(payload) = self.received.buffer_mut().get_mut(range.clone()) else { continue };
                let arrival = Arrival {
                    local: from.local,
                    source: datagram.source,
                    traffic_class: datagram.traffic_class,
                    hops: datagram.hops,
                    payload,
                };
                // Checked by the decision: more than one is left.
                let hops = datagram.hops.map(|hops| hops.saturating_sub(1));
                let egress = match self.decider.decide(arrival) {
                    Outcome::Send(egress) => egress,
                    Outcome::Copy { leg } => {
                        if !self.copies.takes(leg) {
                            self.copy(sockets, from.local);
                        }
                        let payload = self.received.buffer().get(range.clone()).unwrap_or_default();
                        self.copies.push(leg, range, payload, datagram.traffic_class, hops);
                        continue;
                    }
                    Outcome::Gone => continue,
                };
                if self.waiting.is_full() || by.is_none_or(|by| by.local != egress.from) {
                    self.flush(by, from.local);
                    by = sockets.get(&egress.from);
                }
                self.waiting.push(Part {
                    bytes: range,
                    to: egress.to,
                    traffic_class: egress.traffic_class,
                    hops,
                    account: egress.leg,
                });
            }
        }
        self.flush(by, from.local);
        self.copy(sockets, from.local);
    }

    /// Sends what is to be copied to all its receivers.
    fn copy(&mut self, sockets: &HashMap<SocketAddr, Arc<Bound>>, received_at: SocketAddr) {
        self.copies.send(&mut self.decider, self.received.buffer_mut(), sockets, received_at);
    }

    /// Sends what waits, and counts what became of it.
    fn flush(&mut self, by: Option<&Arc<Bound>>, received_at: SocketAddr) {
        if self.waiting.is_empty() {
            return;
        }
        let decider = &mut self.decider;
        let report = |sent| decider.sent(&sent, received_at);
        match by {
            Some(by) => self.waiting.flush(by.socket.as_fd(), self.received.buffer(), report),
            // The sending leg was removed a moment ago.
            None => self.waiting.refuse(libc::ENODEV, report),
        }
    }

    /// Counts what the socket had no room for.
    fn count_overflow(&mut self, bound: &Bound, datagram: &Received) {
        let Some(total) = datagram.overflowed else { return };
        let before = bound.overflowed.swap(total, Ordering::Relaxed);
        if total != before {
            self.decider.overflowed(bound.local, total.wrapping_sub(before));
        }
    }
}
