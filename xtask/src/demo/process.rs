//! A program that runs in a namespace while the demo lasts, with a log that is shown if the demo fails.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
        command.stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, command, log)
    }

    /// Starts a program that is spoken to: by lines on its standard input, which it answers on its standard output. What it
    /// has to complain about goes to `log`.
    pub(super) fn start_talking(
        name: &'static str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Self::spawn(name, command, log)?;
        let pipes = process.child.stdin.take().zip(process.child.stdout.take());
        let (input, output) = pipes.with_context(|| format!("{name} has no pipes"))?;
        Ok((process, input, output))
    }

    fn spawn(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self> {
        // In a group of its own, so that Ctrl-C reaches us alone and we end the programs in order.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { name, child, log })
    }

    /// Whether the program has done its work and ended; fails if it failed.
    pub(super) fn is_done(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} failed ({status})", self.name),
        }
    }

    /// Fails if the program has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended too early ({status})", self.name),
        }
    }

    /// Ends the program at once, if it still runs.
    pub(super) fn kill(&mut self) {
        // Fails only if it has ended meanwhile.
        let _ = self.child.kill();
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
