//! What passes one namespace's wire, kept for the measurement: media packets and SIP messages with their times.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use testbed::Namespace;

use super::packet_socket::{Frame, PacketSocket};
use super::wire::{Datagram, Sip};

const SIP_PORT: u16 = 5060;
/// Ports of the relay's media; everything else on the wire is not measured.
pub(super) const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 30_000..=39_999;
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// An RTP or RTCP packet on the wire.
#[derive(Clone, Debug)]
pub(super) struct MediaPacket {
    /// Seconds since the epoch.
    pub(super) time: f64,
    /// Whether the namespace sent it, or received it.
    pub(super) is_outgoing: bool,
    /// The relay's port that it went to or came from: it names the leg.
    pub(super) relay_port: u16,
    /// The other end: address and port of the terminal.
    pub(super) terminal: SocketAddrV4,
    /// RTP or RTCP, from its first byte.
    pub(super) payload: Vec<u8>,
}

/// A SIP message on the wire.
#[derive(Clone, Debug)]
pub(super) struct SipMessage {
    /// Seconds since the epoch.
    pub(super) time: f64,
    pub(super) is_outgoing: bool,
    pub(super) sip: Sip,
}

/// Everything seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) media: Vec<MediaPacket>,
    pub(super) sip: Vec<SipMessage>,
}

impl Seen {
    /// How many media packets came in.
    pub(super) fn received(&self) -> u64 {
        self.media.iter().filter(|packet| !packet.is_outgoing).count() as u64
    }

    /// When the first message passed that `is_it`, in this direction.
    pub(super) fn first(&self, is_outgoing: bool, is_it: impl Fn(&Sip) -> bool) -> Option<f64> {
        let mut right = self.sip.iter().filter(|message| message.is_outgoing == is_outgoing);
        right.find(|message| is_it(&message.sip)).map(|message| message.time)
    }
}

/// A running capture; it ends with this value.
pub(super) struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    ends: AtomicBool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Capture {
    /// Begins; when this returns, nothing that passes is missed any more. `relay` are the relay's addresses.
    pub(super) fn start(namespace: &Namespace, relay: &'static [Ipv4Addr]) -> Result<Self> {
        let socket = namespace.run(PacketSocket::open)??;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || capture(socket, relay, &theirs));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Looks at what was seen until now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.seen())
    }

    /// Ends the capture; fails if it was not complete.
    pub(super) fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.shared.ends.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("a capture broke down"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Whoever wants the result has called `finish`.
        let _ = self.end();
    }
}

fn capture(mut socket: PacketSocket, relay: &[Ipv4Addr], shared: &Shared) -> Result<()> {
    loop {
        let ends = shared.ends.load(Ordering::Relaxed);
        match socket.next(LOOK_UP_EVERY)? {
            Some(frame) => keep(&frame, relay, &mut shared.seen()),
            // Only after a look that began later than the wish to end, so that nothing is left in the buffer.
            None if ends => break,
            None => {}
        }
    }
    match socket.overrun()? {
        0 => Ok(()),
        frames => {
            bail!("the capture missed {frames} frames, so the demo has no result; is the machine overloaded?")
        }
    }
}

fn keep(frame: &Frame<'_>, relay: &[Ipv4Addr], seen: &mut Seen) {
    let Some(datagram) = Datagram::parse(frame.bytes) else {
        return;
    };
    let Frame { time, is_outgoing, .. } = *frame;
    let ends = [(datagram.destination, datagram.source), (datagram.source, datagram.destination)];
    let Some((near, terminal)) = ends.into_iter().find(|(near, _)| relay.contains(near.ip())) else {
        return;
    };
    if near.port() == SIP_PORT {
        seen.sip.extend(Sip::parse(datagram.payload).map(|sip| SipMessage { time, is_outgoing, sip }));
    } else if MEDIA_PORTS.contains(&near.port()) {
        let payload = datagram.payload.to_vec();
        seen.media.push(MediaPacket { time, is_outgoing, relay_port: near.port(), terminal, payload });
    }
}
