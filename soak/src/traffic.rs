//! The terminals: each sends RTP from a few ports of its own to all ports of the relay in turn, whether a call is there or not,
//! and some of it is no RTP.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use testbed::{Namespace, Side, Topology};

use crate::call::{PORTS, SOURCES, local_port, source_port};

/// Packets that are sent without a pause.
const BURST: u32 = 64;

/// The terminals, sending.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<u64>>,
}

impl Traffic {
    /// Starts a thread for each terminal and family.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub(crate) fn start(topology: &Topology, rate: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = Vec::new();
        for (namespace, side) in [(&topology.camera, Topology::CAMERA), (&topology.viewer, Topology::VIEWER)]
        {
            for (terminal, relay) in ends(side) {
                let sockets = sockets(namespace, terminal)?;
                let stop = Arc::clone(&stop);
                let pause = Duration::from_secs(1) * 4 * BURST / rate.max(1);
                senders.push(thread::spawn(move || send(&sockets, relay, pause, &stop)));
            }
        }
        Ok(Self { stop, senders })
    }

    /// Ends it; returns how many packets the terminals' sockets took.
    ///
    /// # Errors
    /// A sender panicked.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for sender in self.senders {
            sent += sender.join().map_err(|_| anyhow!("a sender panicked"))?;
        }
        Ok(sent)
    }

    /// Whether all of it still runs.
    pub(crate) fn runs(&self) -> bool {
        self.senders.iter().all(|sender| !sender.is_finished())
    }
}

/// Terminal and relay, for each family.
pub(crate) fn ends(side: Side) -> [(IpAddr, IpAddr); 2] {
    [(side.terminal.into(), side.relay.into()), (side.terminal6.into(), side.relay6.into())]
}

fn sockets(namespace: &Namespace, terminal: IpAddr) -> Result<Vec<UdpSocket>> {
    let make = || {
        (0..SOURCES)
            .map(|source| {
                let socket = UdpSocket::bind(SocketAddr::new(terminal, source_port(source)))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<std::io::Result<Vec<_>>>()
    };
    Ok(namespace.run(make)??)
}

fn send(sockets: &[UdpSocket], relay: IpAddr, pause: Duration, stop: &AtomicBool) -> u64 {
    let mut packet = [0xab; 172];
    let (mut sent, mut turn) = (0, 0_u32);
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            turn = turn.wrapping_add(1);
            let port = turn % u32::from(2 * PORTS);
            // Mostly the source that the calls know.
            let source = if turn.is_multiple_of(13) { turn as usize / 13 % sockets.len() } else { 0 };
            write_rtp(&mut packet, turn, port);
            let to = SocketAddr::new(relay, local_port(u16::try_from(port).unwrap_or(0)));
            // A device that is down, or a full queue: the packet was never on the wire.
            if sockets[source].send_to(&packet, to).is_ok() {
                sent += 1;
            }
        }
        due += pause;
        match due.checked_duration_since(Instant::now()) {
            Some(wait) => thread::sleep(wait),
            // Late, because the machine is busy: what was missed is not made up for.
            None => due = Instant::now(),
        }
    }
    sent
}

fn write_rtp(packet: &mut [u8; 172], turn: u32, port: u32) {
    let sequence = u16::try_from(turn / u32::from(2 * PORTS) % 0x1_0000).unwrap_or(0);
    packet[0] = if turn.is_multiple_of(101) { 0x00 } else { 0x80 };
    packet[1] = if turn.is_multiple_of(97) { 200 } else { 96 };
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&turn.wrapping_mul(160).to_be_bytes());
    packet[8..12].copy_from_slice(&port.to_be_bytes());
}
