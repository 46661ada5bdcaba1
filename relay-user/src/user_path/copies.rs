//! Copies of what arrived for a group. Each receiver has a socket of its own, so packets are gathered first, and then all of
//! them go to one receiver after the other: many in one system call, where the kernel may take them together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::relay::{Copier, Exit};
use super::worker::Bound;
use crate::sockets::{Part, SendBatch};

/// Bytes of a packet that a receiver may get otherwise than they arrived: the fixed part of an RTP header.
const HEAD: usize = 12;

/// A packet that is to be copied.
struct Original {
    /// Where it lies in the buffer that it was received into.
    bytes: Range<usize>,
    /// Its first bytes, as they arrived; what lies beyond a shorter packet is zero.
    head: [u8; HEAD],
    traffic_class: u8,
    /// What the copies leave with.
    hops: Option<u8>,
}

/// Packets of one leg that wait for their copies.
pub(super) struct Copies {
    leg: u32,
    originals: Vec<Original>,
    receivers: Vec<u32>,
    waiting: SendBatch,
}

impl Copies {
    /// Room for `packets` packets of a leg with up to `receivers` receivers; `batch` datagrams in a system call.
    pub(super) fn new(packets: usize, receivers: usize, batch: usize) -> Self {
        Self {
            leg: 0,
            originals: Vec::with_capacity(packets),
            receivers: Vec::with_capacity(receivers),
            waiting: SendBatch::new(batch),
        }
    }

    /// Whether a packet of this leg fits; if not, what waits must be sent before.
    pub(super) fn takes(&self, leg: u32) -> bool {
        self.originals.is_empty() || self.leg == leg && self.originals.len() < self.originals.capacity()
    }

    /// One more packet: `payload` is what lies at `bytes`.
    pub(super) fn push(
        &mut self,
        leg: u32,
        bytes: Range<usize>,
        payload: &[u8],
        traffic_class: u8,
        hops: Option<u8>,
    ) {
        let mut head = [0; HEAD];
        for (byte, place) in payload.iter().zip(&mut head) {
            *place = *byte;
        }
        self.leg = leg;
        self.originals.push(Original { bytes, head, traffic_class, hops });
    }

    /// Sends what waits to every receiver by `sockets`, and has it counted. `buffer` is what was received into.
    pub(super) fn send<C: Copier>(
        &mut self,
        copier: &mut C,
        buffer: &mut [u8],
        sockets: &HashMap<SocketAddr, Arc<Bound>>,
        received_at: SocketAddr,
    ) {
        if self.originals.is_empty() {
            return;
        }
        let mut receivers = std::mem::take(&mut self.receivers);
        copier.list(self.leg, &mut receivers);
        let mut by = None;
        for receiver in &receivers {
            let Some(exit) = copier.exit(*receiver, self.originals.len()) else { continue };
            // Receivers of a shared port have one socket; what waits is read from the buffer when it is sent.
            if exit.is_retagged || by.is_none_or(|by: &Arc<Bound>| by.local != exit.from) {
                self.flush(copier, by, buffer, received_at);
                by = sockets.get(&exit.from);
            }
            self.send_to(copier, *receiver, &exit, by, buffer, received_at);
            if exit.is_retagged {
                self.flush(copier, by, buffer, received_at);
                self.restore(buffer);
            }
        }
        self.flush(copier, by, buffer, received_at);
        self.originals.clear();
        self.receivers = receivers;
    }

    /// All packets to one receiver; they wait in the end, unless there are too many.
    fn send_to<C: Copier>(
        &mut self,
        copier: &mut C,
        receiver: u32,
        exit: &Exit,
        by: Option<&Arc<Bound>>,
        buffer: &mut [u8],
        received_at: SocketAddr,
    ) {
        for at in 0..self.originals.len() {
            if self.waiting.is_full() {
                self.flush(copier, by, buffer, received_at);
            }
            let Some(original) = self.originals.get(at) else { return };
            let mut traffic_class = original.traffic_class;
            if exit.is_retagged {
                let payload = buffer.get_mut(original.bytes.clone()).unwrap_or_default();
                traffic_class = copier.retag(receiver, exit, payload, traffic_class);
            }
            if exit.is_tapped {
                let payload = buffer.get(original.bytes.clone()).unwrap_or_default();
                copier.tap(receiver, exit, payload, traffic_class, original.hops);
            }
            self.waiting.push(Part {
                bytes: original.bytes.clone(),
                to: exit.to,
                traffic_class,
                hops: original.hops,
                account: receiver,
            });
        }
    }

    /// Gives all packets back what the last receiver had otherwise.
    fn restore(&self, buffer: &mut [u8]) {
        for original in &self.originals {
            let payload = buffer.get_mut(original.bytes.clone()).unwrap_or_default();
            for (byte, place) in original.head.iter().zip(payload) {
                *place = *byte;
            }
        }
    }

    fn flush<C: Copier>(
        &mut self,
        copier: &mut C,
        by: Option<&Arc<Bound>>,
        buffer: &[u8],
        received_at: SocketAddr,
    ) {
        if self.waiting.is_empty() {
            return;
        }
        let report = |sent| copier.copied(&sent, received_at);
        match by {
            Some(by) => self.waiting.flush(by.socket.as_fd(), buffer, report),
            // The receiver was removed a moment ago.
            None => self.waiting.refuse(libc::ENODEV, report),
        }
    }
}
