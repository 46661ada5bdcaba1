//! The plain relay with sockets, as a subject.

use std::process;

use anyhow::Result;
use testbed::Topology;

use super::stream::Stream;
use super::subject::{OWN_CPU, Running};
use crate::machine;
use crate::plain_relay::PlainRelay;

/// The running relay.
pub(crate) struct Sockets {
    streams: Vec<Stream>,
    threads: Vec<i32>,
    _relay: PlainRelay,
}

/// Starts it with a pair of sockets for each stream.
pub(crate) fn start(topology: &Topology, streams: u32) -> Result<Sockets> {
    let before = machine::threads_of(process::id());
    let relay = PlainRelay::start(&topology.relay, streams, OWN_CPU)?;
    let mut threads = machine::threads_of(process::id());
    threads.retain(|thread| !before.contains(thread));
    Ok(Sockets { streams: (0..streams).map(Stream::relayed).collect(), threads, _relay: relay })
}

impl Running for Sockets {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn threads(&self) -> Vec<i32> {
        self.threads.clone()
    }
}
