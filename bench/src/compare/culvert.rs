//! The relay, in the mode that is compared.

use std::process;
use std::thread;

use anyhow::{Result, anyhow, bail};
use relay_user::{ModeChoice, Options};
use testbed::Topology;

use super::stream::Stream;
use super::subject::{OWN_CPU, Running, Subject};
use crate::machine;
use crate::subject::{self, RunningRelay};
use crate::treatment::Treatment;

/// The running relay.
pub(crate) struct Culvert {
    streams: Vec<Stream>,
    threads: Vec<i32>,
    _relay: RunningRelay,
}

/// Starts it and installs a call for each stream.
pub(crate) fn start(subject: Subject, topology: &Topology, streams: u32) -> Result<Culvert> {
    let mode = match subject {
        Subject::Native => ModeChoice::Native,
        Subject::Generic => ModeChoice::Generic,
        Subject::User => ModeChoice::User,
        other => bail!("{} is no mode of the relay", other.title()),
    };
    let options = Options { mode, ..subject::options(2 * streams) };
    let before = machine::threads_of(process::id());
    // Its threads inherit the processor of the thread that starts it.
    let relay = thread::scope(|scope| {
        let start = scope.spawn(|| -> Result<RunningRelay> {
            if mode == ModeChoice::User {
                machine::pin(OWN_CPU)?;
            }
            RunningRelay::start_with(topology, &options)
        });
        start.join().map_err(|_| anyhow!("the thread that starts the relay panicked"))?
    })?;
    relay.install(&subject::calls(Treatment::Plain, 0..streams))?;
    let mut threads = machine::threads_of(process::id());
    threads.retain(|thread| mode == ModeChoice::User && !before.contains(thread));
    Ok(Culvert { streams: (0..streams).map(Stream::relayed).collect(), threads, _relay: relay })
}

impl Running for Culvert {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn threads(&self) -> Vec<i32> {
        self.threads.clone()
    }
}
