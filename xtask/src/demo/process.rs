//! A program that runs in a namespace while the demo lasts, with a log that is shown if the demo fails.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of its log that are shown after a failure.
const LOG_LINES: usize = 15;

/// The running program; it is ended with this value.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program; what it prints goes to `log`.
    pub(super) fn start(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // In a group of its own, so that Ctrl-C reaches us alone and we end the programs in order.
        command.process_group(0).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { name, child, log })
    }

    /// Fails if the program has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended too early ({status})", self.name),
        }
    }

    /// Halts the program where it stands.
    pub(super) fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        // Terminals overwrite their status line.
        let text = String::from_utf8_lossy(&bytes).replace('\r', "\n");
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        format!("-- last lines of {}:\n{}", self.name, tail.join("\n"))
    }

    fn signal(&self, signal: libc::c_int) {
        let process = self.child.id().cast_signed();
        // SAFETY: kill has no preconditions; the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(process, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.resume();
        self.signal(libc::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("demo: {} did not end within {} s; killed", self.name, PATIENCE.as_secs());
        // Fails only if it has ended meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
