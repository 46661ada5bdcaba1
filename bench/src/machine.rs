//! What the figures were measured on, and on which processors.

use std::fs;
use std::io;

use anyhow::{Result, bail};

use crate::records::CPUS;

/// The kernel's highest priority for an ordinary thread.
const HIGHEST: libc::c_int = -20;

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

/// Gives the calling thread precedence over all that runs at an ordinary priority, so that a busy machine disturbs the
/// figures less.
pub(crate) fn take_precedence() -> io::Result<()> {
    // SAFETY: takes and returns numbers only; 0 means the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, HIGHEST) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
