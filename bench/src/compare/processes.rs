//! Programs of others that are compared: whether they are there, and that they end with us.

use std::env;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::Topology;

use crate::machine;

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Processes that are ended when this is dropped.
#[derive(Default)]
pub(crate) struct Processes(Vec<Child>);

impl Processes {
    /// One more.
    pub(crate) fn push(&mut self, process: Child) {
        self.0.push(process);
    }

    /// Their threads. `ip netns exec` and `taskset` become the program that they start, so the number stays.
    pub(crate) fn threads(&self) -> Vec<i32> {
        self.0.iter().flat_map(|process| machine::threads_of(process.id())).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Whether a program can be found.
pub(crate) fn is_installed(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Waits until someone in the relay's namespace listens on a UDP port.
pub(crate) fn await_port(topology: &Topology, port: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let wanted = format!(":{port:04X}");
    let listens = || -> Result<bool> {
        let sockets = topology.relay.run(|| std::fs::read_to_string("/proc/thread-self/net/udp"))??;
        Ok(sockets.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&wanted))))
    };
    while !listens()? {
        ensure!(Instant::now() < deadline, "nobody listens on UDP port {port} after {PATIENCE:?}");
        thread::sleep(LOOK);
    }
    Ok(())
}
