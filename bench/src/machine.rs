//! What the figures were measured on, and on which processors.

use std::fs;
use std::io;

use anyhow::{Result, bail};

use crate::records::CPUS;

/// Model and number of processors, kernel, and load, in one line.
pub(crate) fn describe() -> String {
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model.to_owned()))
        .unwrap_or_else(|| "unknown processor".into());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {} processors, Linux {}, load average {}", processors(), kernel.trim(), load_average())
}

/// Processes that wanted to run in the last minute.
pub(crate) fn load_average() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Fails on a machine that is too small for the bench.
pub(crate) fn check() -> Result<()> {
    if processors() < CPUS as usize {
        bail!("the bench drives {CPUS} processors, and this machine has {}", processors());
    }
    Ok(())
}

/// Ties the calling thread to one processor.
pub(crate) fn pin(cpu: u32) -> io::Result<()> {
    // SAFETY: an all-zero set is a valid, empty set; the call reads it while it lives on this stack.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which threads the kernel lets run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// As every thread.
    Ordinary,
    /// Before every ordinary thread, and without a pause.
    Sender,
    /// Before those, too.
    AboveSenders,
}

/// Stands for the thread that asks.
pub(crate) const CALLING_THREAD: i32 = 0;

/// Sets the urgency of a thread of this process. The kernel keeps a twentieth of each second for ordinary threads.
pub(crate) fn set_urgency(thread: i32, urgency: Urgency) -> io::Result<()> {
    let (policy, sched_priority) = match urgency {
        Urgency::Ordinary => (libc::SCHED_OTHER, 0),
        Urgency::Sender => (libc::SCHED_FIFO, 1),
        Urgency::AboveSenders => (libc::SCHED_FIFO, 2),
    };
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: reads the parameters while they live on this stack.
    let result = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
