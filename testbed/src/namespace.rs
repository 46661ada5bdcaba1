//! One network namespace, removed when it is dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Tells the namespaces of one process apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Every name starts so; the process number follows, so that what a killed process left behind can be told.
const PREFIX: &str = "culvert-test-";

/// Where `ip` keeps namespaces.
const NAMESPACES: &str = "/run/netns";
/// `ip netns exec` shows the files of a folder in here to the program as those of `/etc`.
const FILES: &str = "/etc/netns";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose loopback device is up. `role` is part of its name.
    ///
    /// # Errors
    /// `ip` is missing, or the process is not root; the message says which.
    pub fn create(role: &str) -> io::Result<Self> {
        remove_leftovers();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{PREFIX}{}-{number}-{role}", std::process::id()) };
        // Without this, programs in the namespace wait for name servers that they cannot reach.
        let files = Path::new(FILES).join(&namespace.name);
        fs::create_dir_all(&files)?;
        fs::write(files.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
        ip(&["netns", "add", &namespace.name])?;
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        // Nobody else is on these wires: IPv6 addresses are usable at once, without looking for duplicates.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        Ok(namespace)
    }

    /// Sets a kernel parameter of the namespace; `name` is its path under `/proc/sys`, and starts with `net/`.
    ///
    /// # Errors
    /// There is no such parameter, or the process is not root.
    pub fn sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        let file = Path::new("/proc/sys").join(name);
        self.run(|| fs::write(&file, value))?.map_err(|error| {
            io::Error::new(error.kind(), format!("writing {} failed: {error}", file.display()))
        })
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread, and no other, into the namespace. There is no way back.
    ///
    /// # Errors
    /// The namespace is gone, or the process is not root.
    pub fn enter(&self) -> io::Result<()> {
        let file = File::open(Path::new(NAMESPACES).join(&self.name))?;
        // SAFETY: the descriptor is open for the whole call; setns affects the calling thread only.
        if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Runs `work` on a thread inside the namespace and returns its result. Sockets that it makes stay inside,
    /// whichever thread uses them later.
    ///
    /// # Errors
    /// As [`Namespace::enter`]. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| self.enter().map(|()| work()));
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside, without standard input.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs `ip` with these arguments in the namespace.
    ///
    /// # Errors
    /// With what `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> io::Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Sets offload features of a device.
    ///
    /// # Errors
    /// With what `ethtool` said.
    pub fn offload(&self, device: &str, settings: &[&str]) -> io::Result<()> {
        quietly(self.command("ethtool").args(["-K", device]).args(settings))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes what processes that are gone left behind.
fn remove_leftovers() {
    for folder in [NAMESPACES, FILES] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner =
                name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
            if owner.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                remove(&name);
            }
        }
    }
}

/// Ends what still runs in a namespace, which can only be what its owner started, and removes it.
fn remove(name: &str) {
    let inside = Command::new("ip").args(["netns", "pids", name]).stderr(Stdio::null()).output();
    let inside =
        inside.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for process in inside.lines().filter_map(|line| line.trim().parse().ok()) {
        // SAFETY: kill has no preconditions; the process was found in a namespace of ours.
        unsafe { libc::kill(process, libc::SIGKILL) };
    }
    // Either may be gone, or be removed by another process at this very moment; there is nobody to tell.
    let _ = ip(&["netns", "delete", name]);
    let _ = fs::remove_dir_all(Path::new(FILES).join(name));
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    quietly(Command::new("ip").args(arguments))
}

/// Runs a command whose output matters only when it fails.
fn quietly(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot start {command:?}: {error}; `cargo xtask setup` installs it"),
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = if said.contains("Operation not permitted") { "; this takes root" } else { "" };
    Err(io::Error::other(format!("{command:?} failed: {}{hint}", said.trim())))
}
