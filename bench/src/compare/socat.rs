//! socat: a process for each stream.

use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::Topology;

use super::processes::{Processes, await_port};
use super::stream::Stream;
use super::subject::{OWN_CPU, Running};

/// Bytes of the largest datagram.
const LARGEST: &str = "4096";
/// Bytes that may wait in a socket.
const WAITING: &str = "4194304";
/// Between two that start, so that they do not all want the processor at once.
const REST: Duration = Duration::from_millis(2);

/// The running processes.
pub(crate) struct Socat {
    streams: Vec<Stream>,
    processes: Processes,
}

/// Starts a process for each stream.
pub(crate) fn start(topology: &Topology, streams: u32) -> Result<Socat> {
    let streams: Vec<_> = (0..streams).map(Stream::relayed).collect();
    let mut processes = Processes::default();
    for stream in &streams {
        processes.push(relay(topology, stream)?);
        thread::sleep(REST);
    }
    for stream in &streams {
        await_port(topology, stream.sent.to.port())?;
    }
    Ok(Socat { streams, processes })
}

fn relay(topology: &Topology, stream: &Stream) -> Result<Child> {
    let Stream { sent, arrives } = stream;
    let receive = format!("UDP4-RECV:{},bind={},reuseaddr,rcvbuf={WAITING}", sent.to.port(), sent.to.ip());
    let send = format!("UDP4-SENDTO:{},bind={}", arrives.to, arrives.from);
    let mut command = topology.relay.command("taskset");
    command.args(["--cpu-list", &OWN_CPU.to_string(), "socat", "-u", "-b", LARGEST]).args([receive, send]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("starting socat")
}

impl Running for Socat {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn threads(&self) -> Vec<i32> {
        self.processes.threads()
    }
}
