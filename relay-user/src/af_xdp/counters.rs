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
    /// Of those, packets that the device dropped because its own ring was full or it was not running.
    pub(crate) device_refused: Counter,
    /// Frames that the kernel handed back without having them. Not one, unless the kernel is broken.
    pub(crate) misplaced: Counter,
}
