//! What workers count, read by others while they run.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the one worker that owns the counter may.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// What was added until now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one port counts. What it drops is counted by leg as well, by the handler.
#[derive(Debug, Default)]
pub(crate) struct PortCounters {
    /// Packets that came in.
    pub(crate) received: Counter,
    /// Packets that the kernel was given to send.
    pub(crate) sent: Counter,
    /// Of those, answers to senders whose packets were dropped.
    pub(crate) answered: Counter,
    /// Of those, copies for receivers of groups.
    pub(crate) copied: Counter,
    /// Of those, packets that the device dropped because its own ring was full or it was not running.
    pub(crate) device_refused: Counter,
    /// Frames that the kernel handed back without having them. Not one, unless the kernel is broken.
    pub(crate) misplaced: Counter,
}

impl PortCounters {
    /// What was counted until now.
    pub(crate) fn read(&self) -> PuntCounters {
        PuntCounters {
            received: self.received.get(),
            sent: self.sent.get(),
            answered: self.answered.get(),
            copied: self.copied.get(),
            device_refused: self.device_refused.get(),
            misplaced: self.misplaced.get(),
            ..PuntCounters::default()
        }
    }
}

/// What was counted on the way of packets through AF_XDP, all queues together. What arrives in user space and does not
/// leave was dropped for a reason that is counted by leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PuntCounters {
    /// Packets that came to user space.
    pub received: u64,
    /// Packets that the kernel was given to send.
    pub sent: u64,
    /// Of those, answers to senders whose packets were dropped: that they are too big.
    pub answered: u64,
    /// Of those, copies for receivers of groups.
    pub copied: u64,
    /// Of those, packets that the egress device dropped, because its own ring was full.
    pub device_refused: u64,
    /// Frames that the kernel handed back without having them. Not one, unless the kernel is broken.
    pub misplaced: u64,
    /// Packets that were dropped on the way to user space because no frame was free, or because they are larger than a
    /// frame.
    pub no_frame: u64,
    /// Packets that were dropped on the way to user space because the RX ring was full.
    pub ring_full: u64,
}

impl PuntCounters {
    /// Each under its name; only those that are not zero.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Self { received, sent, answered, copied, device_refused, misplaced, no_frame, ring_full } = *self;
        let all = [
            ("punts_received", received),
            ("punts_sent", sent),
            ("punts_answered", answered),
            ("punts_copied", copied),
            ("punts_device_refused", device_refused),
            ("punts_misplaced", misplaced),
            ("punts_no_frame", no_frame),
            ("punts_ring_full", ring_full),
        ];
        all.into_iter().filter(|(_, count)| *count > 0)
    }
}

impl std::ops::AddAssign for PuntCounters {
    fn add_assign(&mut self, more: Self) {
        self.received += more.received;
        self.sent += more.sent;
        self.answered += more.answered;
        self.copied += more.copied;
        self.device_refused += more.device_refused;
        self.misplaced += more.misplaced;
        self.no_frame += more.no_frame;
        self.ring_full += more.ring_full;
    }
}
