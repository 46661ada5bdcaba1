//! What happens at the sockets and never reaches the core, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that listeners and connections share.
#[derive(Debug, Default)]
pub struct TransportCounters {
    /// Datagrams or pings that only keep a NAT binding open.
    pub(super) keep_alives: AtomicU64,
    /// Datagrams longer than `message_bytes`, dropped.
    pub(super) datagrams_too_long: AtomicU64,
    /// Datagrams that the system had no room to send, left to retransmission.
    pub(super) datagrams_unsent: AtomicU64,
    /// Connections refused because of `tcp_connections`.
    pub(super) connections_over_limit: AtomicU64,
    /// Connections refused because of `tcp_connections_per_source`.
    pub(super) connections_over_source_limit: AtomicU64,
    /// Connections closed because of `tcp_idle_seconds`.
    pub(super) connections_idle: AtomicU64,
}

impl TransportCounters {
    /// All counters by name.
    #[must_use]
    pub fn snapshot(&self) -> [(&'static str, u64); 6] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("transport_keep_alives", read(&self.keep_alives)),
            ("transport_datagrams_too_long", read(&self.datagrams_too_long)),
            ("transport_datagrams_unsent", read(&self.datagrams_unsent)),
            ("transport_connections_over_limit", read(&self.connections_over_limit)),
            ("transport_connections_over_source_limit", read(&self.connections_over_source_limit)),
            ("transport_connections_idle", read(&self.connections_idle)),
        ]
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
