//! Root, where it is needed: attaching XDP programs and making network namespaces.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// How a command can be run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// `sudo` works without asking for a password.
    Sudo,
    /// Not at all.
    Missing,
}

/// What this process may do.
pub(crate) fn find() -> Privilege {
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return Privilege::Root;
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if sudo.is_ok_and(|status| status.success()) { Privilege::Sudo } else { Privilege::Missing }
}

/// The words that go before a command line so that it runs as root; empty when we are root.
pub(crate) fn prefix(what_needs_it: &str) -> Result<&'static [&'static str]> {
    match find() {
        Privilege::Root => Ok(&[]),
        Privilege::Sudo => Ok(&["sudo", "-n", "-E"]),
        Privilege::Missing => bail!(
            "{what_needs_it} needs root: found neither root nor a `sudo` that works without a password\n  \
             run `sudo -v` first, or run the same command as root"
        ),
    }
}

/// A command that runs `program` as root.
pub(crate) fn elevated(program: impl AsRef<OsStr>, what_needs_it: &str) -> Result<Command> {
    let mut words = prefix(what_needs_it)?.iter();
    Ok(match words.next() {
        None => Command::new(program),
        Some(sudo) => {
            let mut command = Command::new(sudo);
            command.args(words).arg(program);
            command
        }
    })
}
