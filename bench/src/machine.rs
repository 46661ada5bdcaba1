//! What the figures were measured on, and on which processors.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};

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

/// How long the threads of this process had a processor.
pub(crate) fn processor_time() -> io::Result<Duration> {
    clock_time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Memory that programs can have, in bytes (proc(5), meminfo).
pub(crate) fn available_memory() -> Result<u64> {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(1024 * kilobytes.context("/proc/meminfo has no MemAvailable")?)
}

/// The threads of a process, by their numbers; none if it is gone.
pub(crate) fn threads_of(process: u32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// How long any thread of this machine had a processor (`schedstat`); nothing once it is gone.
pub(crate) fn processor_time_of_any(thread: i32) -> Duration {
    let text = read(&format!("/proc/{thread}/schedstat"));
    Duration::from_nanos(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default())
}

/// How long one thread of this process had a processor.
pub(crate) fn processor_time_of(thread: i32) -> io::Result<Duration> {
    // As `pthread_getcpuclockid` makes it: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED below the inverted number.
    clock_time(!thread << 3 | 6)
}

fn clock_time(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a structure that lives on this stack.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).map_err(io::Error::other)?))
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

/// Sets the urgency of a thread of this process, or of the kernel. The kernel keeps a twentieth of each second for ordinary threads.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_part_of_its_process() {
        // SAFETY: only reads the number of this thread.
        let thread = unsafe { libc::gettid() };
        let (before, own) = (processor_time().unwrap(), processor_time_of(thread).unwrap());
        while processor_time_of(thread).unwrap() < own + Duration::from_millis(5) {}
        assert!(processor_time().unwrap() >= before + Duration::from_millis(4));
    }
}
