//! The kernel path: datagrams that the network stack put together, or took options from, are steered to one socket for
//! each address family, decided about like any other, and sent in as many fragments as the way needs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};

use aya::programs::sk_lookup::SkLookupLink;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use super::mailbox::{Letters, Mailbox, mailbox};
use super::relay::{Arrival, Decider, Outcome};
use crate::kernel::{Program, SteeredSockets, SteeringError};
use crate::sockets::{Family, RawDatagram, RawOutput, ReceiveBatch, Sent, UdpSocket};

/// Datagrams that are taken at a time.
const BATCH: usize = 16;
/// Bytes of each: any datagram fits.
const ROOM: usize = 65_536 + 23 * 64;
/// Stands for the mailbox among the sockets.
const MAILBOX: u64 = u64::MAX;

/// Why there is no kernel path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelPathError {
    #[error(transparent)]
    Steering(#[from] SteeringError),
    #[error("sending fragments takes the capability CAP_NET_RAW ({0})")]
    Raw(io::Error),
    #[error("its sockets or its thread cannot be made: {0}")]
    System(#[from] io::Error),
}

/// The running path; it ends when this is dropped.
pub(crate) struct KernelPath {
    mailbox: Mailbox<()>,
    thread: Option<JoinHandle<()>>,
    _link: SkLookupLink,
    _sockets: SteeredSockets,
}

impl KernelPath {
    /// Starts it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// See [`KernelPathError`]; nothing is steered then.
    pub(crate) fn start(
        program: &mut Program,
        sockets: Result<SteeredSockets, SteeringError>,
        decider: impl Decider + Send + 'static,
    ) -> Result<Self, KernelPathError> {
        let mut sockets = sockets?;
        let output = RawOutput::open().map_err(KernelPathError::Raw)?;
        let v4 = UdpSocket::steered(Family::V4)?;
        // A machine may be without IPv6.
        let v6 = UdpSocket::steered(Family::V6).ok();
        sockets.set(&v4, v6.as_ref())?;
        let (mailbox, letters) = mailbox()?;
        let worker = Worker::new(letters, [Some(v4), v6].into_iter().flatten().collect(), output, decider)?;
        let thread = thread::Builder::new().name("culvert-kernel".into()).spawn(move || worker.run())?;
        let link = program.steer()?;
        Ok(Self { mailbox, thread: Some(thread), _link: link, _sockets: sockets })
    }
}

impl Drop for KernelPath {
    fn drop(&mut self) {
        self.mailbox.put(());
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Worker<D> {
    epoll: OwnedFd,
    sockets: Vec<UdpSocket>,
    received: ReceiveBatch,
    output: RawOutput,
    decider: D,
    _letters: Letters<()>,
}

impl<D: Decider> Worker<D> {
    fn new(letters: Letters<()>, sockets: Vec<UdpSocket>, output: RawOutput, decider: D) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &letters, EventData::new_u64(MAILBOX), EventFlags::IN)?;
        for (number, socket) in (0..).zip(&sockets) {
            epoll::add(&epoll, socket, EventData::new_u64(number), EventFlags::IN)?;
        }
        let received = ReceiveBatch::new(BATCH, ROOM);
        Ok(Self { epoll, sockets, received, output, decider, _letters: letters })
    }

    /// Works until it is told to stop.
    fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(4);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the kernel path cannot wait for its sockets and ends");
                    return;
                }
            }
            for event in &events {
                match usize::try_from(event.data.u64()).ok().filter(|number| *number < self.sockets.len()) {
                    Some(number) => self.carry(number),
                    None => return,
                }
            }
        }
    }

    /// One batch from one socket.
    fn carry(&mut self, number: usize) {
        let Some(socket) = self.sockets.get(number) else { return };
        // An error is none waiting, or one that the next turn sees again.
        let count = self.received.receive(socket.as_fd()).unwrap_or_default();
        for at in 0..count {
            let Some(datagram) = self.received.datagram(at) else { continue };
            let Some(local) = datagram.destination else { continue };
            let range = datagram.start..datagram.start + datagram.length;
            let Some(payload) = self.received.buffer_mut().get_mut(range.clone()) else { continue };
            let arrival = Arrival {
                local,
                source: datagram.source,
                traffic_class: datagram.traffic_class,
                hops: datagram.hops,
                payload,
            };
            let Outcome::Send(egress) = self.decider.decide(arrival) else { continue };
            let payload = self.received.buffer().get(range).unwrap_or_default();
            let result = self.output.send(&RawDatagram {
                from: egress.from,
                to: egress.to,
                traffic_class: egress.traffic_class,
                // Checked by the decision: more than one is left.
                hops: datagram.hops.map(|hops| hops.saturating_sub(1)),
                payload,
            });
            let refused = result.err().map(|error| error.raw_os_error().unwrap_or(libc::EIO));
            let sent = Sent { account: egress.leg, packets: 1, bytes: payload.len(), refused };
            self.decider.sent(&sent, local);
        }
    }
}
